package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/cli"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// What becomes of a running job that somebody waits to see paused. The run is the test's:
// it does on the request what a worker might.
func TestPauseWaitsForTheRun(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	e := openEngine(t, server.URL())
	for _, c := range []struct {
		name string
		then func(*testing.T, run)
		code int
		out  string
		err  string
	}{
		{"it rests", func(t *testing.T, r run) { r.report(t, runtime.Report{Type: engine.JobPaused, Tenths: 420}) }, 0, "is paused at 42.0%", ""},
		{"it ends", func(t *testing.T, r run) { r.report(t, runtime.Report{Type: engine.JobSucceeded}) }, 1, "is succeeded at 100.0%", "was not paused: it has succeeded"},
		{"somebody resumes it", func(t *testing.T, r run) { r.ask(t, e.Resume) }, 1, "is running at 0.0%", "was not paused: somebody has resumed it"},
		{"somebody cancels it", func(t *testing.T, r run) { r.ask(t, e.Cancel) }, 1, "is canceling at 0.0%", "was not paused: it is being canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := begin(t, e)
			pause := spawn(t, t.TempDir(), "pause", string(r.job), "--redis", server.URL())
			r.awaitPausing(t)
			c.then(t, r)
			var out bytes.Buffer
			for pause.lines.Scan() {
				out.Write(pause.lines.Bytes())
			}
			if code := pause.wait(); code != c.code || !strings.HasSuffix(out.String(), c.out) || !strings.Contains(pause.stderr.String(), c.err) {
				t.Errorf("exit code %d, %q, %q; want %d, %q, %q", code, out.String(), pause.stderr.String(), c.code, c.out, c.err)
			}
		})
	}
	t.Run("nobody waits", func(t *testing.T) {
		r := begin(t, e)
		pause := spawn(t, t.TempDir(), "pause", "--no-wait", string(r.job), "--redis", server.URL())
		if line := pause.line(); !bytes.HasSuffix(line, []byte(" is pausing at 0.0%")) {
			t.Errorf("it says %s", line)
		}
		if code := pause.wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, pause.stderr.String())
		}
	})
}

// A gateway that was cut short may have asked the job.
func TestControlThatIsCutShort(t *testing.T) {
	const id = "0701JDG5CW2QK3V9Y7H4N8R6ZTXB"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"topic":"user:demo","job":{"id":%q,"state":"running"}}`, id)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"code":"timeout","detail":"the request took too long"}`)
	}))
	t.Cleanup(server.Close)
	var out, err bytes.Buffer
	code := cli.Main([]string{"pause", id, "--server", server.URL}, nil, &out, &err)
	if want := "tidemark: pause job " + id + ": the request took too long; asking again does no harm\n"; code != 5 || out.Len() > 0 || err.String() != want {
		t.Errorf("exit code %d, %q, %q; want 5 and %q", code, out.String(), err.String(), want)
	}
}

// A run is the first attempt of a job, in the test's hands.
type run struct {
	e     *engine.Engine
	job   engine.JobID
	fence runtime.Fence
}

func begin(t *testing.T, e *engine.Engine) run {
	t.Helper()
	r := run{e, enqueue(t, e), runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	r.fence.Seq = 1
	r.commit(t, runtime.Report{Type: engine.JobStarted})
	return r
}

// report commits the one report that a run makes after its start.
func (r run) report(t *testing.T, report runtime.Report) {
	t.Helper()
	r.fence.Seq = 2
	r.commit(t, report)
}

func (r run) commit(t *testing.T, report runtime.Report) {
	t.Helper()
	report.Job, report.Fence = r.job, r.fence
	acks, err := runtime.Of(r.e).Commit(t.Context(), report)
	if err == nil {
		err = acks[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r run) ask(t *testing.T, what func(context.Context, engine.JobID) error) {
	t.Helper()
	if err := what(t.Context(), r.job); err != nil {
		t.Fatal(err)
	}
}

// awaitPausing returns once the job was asked to pause.
func (r run) awaitPausing(t *testing.T) {
	t.Helper()
	for u, err := range r.e.Follow(t.Context(), engine.FollowQuery{Filter: engine.Filter{Job: r.job}, After: engine.Beginning}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind == engine.UpdateRecord && u.Entry.Type() == engine.JobPausing {
			return
		}
	}
	t.Fatal("it has ended")
}
