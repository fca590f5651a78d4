package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

const topic = engine.Topic("user:42")

var namespaces atomic.Int64

func quiet() *slog.Logger { return logtest.Quiet() }

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// open gives an engine in a namespace of its own.
func open(t testing.TB, url string, change func(*engine.Options)) *engine.Engine {
	t.Helper()
	o := engine.Options{URL: url, Namespace: fmt.Sprintf("t%d", namespaces.Add(1)), Logger: quiet()}
	if change != nil {
		change(&o)
	}
	e, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close engine: %v", err)
		}
	})
	return e
}

// real gives an engine on a Redis of the test's own.
func real(t testing.TB) *engine.Engine {
	t.Helper()
	return open(t, redistest.Server(t).URL(), nil)
}

// A server is a gateway that serves on loopback.
type server struct {
	*gateway.Gateway
	addr string
}

// everyType are the types of jobs that tests enqueue as users.
var everyType = []gateway.EnqueueType{{Type: "export"}, {Type: "analysis"}, {Type: "count"}}

// serve runs a gateway until the test ends.
func serve(t testing.TB, e *engine.Engine, change func(*gateway.Options)) *server {
	t.Helper()
	o := gateway.Options{Engine: e, EnqueueTypes: everyType, Logger: quiet()}
	if change != nil {
		change(&o)
	}
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Clients that a test left behind do not take goodbye; that is no fault.
		_ = g.Stop(context.Background())
	})
	return &server{g, l.Addr().String()}
}

func (s *server) url(path string) string { return "http://" + s.addr + path }

// dialer is for a client whose kernel buffers little, so that what it does not read
// stays with the gateway.
func dialer(bufferBytes int) *websocket.Dialer {
	return &websocket.Dialer{
		Subprotocols:     []string{"tidemark.v1"},
		HandshakeTimeout: 10 * time.Second,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err == nil && bufferBytes > 0 {
				err = c.(*net.TCPConn).SetReadBuffer(bufferBytes)
			}
			return c, err
		},
	}
}

func (s *server) dial(t testing.TB, d *websocket.Dialer, header http.Header) *websocket.Conn {
	t.Helper()
	c, resp, err := d.DialContext(soon(t), "ws://"+s.addr+"/v1/ws", header)
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, resp)
	}
	resp.Body.Close()
	t.Cleanup(func() { hangUp(c) })
	return c
}

// hangUp ends a client's connection without a word. That it is closed already is no
// fault.
func hangUp(c *websocket.Conn) { _ = c.Close() }

// hurry widens the kernel's buffer of a client that has read slowly.
func hurry(t testing.TB, c *websocket.Conn) {
	t.Helper()
	if err := c.UnderlyingConn().(*net.TCPConn).SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
}

// enqueue makes a job of the topic.
func enqueue(t testing.TB, e *engine.Engine, topic engine.Topic) engine.JobID {
	t.Helper()
	got, err := e.Enqueue(soon(t), engine.Spec{Topic: topic, Type: "export", Title: "Orders 2025"})
	if err != nil {
		t.Fatal(err)
	}
	return got.ID
}

// A pen writes as the first attempt of a job.
type pen struct {
	t      testing.TB
	e      *engine.Engine
	job    engine.JobID
	fence  runtime.Fence
	tenths int
}

// start enqueues a job and begins its first attempt.
func start(t testing.TB, e *engine.Engine, topic engine.Topic) *pen {
	t.Helper()
	p := &pen{t: t, e: e, job: enqueue(t, e, topic), fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	p.write(runtime.Report{Type: engine.JobStarted})
	return p
}

// write commits reports, and returns the cursor after them.
func (p *pen) write(reports ...runtime.Report) engine.Cursor {
	p.t.Helper()
	for i := range reports {
		p.fence.Seq++
		reports[i].Job, reports[i].Fence = p.job, p.fence
	}
	// Not soon: what it leaves for the test's end would be measured as memory.
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	acks, err := runtime.Of(p.e).Commit(ctx, reports...)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, a := range acks {
		if a.Err != nil {
			p.t.Fatal(a.Err)
		}
	}
	return acks[len(acks)-1].ID
}

// tick reports progress n times, at most 64.
func (p *pen) tick(n int) engine.Cursor {
	p.t.Helper()
	reports := make([]runtime.Report, n)
	for i := range reports {
		p.tenths = min(p.tenths+1, 990)
		reports[i] = runtime.Report{Type: engine.JobProgress, Tenths: p.tenths, Shown: &runtime.Shown{Message: "reading orders"}}
	}
	return p.write(reports...)
}

func (p *pen) stage(name string) engine.Cursor {
	p.t.Helper()
	return p.write(runtime.Report{Type: engine.JobStage, Tenths: p.tenths, Shown: &runtime.Shown{Stage: engine.Stage{Name: name, Index: 1, Count: 3}}})
}

func (p *pen) succeed() engine.Cursor {
	p.t.Helper()
	return p.write(runtime.Report{Type: engine.JobSucceeded, Result: []byte(`{"rows":10}`)})
}

func redisURL(t testing.TB) string {
	t.Helper()
	return redistest.Server(t).URL()
}

// lastNamespace is that of the engine that was opened last.
func lastNamespace() string { return fmt.Sprintf("t%d", namespaces.Load()) }

// count runs a worker whose jobs count to the number that is their payload. inside reports
// whether the handler of an attempt has not returned.
func count(t *testing.T, e *engine.Engine) (inside func(job engine.JobID, attempt int) bool) {
	t.Helper()
	type attempt struct {
		job engine.JobID
		n   int
	}
	var handlers sync.Map // of attempt
	w, err := worker.New(worker.Options{
		Engine: e, Concurrency: 6, TickInterval: 20 * time.Millisecond, CheckpointInterval: 50 * time.Millisecond,
		HeartbeatInterval: 500 * time.Millisecond, Lease: 1500 * time.Millisecond, SweepInterval: 50 * time.Millisecond,
		ReconcileInterval: 200 * time.Millisecond, Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle(w, "count", func(ctx context.Context, run *worker.Run, steps int64) error {
		own := attempt{run.ID(), run.Attempt()}
		handlers.Store(own, true)
		defer handlers.Delete(own)
		var done int64
		if _, err := run.Resume(&done); err != nil {
			return err
		}
		for ; done < steps && ctx.Err() == nil; sleep(ctx, 10*time.Millisecond) {
			done++
			run.Progress(done, steps)
			if run.CheckpointDue() {
				if err := run.Checkpoint(done); err != nil {
					return err
				}
			}
		}
		return context.Cause(ctx)
	})
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.Stop(ctx); err != nil {
			t.Errorf("stop worker: %v", err)
		}
	})
	return func(job engine.JobID, n int) bool {
		_, found := handlers.Load(attempt{job, n})
		return found
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
