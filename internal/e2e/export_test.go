package e2e

import (
	"bytes"
	"encoding/csv"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fetch is what the gateway serves at a path.
func (s *site) fetch(path string) []byte {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s is answered with %s, %v", path, answer.Status, err)
	}
	return body
}

// saved waits for a download of the browser, from a line on, and reads it.
func (b *browser) saved(name string, from int) []byte {
	b.t.Helper()
	found, _ := b.process.await("the download of "+name, from, func(l line) bool { return l.text("event") == "download" && l.text("text") == name })
	content, err := os.ReadFile(found.text("path"))
	if err != nil {
		b.t.Fatal(err)
	}
	return content
}

// expire has an artifact be no longer kept.
func (s *site) expire(artifact string) {
	s.t.Helper()
	job, name, _ := strings.Cut(artifact, ".")
	path := filepath.Join(s.data, "blobs", "artifacts", topic, job, name, "manifest.json")
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte("{"), []byte(`{"gone":"expired",`), 1), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Somebody drops a file to export it, and reloads while it is sent, while its form is there, and once it is
// exported. The network fails as the download begins. The file that is saved has the artifact's bytes, which are
// those that the form asks for. Once it has expired the page says so.
func TestExportInABrowser(t *testing.T) {
	t.Parallel()
	table, rows := writeTable(t, "orders 2025.csv", 4<<20)
	broken, err := os.OpenFile(table, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broken.WriteString("1,2\n"); err != nil {
		t.Fatal(err)
	}
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	s := newUp(t)
	w := newWire(t, s.addr)
	w.throttle(2 << 20)
	b := newBrowser(t, nil)
	b.open(w.url())
	b.await("badge", "live", 0)
	b.do("click", line{"selector": "#then label:has-text('Export')"})
	b.do("shows", line{"selector": "#drop-title", "text": "Drop a file to export it"})
	b.drop(table)
	b.process.await("the first bytes", 0, func(l line) bool { return l.text("state") == "receiving" && l.number("percent") >= 5 })
	from := b.process.said()
	b.do("reload", line{})
	b.await("badge", "live", from)
	b.do("click", line{"selector": "#then label:has-text('Export')"})
	b.drop(table)

	b.do("shows", line{"selector": ".dataset .facts", "text": strconv.Itoa(rows/1000) + ","})
	b.do("shows", line{"selector": ".dataset .warnings", "text": "1 row was rejected"})
	b.do("shows", line{"selector": "form.export", "text": "Parquet"})
	from = b.process.said()
	b.do("reload", line{})
	b.await("badge", "live", from)

	// The dataset is in the list, whence it is exported: two columns of some rows.
	b.do("click", line{"selector": "#views a:has-text('Datasets')"})
	b.do("click", line{"selector": "#datasets .job button:text-is('Export')"})
	b.do("focused", line{"selector": "form.export input[value=csv]"})
	b.do("click", line{"selector": "form.export summary:has-text('Columns')"})
	b.do("click", line{"selector": "form.export .tools button:text-is('None')"})
	b.do("click", line{"selector": "form.export button.primary"})
	b.do("shows", line{"selector": "form.export .error", "text": "Choose at least one column."})
	for _, column := range []string{"id", "country"} {
		b.do("click", line{"selector": "form.export .boxes input[value=" + column + "]"})
	}
	b.do("click", line{"selector": "form.export summary:has-text('Rows')"})
	b.do("fill", line{"selector": "form.export input[inputmode=numeric]", "text": "1,000"})
	b.do("click", line{"selector": "form.export .filter button"})
	b.do("select", line{"selector": "form.export .condition select >> nth=1", "value": "at_least"})
	b.do("fill", line{"selector": "form.export .condition input", "text": "7"})
	b.look("export")
	b.do("click", line{"selector": "form.export button.primary"})
	b.do("shows", line{"selector": "#ended .file", "text": "orders-2025.csv"})
	from = b.process.said()
	b.do("reload", line{})
	b.await("badge", "live", from)

	exported := b.do("attribute", line{"selector": "#ended .file .button", "name": "href"}).text("said")
	artifact := s.fetch(exported)
	got, err := csv.NewReader(bytes.NewReader(artifact)).ReadAll()
	if err != nil || len(got) != 1001 || !slices.Equal(got[0], []string{"id", "country"}) || got[1][0] != "7" {
		t.Fatalf("the artifact has %d records, %.100q, %v", len(got), got, err)
	}
	from = b.process.said()
	w.sever()
	b.do("click", line{"selector": "#ended .file .button"})
	b.do("shows", line{"selector": "#ended .file .said", "text": "cut off, trying again"})
	w.restore()
	if content := b.saved("orders-2025.csv", from); !bytes.Equal(content, artifact) {
		t.Errorf("%d bytes were saved, the artifact has %d", len(content), len(artifact))
	}
	b.do("shows", line{"selector": "#ended .file .said", "text": "downloaded"})

	s.expire(strings.TrimPrefix(exported, "/v1/artifacts/"))
	b.do("click", line{"selector": "#ended .file .button"})
	b.do("shows", line{"selector": "#ended .file[data-status=gone] .error", "text": "the file is no longer kept: expired"})
	b.do("gone", line{"selector": "#ended .file[data-status=gone] .button"})
	b.close()
	s.stop()
}

// What was dropped to be analyzed is exported all the same, and its dataset analyzed, then deleted. Whatever the file has in it is
// text to the page.
func TestAnalysisIsExportedInABrowser(t *testing.T) {
	t.Parallel()
	s := newUp(t)
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	table := filepath.Join(t.TempDir(), "<b>stock<b>.csv")
	if err := os.WriteFile(table, []byte("<i>name</i>,n\n"+strings.Repeat("<s>x</s>,1\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.drop(table)
	analysis := b.awaitState("succeeded").text("job")
	b.await("profile", "Rows", 0)
	if n := b.do("count", line{"selector": ".file:has-text('profile.json')"}).number("n"); n != 0 {
		t.Error("the profile, which is shown, is among the files")
	}
	b.press(analysis, "export")
	b.do("shows", line{"selector": "form.export", "text": "Export as CSV"})
	b.do("shows", line{"selector": ".preview", "text": "<s>x</s>"})
	b.do("click", line{"selector": "form.export label:has-text('Excel')"})
	b.do("click", line{"selector": "form.export button.primary"})
	b.do("shows", line{"selector": "#ended .file", "text": "Excel workbook"})
	from := b.process.said()
	b.do("click", line{"selector": "#ended .file .button"})
	if content := b.saved("b-stock-b.xlsx", from); !bytes.HasPrefix(content, []byte("PK\x03\x04")) {
		t.Errorf("what was saved begins with %.10q", content)
	}

	// To export it again leads to the dataset that is there.
	b.press(analysis, "export")
	b.do("focused", line{"selector": ".job:has(> .result .dataset)"})
	b.do("shows", line{"selector": "form.export", "text": "Export as Excel"})
	if n := b.do("count", line{"selector": ".dataset"}).number("n"); n != 1 {
		t.Errorf("one file has become %v datasets", n)
	}
	from = b.process.said()
	b.do("click", line{"selector": ".dataset .actions button:text-is('Analyze')"})
	b.awaitJob("", "succeeded", analysis, from)
	b.do("shows", line{"selector": "#ended > .job:has(.kind:text-is('analysis')):not([data-job='" + analysis + "']) .profile", "text": "Rows"})
	if n := b.do("count", line{"selector": "#ended :is(i, s)"}).number("n"); n != 0 {
		t.Errorf("the page made %v elements of the file's cells", n)
	}

	b.do("click", line{"selector": "#views a:has-text('Datasets')"})
	b.do("click", line{"selector": "#datasets .opener"})
	b.do("click", line{"selector": "#datasets .actions button:text-is('Delete')"})
	b.do("focused", line{"selector": "#datasets .question .quiet"})
	b.do("click", line{"selector": "#datasets .question .danger"})
	b.do("shows", line{"selector": "#datasets-empty", "text": "No datasets yet"})
	b.do("focused", line{"selector": "#datasets-view"})
	b.checkQuiet()
	b.close()
	s.stop()
}
