package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// line reads one more line that the process prints.
func (p *process) line() []byte {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("no more lines; standard error: %s", p.stderr.String())
	}
	return p.lines.Bytes()
}

// await reads lines until one is of a type.
func (p *process) await(kind string) []byte {
	p.t.Helper()
	for {
		line := p.line()
		var of struct{ Type string }
		if err := json.Unmarshal(line, &of); err != nil {
			p.t.Fatalf("not a line of JSON: %s", line)
		}
		if of.Type == kind {
			return line
		}
	}
}

func openEngine(t *testing.T, url string) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // what it holds is the test's Redis, which ends too
	return e
}

func enqueue(t *testing.T, e *engine.Engine) engine.JobID {
	t.Helper()
	made, err := e.Enqueue(t.Context(), engine.Spec{Topic: "user:demo", Type: "export", Title: "<Orders> & \u2028 “2025”", Queue: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func TestWatchGoesOnAfterAnOutage(t *testing.T) {
	server := redistest.Server(t, redistest.WithAOF())
	e := openEngine(t, server.URL())
	watch := spawn(t, t.TempDir(), "watch", "--json", "--redis", server.URL())
	if line := watch.line(); !bytes.HasPrefix(line, []byte(`{"type":"snapshot","reason":"fresh","part":1,"final":true,"cursor":"0-0","jobs":[]}`)) {
		t.Fatalf("it begins with %s", line)
	}
	watch.await("live")
	enqueue(t, e)
	var printed [][]byte
	printed = append(printed, bytes.Clone(watch.await("job.queued")))

	server.Stop()
	watch.await("interrupted")
	server.Restart()
	watch.await("live")
	enqueue(t, e)
	printed = append(printed, bytes.Clone(watch.await("job.queued")))

	// What it prints is what the stream holds, to the byte.
	page, err := stream.Of(e).Replay(t.Context(), "user:demo", engine.Beginning)
	if err != nil || len(page.Entries) != 2 {
		t.Fatalf("the stream holds %d records: %v", len(page.Entries), err)
	}
	for i, entry := range page.Entries {
		if !bytes.Equal(entry.JSON, printed[i]) {
			t.Errorf("printed %s\nthe stream holds %s", printed[i], entry.JSON)
		}
	}
	watch.signal(os.Interrupt)
	if code := watch.wait(); code != 130 {
		t.Errorf("interrupted, it exits with %d, want 130", code)
	}
}

func TestWatchTellsHowToGoOn(t *testing.T) {
	server := redistest.Server(t)
	id := enqueue(t, openEngine(t, server.URL()))
	watch := spawn(t, t.TempDir(), "watch", "--redis", server.URL())
	for !strings.Contains(string(watch.line()), "queued") {
	}
	watch.signal(syscall.SIGTERM)
	if code := watch.wait(); code != 130 {
		t.Errorf("it exits with %d, want 130", code)
	}
	var cursor string
	if _, err := fmt.Sscanf(watch.stderr.String(), "tidemark: interrupted; --after %s goes on from here", &cursor); err != nil {
		t.Fatalf("it says %q", watch.stderr.String())
	}
	if _, err := engine.ParseCursor(cursor); err != nil {
		t.Error(err)
	}
	if code := spawn(t, t.TempDir(), "cancel", string(id), "--redis", server.URL(), "--json").wait(); code != 0 {
		t.Errorf("cancel exits with %d", code)
	}
}

func TestWorkerTakesJobsAndDrains(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, dir+"/table.csv", 1<<20)
	server := redistest.Server(t)
	worker := spawn(t, dir, "worker", "--redis", server.URL(), "--set", "log.format=json")
	analyze := spawn(t, dir, "analyze", "--json", "table.csv", "--redis", server.URL())
	if code := analyze.wait(); code != 0 {
		t.Fatalf("analyze beside a worker exits with %d: %s", code, analyze.stderr.String())
	}
	worker.signal(syscall.SIGTERM)
	if code := worker.wait(); code != 0 {
		t.Errorf("a drained worker exits with %d, want 0: %s", code, worker.stderr.String())
	}
	for _, want := range []string{`"msg":"taking jobs","types":"analysis,upload,export","queues":"tidemark,analysis,upload,export"`, `"msg":"drained"`} {
		if !strings.Contains(worker.stderr.String(), want) {
			t.Errorf("its log lacks %s:\n%s", want, worker.stderr.String())
		}
	}
}
