package cli

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/worker"
)

// opened opens the service of an up with the embedded Redis.
func opened(t *testing.T, log io.Writer, further ...string) *service {
	t.Helper()
	for _, entry := range os.Environ() { // the test run's own are no settings
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TIDEMARK_") {
			t.Setenv(name, "") // which is taken back at the test's end
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := &app{out: &bytes.Buffer{}, err: log}
	cmd, args, err := a.root().Find(append([]string{"up", "--addr", "127.0.0.1:0", "--set", "redis.embedded=always", "--data", filepath.Join(t.TempDir(), "data")}, further...))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	cmd.SetContext(t.Context())
	s, err := a.openService(cmd, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestFailedGatewayTakesTheWorkerAlong(t *testing.T) {
	var log bytes.Buffer
	s := opened(t, &log)
	err := s.run(t.Context(), func() { _ = s.listener.Close() })
	if err == nil || !strings.Contains(err.Error(), "serve 127.0.0.1:") || !strings.Contains(err.Error(), "use of closed network connection") {
		t.Errorf("it ends with %v, want why it could not serve", err)
	}
	// A worker that is stopped cannot be started again.
	if err := s.worker.Start(t.Context()); err == nil || !strings.Contains(err.Error(), worker.ErrStopped.Error()) {
		t.Errorf("the worker was left running: %v", err)
	}
	if !strings.Contains(log.String(), "the gateway has failed; draining") {
		t.Errorf("the log is\n%s", log.String())
	}
}

func TestServiceToldToStopBeforeItBegan(t *testing.T) {
	var log bytes.Buffer
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(session.ErrInterrupted)
	if err := opened(t, &log).run(ctx, func() {}); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestWhereaboutsForPeople(t *testing.T) {
	w := whereabouts{
		Page: "http://127.0.0.1:8080/", Jobs: "http://127.0.0.1:8080/v1/jobs", Socket: "ws://127.0.0.1:8080/v1/ws",
		Asynq: "http://127.0.0.1:8080/admin/asynq", Redis: "R", RedisURL: "unix:///d/redis.sock", Data: "d", Announce: "A", Working: true,
	}
	var up, alone, embedded bytes.Buffer
	w.write(&up)
	const want = `Tidemark is up: http://127.0.0.1:8080/

  producers  POST http://127.0.0.1:8080/v1/jobs
  in Go      engine.Options{URL: "unix:///d/redis.sock"}
  WebSocket  ws://127.0.0.1:8080/v1/ws
  queues     http://127.0.0.1:8080/admin/asynq
  Redis      R
  data       d
  access     A

Ctrl-C stops it: runs hand their jobs back, and the next up goes on with them. Twice: at once.
`
	if up.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", up.String(), want)
	}
	w.Kind = "embedded"
	w.write(&embedded)
	if !strings.Contains(embedded.String(), "Ctrl-C stops it: jobs end with it.") {
		t.Errorf("of the embedded Redis it says\n%s", embedded.String())
	}
	w.Working = false
	w.write(&alone)
	if !strings.Contains(alone.String(), `run "tidemark worker"`) {
		t.Errorf("of a gateway alone it says\n%s", alone.String())
	}
}

func TestNextPort(t *testing.T) {
	for port, want := range map[int]string{8080: "127.0.0.1:8081", 65535: "127.0.0.1:1"} {
		if got := beside(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); got != want {
			t.Errorf("beside %d is %s, want %s", port, got, want)
		}
	}
}
