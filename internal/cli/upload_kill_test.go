package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// A worker that is killed twice while it makes a dataset leaves nothing half made, and the next one ends with
// the bytes of an undisturbed run: of the manifest, of the kept file, and of the artifact with the rejected rows.
func TestKilledUploadEndsWithTheSameBytes(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "tidemark-data", "blobs")
	bucket, err := datadir.Blobs(t.Context(), filepath.Join(dir, "tidemark-data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Close(); err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(dir, "table.csv")
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
	if err := os.WriteFile(filepath.Join(store, "table.csv"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.Server(t)
	e, err := engine.Open(t.Context(), engine.Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	work := func() *process {
		return spawn(t, dir, append([]string{"worker", "--redis", server.URL()}, brisk...)...)
	}
	enqueue := func() engine.JobID {
		job, err := e.Enqueue(ctx, engine.Spec{
			Topic: "user:42", Type: upload.JobType, Queue: upload.Queue, Payload: upload.Payload{Blob: "table.csv", Name: "table.csv"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return job.ID
	}

	worker := work()
	undisturbed := enqueue()
	want, err := e.Wait(ctx, undisturbed)
	if err != nil || want.State != engine.Succeeded {
		t.Fatalf("the undisturbed upload is %s: %+v, %v", want.State, want.Error, err)
	}
	killed := enqueue()
	for _, at := range []float64{20, 60} {
		reach(ctx, t, e, killed, at)
		worker.signal(syscall.SIGKILL)
		worker.wait()
		if _, err := os.Stat(filepath.Join(store, "datasets", "user:42", string(killed))); !os.IsNotExist(err) {
			t.Errorf("killed at %v%%, there is a part of the dataset: %v", at, err)
		}
		worker = work()
	}
	got, err := e.Wait(ctx, killed)
	if err != nil || got.State != engine.Succeeded || got.Attempt < 3 {
		t.Fatalf("the killed upload is %s after %d attempts: %+v, %v", got.State, got.Attempt, got.Error, err)
	}
	worker.signal(syscall.SIGTERM)
	if code := worker.wait(); code != 0 {
		t.Errorf("the last worker exits with %d: %s", code, worker.stderr.String())
	}

	if len(want.Artifacts) != 1 || len(got.Artifacts) != 1 || got.Artifacts[0].SHA256 != want.Artifacts[0].SHA256 || want.Artifacts[0].Size == 0 {
		t.Errorf("the artifacts are %+v, want those of %+v", got.Artifacts, want.Artifacts)
	}
	read := func(id engine.JobID, name string) string {
		b, err := os.ReadFile(filepath.Join(store, "datasets", "user:42", string(id), name))
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

// reach waits until a job has come as far as that.
func reach(ctx context.Context, t *testing.T, e *engine.Engine, id engine.JobID, percent float64) {
	t.Helper()
	for u, err := range e.Follow(ctx, engine.FollowQuery{Topic: "user:42", Filter: engine.Filter{Job: id}, After: engine.Beginning}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Entry.Record()
		if err != nil {
			t.Fatal(err)
		}
		if r.Job.Percent >= percent {
			return
		}
	}
	t.Fatalf("the job has ended before it has come to %v%%", percent)
}
