package redistest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// startTimeout bounds the start and the stop of one server. It is far more than
// they need, since tests run on busy machines.
const startTimeout = 30 * time.Second

// Option changes how [Server] starts its server.
type Option func(*redisproc.Config)

// WithAOF keeps an append-only file and writes every command to the disk before
// it is answered, so that [Redis.SaveAOF] catches exactly what was acknowledged.
// Rewrites are off.
func WithAOF() Option {
	return func(c *redisproc.Config) {
		c.AppendOnly, c.Fsync = true, redisproc.FsyncAlways
		c.Settings = append(c.Settings, "auto-aof-rewrite-percentage 0")
	}
}

// WithMaxMemory bounds the server's memory; writes beyond it fail with OOM. An
// empty Redis 7 uses about 1 MiB.
func WithMaxMemory(maxBytes int64) Option {
	return func(c *redisproc.Config) { c.MaxMemoryBytes = maxBytes }
}

// WithReplicaOf makes the server a replica of another.
func WithReplicaOf(primary *Redis) Option {
	return func(c *redisproc.Config) { c.ReplicaOf = primary.Addr() }
}

// WithSettings adds lines of redis.conf.
func WithSettings(lines ...string) Option {
	return func(c *redisproc.Config) { c.Settings = append(c.Settings, lines...) }
}

// Redis is a real server that belongs to one test. Methods that fail end the
// test, so they must be called from its goroutine.
type Redis struct {
	t    testing.TB
	proc *redisproc.Process
}

// Server starts a server and waits until it answers. It is ended with the test.
func Server(t testing.TB, opts ...Option) *Redis {
	t.Helper()
	var cfg redisproc.Config
	for _, o := range opts {
		o(&cfg)
	}
	return start(t, cfg)
}

func start(t testing.TB, cfg redisproc.Config) *Redis {
	t.Helper()
	leaktest.Check(t)
	cfg.Dir = t.TempDir()
	cfg.DieWithParent = true
	cfg.StartTimeout = startTimeout
	ctx, cancel := context.WithTimeout(t.Context(), 2*startTimeout)
	defer cancel()
	proc, err := redisproc.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err) // a missing server says how to install it
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the redis server at %s logged last:\n%s", proc.Addr(), proc.LogTail())
		}
		// The folder is about to be removed: nothing is worth a graceful end.
		if err := proc.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &Redis{t: t, proc: proc}
}

// Addr is the server's "127.0.0.1:port"; it stays the same over restarts.
func (r *Redis) Addr() string { return r.proc.Addr() }

// URL is the server's redis:// URL, database 0.
func (r *Redis) URL() string { return "redis://" + r.Addr() + "/0" }

// PID is the server's process ID.
func (r *Redis) PID() int { return r.proc.PID() }

// Dir is the server's folder.
func (r *Redis) Dir() string { return r.proc.Dir() }

// Client returns a new client, closed with the test.
func (r *Redis) Client(t testing.TB) *redis.Client {
	t.Helper()
	return Dial(t, r.Addr())
}

// AsynqQueues are the queues that asynq was given tasks for, sorted.
func (r *Redis) AsynqQueues(t testing.TB) []string {
	t.Helper()
	queues, err := r.Client(t).SMembers(t.Context(), "asynq:queues").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(queues)
	return queues
}

// Dial returns a new client of the Redis at addr, closed with the test. Its
// calls end with their context, and a failed call is not tried again, so that
// tests see the failure that they cause.
func Dial(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: quiet(),
	})
	closeWith(t, c)
	return c
}

// quiet turns off a feature of hosted Redis that asks every new connection for
// something that plain servers refuse.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func closeWith(t testing.TB, c interface{ Close() error }) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			t.Errorf("closing a redis client: %v", err)
		}
	})
}

// Kill ends the server as a crash does, and returns when it is gone.
func (r *Redis) Kill() {
	r.t.Helper()
	r.check(r.proc.Kill())
}

// Stop ends the server gracefully, and returns when it is gone.
func (r *Redis) Stop() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), startTimeout)
	defer cancel()
	r.check(r.proc.Stop(ctx))
}

// Restart starts the server again at the same address, after a graceful stop if
// it runs. It comes back empty unless it has an append-only file.
func (r *Redis) Restart() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*startTimeout)
	defer cancel()
	r.check(r.proc.Restart(ctx))
}

// Pause freezes the server: connections stay open, nothing is answered.
func (r *Redis) Pause() {
	r.t.Helper()
	r.check(r.proc.Pause())
}

// Resume lets a paused server go on.
func (r *Redis) Resume() {
	r.t.Helper()
	r.check(r.proc.Resume())
}

func (r *Redis) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// until polls a condition that only the other side knows, and fails the test
// with the last reason when it does not hold in time.
func until(t testing.TB, what string, holds func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s for %s: %v", startTimeout, what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
