package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
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

// TestItsQueueIsItsOwn: "tidemark up" on the same Redis serves the default queue, and fails
// what it does not know there.
func TestItsQueueIsItsOwn(t *testing.T) {
	server := redistest.Server(t)
	if err := run(t.Context(), server.URL(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := server.AsynqQueues(t); !slices.Equal(got, []string{"videos"}) {
		t.Errorf("it used the queues %q", got)
	}
}

// TestSocket: it is what "tidemark up" prints.
func TestSocket(t *testing.T) {
	got, err := redisOf("unix:///tidemark-data/redis/redis.sock")
	if o, ok := got.(asynq.RedisClientOpt); err != nil || !ok || o.Network != "unix" || o.Addr != "/tidemark-data/redis/redis.sock" {
		t.Errorf("%+v, %v", got, err)
	}
}
