package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// A worker that is killed twice while it makes a dataset leaves nothing half made, and the next one ends with
// the bytes of an undisturbed run: of the manifest, of the kept file, and of the artifact with the rejected rows.
func TestKilledUploadEndsWithTheSameBytes(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "table.csv")
	writeTable(t, table, tableBytes)
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	// Every hundredth line is no row.
	for n, line := range bytes.SplitAfter(text, []byte("\n")) {
		if comma := bytes.IndexByte(line, ','); comma > 0 && n%100 == 99 {
			line[comma] = ';'
		}
	}
	d := disturb(t, storage.Options{})
	d.put("table.csv", text)
	p := upload.Payload{Blob: "table.csv", Name: "table.csv"}
	undisturbed := d.enqueue(upload.JobType, upload.Queue, p)
	want := d.end(undisturbed)
	killed := d.enqueue(upload.JobType, upload.Queue, p)
	for _, at := range []float64{20, 60} {
		d.reach(killed, at)
		d.kill(func() {
			if _, err := os.Stat(filepath.Join(d.store.Dir, "datasets", "user:42", string(killed))); !os.IsNotExist(err) {
				t.Errorf("killed at %v%%, there is a part of the dataset: %v", at, err)
			}
		})
	}
	got := d.end(killed)
	if got.Attempt < 3 {
		t.Errorf("there were %d attempts", got.Attempt)
	}
	d.stop()

	if len(want.Artifacts) != 1 || len(got.Artifacts) != 1 || got.Artifacts[0].SHA256 != want.Artifacts[0].SHA256 || want.Artifacts[0].Size == 0 {
		t.Errorf("the artifacts are %+v, want those of %+v", got.Artifacts, want.Artifacts)
	}
	read := func(id engine.JobID, name string) string {
		b, err := os.ReadFile(filepath.Join(d.store.Dir, "datasets", "user:42", string(id), name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if read(killed, "data") != string(text) {
		t.Error("the kept bytes are not those of the file")
	}
	created := func(id engine.JobID) string {
		b, err := json.Marshal(id.Time())
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	manifest := strings.NewReplacer(string(killed), string(undisturbed), created(killed), created(undisturbed)).Replace(read(killed, "manifest.json"))
	if manifest != read(undisturbed, "manifest.json") {
		t.Errorf("the manifest is %.2000s\nwant %.2000s", manifest, read(undisturbed, "manifest.json"))
	}
}
