package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/filetest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// downloading starts a download through a slow proxy, and returns when a part of the file has arrived.
func downloading(t *testing.T, dir string, proxy *redistest.Proxy, args []string) *process {
	t.Helper()
	proxy.Delay(5 * time.Millisecond)
	p := spawn(t, dir, args...)
	for {
		var l struct{ Done, Total int64 }
		if err := json.Unmarshal(p.await("taking"), &l); err != nil {
			t.Fatal(err)
		}
		if l.Done == l.Total {
			t.Fatal("the download was over before it could be cut")
		}
		if l.Done > 0 {
			return p
		}
	}
}

// A download goes on where it was: by itself after its server was killed, and, once it was interrupted, when the
// command is run again. OUT has the artifact's bytes, or is not there.
func TestCutDownloadIsGoneOnWith(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeLong(t, filepath.Join(dir, "long.csv"), 40)
	redis := redistest.Server(t).URL()
	addr := lasting(t)
	s := serve(t, dir, "up", "--redis", redis, "--addr", addr)
	export := spawn(t, dir, "export", "--json", "long.csv", "--output", "whole.csv", "--server", "http://"+addr)
	var made struct {
		Artifact string
		Size     int64
	}
	if err := json.Unmarshal(export.await("export"), &made); err != nil {
		t.Fatal(err)
	}
	if code := export.wait(); code != 0 {
		t.Fatalf("the export exits with %d: %s", code, export.stderr.String())
	}
	whole, err := os.ReadFile(filepath.Join(dir, "whole.csv"))
	if err != nil || int64(len(whole)) != made.Size {
		t.Fatalf("the export has %d bytes, want %d: %v", len(whole), made.Size, err)
	}

	proxy := redistest.NewProxy(t, addr)
	args := []string{"download", "--json", made.Artifact, "--output", "again.csv", "--server", "http://" + proxy.Addr()}
	p := downloading(t, dir, proxy, args)
	proxy.Stall()
	s.signal(syscall.SIGKILL)
	s.wait()
	proxy.CutAll()
	proxy.Unstall()
	var note struct{ Text string }
	if err := json.Unmarshal(p.await("note"), &note); err != nil || !strings.Contains(note.Text, "the download is interrupted and will go on") {
		t.Errorf("it says %q, %v", note.Text, err)
	}
	s = serve(t, dir, "up", "--redis", redis, "--addr", addr)
	for { // it goes on
		var l struct{ Done, Total int64 }
		if err := json.Unmarshal(p.await("taking"), &l); err != nil {
			t.Fatal(err)
		}
		if l.Done > 0 {
			break
		}
	}
	p.signal(os.Interrupt)
	proxy.Delay(0)
	if code := p.wait(); code != 130 {
		t.Fatalf("interrupted, it exits with %d: %s", code, p.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "again.csv")); !os.IsNotExist(err) {
		t.Errorf("OUT is there in part: %v", err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "again.csv.part"))
	if err != nil || len(kept) == 0 || !bytes.HasPrefix(whole, kept) {
		t.Fatalf("%d bytes are kept, which are none of the artifact's: %v", len(kept), err)
	}

	again := spawn(t, dir, args...)
	var first struct{ Done int64 }
	if err := json.Unmarshal(again.await("taking"), &first); err != nil || first.Done != int64(len(kept)) {
		t.Errorf("it goes on at byte %d, want %d: %v", first.Done, len(kept), err)
	}
	if code := again.wait(); code != 0 {
		t.Errorf("it exits with %d: %s", code, again.stderr.String())
	}
	if got, err := os.ReadFile(filepath.Join(dir, "again.csv")); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("OUT has %d bytes that are not the artifact's %d: %v", len(got), len(whole), err)
	}
	s.drain()
}

// What an export writes is read by programs that are none of ours.
func TestExportsAreReadByOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "orders.csv"), []byte("id,name\n1,ada\n2,\"=1+1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"out.xlsx", "out.parquet"} {
		p := spawn(t, dir, append([]string{"export", "--json", "orders.csv", "--output", name}, brisk...)...)
		if code := p.wait(); code != 0 {
			t.Fatalf("%s: it exits with %d: %s", name, code, p.stderr.String())
		}
	}
	sheets, err := json.Marshal(filetest.XLSX(t, filepath.Join(dir, "out.xlsx")))
	if err != nil || !strings.Contains(string(sheets), `"=1+1"`) {
		t.Errorf("the workbook is %s, %v", sheets, err)
	}
	rows := filetest.SQL(t, filepath.Join(dir, "out.parquet"), "SELECT sum(id), max(name) FROM read_parquet($file)")
	if got, err := json.Marshal(rows); err != nil || string(got) != `[["3","ada"]]` {
		t.Errorf("the sums are %s, %v", got, err)
	}
}

// An upload that was interrupted is gone on with by the same content, and never by another file of one name, size
// and time.
func TestInterruptedUploadOfAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "long.csv")
	writeLong(t, path, 60)
	mine, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-time.Hour).Truncate(time.Second)
	rewrite := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(mine)
	s := serve(t, dir, "up")
	proxy := redistest.NewProxy(t, s.Addr)
	args := []string{"upload", "--json", "long.csv", "--server", "http://" + proxy.Addr()}
	first, cut := uploading(t, dir, proxy, args)
	proxy.Stall()
	first.signal(os.Interrupt)
	proxy.CutAll()
	proxy.Unstall()
	proxy.Delay(0)
	if code := first.wait(); code != 130 {
		t.Fatalf("interrupted, it exits with %d: %s", code, first.stderr.String())
	}
	upload := func(text []byte) engine.JobID {
		t.Helper()
		rewrite(text)
		p := spawn(t, dir, args...)
		var l struct{ Job engine.JobID }
		if err := json.Unmarshal(p.await("upload"), &l); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(); code != 0 {
			t.Errorf("it exits with %d: %s", code, p.stderr.String())
		}
		blob := filepath.Join(s.Data, "blobs", "incoming", "user:demo", string(l.Job))
		if !filepath.IsAbs(blob) {
			blob = filepath.Join(dir, blob)
		}
		if got, err := os.ReadFile(blob); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes arrived that are not the file's %d: %v", len(got), len(text), err)
		}
		return l.Job
	}
	if theirs := upload(bytes.ReplaceAll(mine, []byte("x"), []byte("y"))); theirs == cut {
		t.Error("another file goes on with the upload")
	}
	if again := upload(mine); again != cut {
		t.Errorf("the file is sent as job %s, want %s, which has a part of it", again, cut)
	}
	s.drain()
}

// The README's first example for producers, as it stands there.
func TestREADMEsExport(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, under, _ := strings.Cut(string(readme), "\n## For producers\n")
	_, block, _ := strings.Cut(under, "\n```sh\n")
	block, _, found := strings.Cut(block, "\n```\n")
	if !found {
		t.Fatal("there is no block of commands")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "orders.csv"), []byte("id,total\n1,12.50\n2,7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, "up")
	p := spawnProgram(t, "sh", dir, "-euxc", strings.ReplaceAll(block, "127.0.0.1:8080", s.Addr))
	for p.lines.Scan() { // what they print
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, p.stderr.String())
	}
	sheets, err := json.Marshal(filetest.XLSX(t, filepath.Join(dir, "orders.xlsx")))
	if err != nil || !strings.Contains(string(sheets), "total") {
		t.Errorf("the workbook is %s, %v", sheets, err)
	}
	s.drain()
}
