package cli_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A worker whose queue holds a task of another program stays up, and its health says from which
// queue it takes nothing.
func TestAWorkerTellsWhichQueuesItRefuses(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	o, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	if _, err := asynq.NewClientFromRedisClient(client).EnqueueContext(t.Context(), asynq.NewTask("mail:send", nil), asynq.Queue("mails")); err != nil {
		t.Fatal(err)
	}
	health := lasting(t)
	worker := spawn(t, t.TempDir(), append([]string{"worker", "--health-addr", health, "--redis", server.URL(), "--queues", "mails,exports"}, brisk...)...)
	become(t, health, "/readyz", http.StatusOK)
	for {
		status, body := read(t, health, "/readyz", "")
		if strings.HasSuffix(body, "nothing is taken: mails\n") {
			break
		}
		if status != http.StatusOK || t.Context().Err() != nil {
			t.Fatalf("/readyz answers %d %q", status, body)
		}
	}
	if waiting, err := client.LLen(t.Context(), "asynq:{mails}:pending").Result(); err != nil || waiting != 1 {
		t.Errorf("%d tasks wait, %v; want the program's one", waiting, err)
	}
	worker.signal(syscall.SIGTERM)
	if code := worker.wait(); code != 0 {
		t.Errorf("the worker exits with %d: %s", code, worker.stderr.String())
	}
}
