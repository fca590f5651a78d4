package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// spellings are how servers and proxies say READONLY.
var spellings = map[string]string{
	"as Redis says it":     "-READONLY ",
	"as a proxy says it":   "-ERR READONLY ",
	"as Redis 6.2 says it": "-ERR Error running script (call to f_0): @user_script:1: -READONLY ",
}

// A switchover behind a proxy leaves open connections with the server that was demoted.
// Writers and readers leave it, whichever way it says what it is.
func TestConnectionsLeaveADemotedServer(t *testing.T) {
	t.Parallel()
	for name, spelling := range spellings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A replica takes a full copy at once.
			old := redistest.Server(t, redistest.WithSettings("repl-diskless-sync yes", "repl-diskless-sync-delay 0"))
			next := redistest.Server(t, redistest.WithReplicaOf(old))
			proxy := redistest.NewProxy(t, old.Addr())
			proxy.RewriteReplies("-READONLY ", spelling)
			e := open(t, proxy.URL(), func(o *engine.Options) { o.CommitTimeout = time.Second })
			ctx := minutes(t)
			job := enqueue(t, e)
			p, _ := start(t, e, job, 1)
			follow := pull(t, ctx, e, engine.FollowQuery{Topic: "user:42"})
			await(t, follow, engine.UpdateLive)
			beat := runtime.Beat{Job: job, Attempt: 1, Token: p.r.Fence.Token}
			if _, err := e.Heartbeat(ctx, []runtime.Beat{beat}); err != nil {
				t.Fatal(err)
			}
			writer := old.Client(t) // WAIT is for one's own writes
			for n := int64(0); n < 1; {
				var err error
				must(t, writer.Set(ctx, "written", 1, 0).Err())
				if n, err = writer.Wait(ctx, 1, time.Second).Result(); err != nil {
					t.Fatal(err)
				}
			}

			must(t, old.Client(t).ReplicaOf(ctx, "127.0.0.1", "1").Err())
			report := p.r
			report.Type, report.Tenths, report.Fence.Seq = engine.JobProgress, 10, p.r.Fence.Seq+1
			if _, err := e.Commit(ctx, report); !errors.Is(err, engine.ErrUnreachable) {
				t.Errorf("a commit was answered %v, want ErrUnreachable", err)
			}
			if _, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export"}); !errors.Is(err, engine.ErrUnreachable) {
				t.Errorf("an enqueue was answered %v, want ErrUnreachable", err)
			}
			must(t, next.Client(t).ReplicaOf(ctx, "no", "one").Err())
			proxy.Switch(next.Addr())
			for err := engine.ErrUnreachable; err != nil; {
				var acks []runtime.Ack
				if acks, err = e.Commit(ctx, report); err == nil {
					err = acks[0].Err
				}
				if err != nil && !errors.Is(err, engine.ErrUnreachable) || ctx.Err() != nil {
					t.Fatal(err)
				}
			}
			if !proxy.AwaitLeft(ctx, old.Addr()) {
				t.Error("connections stay with the server that was demoted")
			}
			if flags, err := e.Heartbeat(ctx, []runtime.Beat{beat}); err != nil || flags[0] != runtime.FlagNone {
				t.Errorf("a heartbeat was answered %q, %v", flags, err)
			}
			if _, u := await(t, follow, engine.UpdateRecord); u.Entry.JobID() != job {
				t.Errorf("the reader was given %+v", u)
			}
		})
	}
}

// What Redis says when it refuses a write, and what a caller hears.
func TestRefusedWritesAreErrorsToBranchOn(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	e := open(t, proxy.URL(), func(o *engine.Options) { o.CommitTimeout = 500 * time.Millisecond })
	ctx := minutes(t)
	for _, why := range redistest.Refusals {
		server.RefuseWrites(why)
		want := engine.ErrUnreachable
		if why == redistest.OutOfMemory {
			want = engine.ErrOutOfMemory
		}
		if _, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export"}); !errors.Is(err, want) {
			t.Errorf("%s: an enqueue was answered %v, want %v", why, err, want)
		}
		for _, err := range e.TryWrites(ctx, []int{0, 7}) {
			if !errors.Is(err, want) {
				t.Errorf("%s: a try was answered %v, want %v", why, err, want)
			}
		}
		taken, err := e.Ready(ctx)
		if ready := err == nil; taken || ready == (why == redistest.Demoted) {
			t.Errorf("%s: writes are taken: %v, %v", why, taken, err)
		}
		server.TakeWrites()
		if taken, err := e.Ready(ctx); err != nil || !taken {
			t.Errorf("after %q: writes are taken: %v, %v", why, taken, err)
		}
	}
	proxy.Refuse()
	proxy.CutAll()
	if taken, err := e.Ready(ctx); taken || !errors.Is(err, engine.ErrUnreachable) || strings.Contains(err.Error(), "refuses") {
		t.Errorf("away: writes are taken: %v, %v", taken, err)
	}
}
