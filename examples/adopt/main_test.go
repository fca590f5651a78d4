package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAdopt(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), redistest.Server(t).URL(), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if first, last := lines[0], lines[len(lines)-1]; !strings.HasPrefix(first, "job.queued") || last != "job.succeeded  100.0% video:encode" {
		t.Errorf("the job is not shown from its first record to its last:\n%s", out.String())
	}
	if n := strings.Count(out.String(), "job.progress"); n == 0 {
		t.Errorf("no progress is shown:\n%s", out.String())
	}
}
