package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuickstart(t *testing.T) {
	var out strings.Builder
	if err := quickstart(t.Context(), redistest.Server(t).URL(), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if first, last := lines[0], lines[len(lines)-1]; !strings.HasPrefix(first, "job.queued") || !strings.HasPrefix(last, `job.succeeded  100.0% {"rows":1000}`) {
		t.Errorf("the job is not shown from its first record to its last:\n%s", out.String())
	}
	if n := strings.Count(out.String(), "job.progress"); n == 0 {
		t.Errorf("no progress is shown:\n%s", out.String())
	}
}

// TestItsQueueIsItsOwn: "tidemark up" on the same Redis serves the default queue, and fails
// what it does not know there.
func TestItsQueueIsItsOwn(t *testing.T) {
	server := redistest.Server(t)
	if err := quickstart(t.Context(), server.URL(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := server.AsynqQueues(t); !slices.Equal(got, []string{"exports"}) {
		t.Errorf("it used the queues %q", got)
	}
}
