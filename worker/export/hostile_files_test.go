package export_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker/analysis"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

func zipped(t *testing.T, name string, mode fs.FileMode, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(mode)
	f, err := w.CreateHeader(h)
	if err == nil {
		_, err = f.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A hostile file ends its job at the first attempt with a sentence about the file, and leaves no dataset, no profile and
// no artifact. A job beside it is unharmed.
func TestHostileFilesEndTheirJobs(t *testing.T) {
	p := newRig(t, storage.Options{})
	const topic = engine.Topic("user:42")
	good := table(1 << 20)
	beside := p.enqueue(t, topic, upload.JobType, 1, map[string]any{"blob": p.put(t, topic, good), "name": "orders.csv"})
	packed := zipped(t, "a.csv", 0o600, "a,b\n1,2\n")
	bomb := "a,b\n" + strings.Repeat(strings.Repeat("x", 1<<10)+",2\n", 40<<10)
	type ends struct{ upload, analysis engine.JobID }
	jobs, says := map[string]ends{}, map[string]string{}
	for name, c := range map[string]struct {
		file []byte
		says string // of an upload
	}{
		"a bomb of zip":    {zipped(t, "a.csv", 0o600, bomb), "times as large"},
		"a bomb of gzip":   {gzipped(t, bomb), "times as large"},
		"a path escape":    {zipped(t, "../../etc/cron.d/a.csv", 0o600, "a,b\n1,2\n"), "leads out"},
		"a link":           {zipped(t, "a.csv", 0o777|fs.ModeSymlink, "/etc/passwd"), "a link"},
		"zip, then a page": {append(bytes.Clone(packed), "<script>alert(1)</script>"...), "does not end with its directory"},
		"gzip, then zip":   {append(gzipped(t, "a,b\n1,2\n"), packed...), "other bytes"},
		"an endless line":  {[]byte("a,b\n1,2\n" + strings.Repeat("x", 8<<20)), "rejected"},
		"10,000 columns":   {[]byte(strings.Repeat("x,", 10_000) + "\n1\n"), "columns"},
		"NUL bytes":        {[]byte("a,b\n1,\x00\x002\n"), "zero byte"},
	} {
		payload := map[string]any{"blob": p.put(t, topic, c.file), "name": "orders.csv", "size": len(c.file)}
		jobs[name] = ends{p.enqueue(t, topic, upload.JobType, 5, payload), p.enqueue(t, topic, analysis.JobType, 5, payload)}
		says[name] = c.says
	}
	for name, of := range jobs {
		for _, id := range []engine.JobID{of.upload, of.analysis} {
			j := p.wait(t, id, engine.Failed)
			if j.Error.Code != engine.CodePermanent || j.Attempt != 1 {
				t.Errorf("%s: the %s ends at attempt %d with %+v", name, j.Type, j.Attempt, j.Error)
			}
			want := says[name]
			if id == of.analysis {
				want = ""
			}
			j.Artifacts = withoutRejected(j.Artifacts)
			p.nothing(t, topic, j, want)
		}
	}
	p.whole(t, topic, p.wait(t, beside, engine.Succeeded), good)
}

// withoutRejected leaves out the file that shows which rows were rejected.
func withoutRejected(all []engine.Artifact) (others []engine.Artifact) {
	for _, a := range all {
		if a.Name != upload.RejectedName {
			others = append(others, a)
		}
	}
	return others
}
