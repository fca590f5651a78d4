package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// uploading starts an analysis through a slow proxy, and returns when a part of the file
// has arrived, and the job.
func uploading(t *testing.T, dir string, proxy *redistest.Proxy, args []string) (*process, engine.JobID) {
	t.Helper()
	proxy.Delay(5 * time.Millisecond)
	p := spawn(t, dir, args...)
	for {
		var l struct{ Job engine.Job }
		if err := json.Unmarshal(p.await("job"), &l); err != nil {
			t.Fatal(err)
		}
		if l.Job.State != engine.Receiving {
			t.Fatalf("the upload was over (%s) before it could be cut", l.Job.State)
		}
		if l.Job.Progress != nil && l.Job.Progress.Done > 0 {
			return p, l.Job.ID
		}
	}
}

// Another file that looks the same, of one name, size and time, is another upload.
func TestUploadIsGoneOnWithForTheSameContentAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "long.csv")
	writeLong(t, path, 60)
	when := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, "up")
	proxy := redistest.NewProxy(t, s.Addr)
	args := []string{"analyze", "--json", "long.csv", "--server", "http://" + proxy.Addr()}
	first, cut := uploading(t, dir, proxy, args)
	proxy.Stall()
	first.signal(os.Interrupt)
	proxy.CutAll()
	proxy.Unstall()
	proxy.Delay(0)
	if code := first.wait(); code != 130 {
		t.Fatalf("interrupted, it exits with %d: %s", code, first.stderr.String())
	}

	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file = bytes.ReplaceAll(file, []byte("x"), []byte("y"))
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
	second := spawn(t, dir, args...)
	var l struct{ Job engine.JobID }
	if err := json.Unmarshal(second.await("profile"), &l); err != nil {
		t.Fatal(err)
	}
	if code := second.wait(); code != 0 || l.Job == cut {
		t.Errorf("it exits with %d: %s; the job is %s, that of the other file %s", code, second.stderr.String(), l.Job, cut)
	}
	blob := filepath.Join(s.Data, "blobs", "incoming", "user:demo", string(l.Job))
	if !filepath.IsAbs(blob) {
		blob = filepath.Join(dir, blob)
	}
	if got, err := os.ReadFile(blob); err != nil || !bytes.Equal(got, file) {
		t.Errorf("%d bytes arrived that are not the file's %d: %v", len(got), len(file), err)
	}
	s.drain()
}

// What was sent of a file that becomes another one is never analyzed.
func TestFileThatChangesWhileItIsSent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "long.csv")
	s := serve(t, dir, "up")
	e := openEngine(t, s.RedisURL)
	for what, change := range map[string]func() error{
		"grows":        func() error { return os.Truncate(path, 100<<20) },
		"shrinks":      func() error { return os.Truncate(path, 50<<20) },
		"is rewritten": func() error { now := time.Now().Add(time.Hour); return os.Chtimes(path, now, now) },
	} {
		t.Run(what, func(t *testing.T) {
			writeLong(t, path, 60)
			proxy := redistest.NewProxy(t, s.Addr)
			p, id := uploading(t, dir, proxy, []string{"analyze", "--json", "long.csv", "--server", "http://" + proxy.Addr()})
			if err := change(); err != nil {
				t.Fatal(err)
			}
			proxy.Delay(0)
			if code := p.wait(); code == 0 || !strings.Contains(p.stderr.String(), "the file changed while it was read") {
				t.Errorf("it exits with %d: %s", code, p.stderr.String())
			}
			v, err := e.Job(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if j, err := v.Job(); err != nil || j.State != engine.Canceled || j.Attempt != 0 {
				t.Errorf("its job is %+v, %v; want it canceled before it was queued", j, err)
			}
		})
	}
	s.drain()
}
