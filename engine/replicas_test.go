package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestUnreplicatedCommitIsKept(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), func(o *engine.Options) {
		o.WaitReplicas, o.WaitTimeout = 1, 20*time.Millisecond
	})
	ctx := soon(t)
	got, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export"})
	if !errors.Is(err, engine.ErrUnreplicated) || got.ID == "" {
		t.Fatalf("enqueue: %+v, %v; want the job and ErrUnreplicated", got, err)
	}
	r := runtime.Report{Type: engine.JobStarted, Job: got.ID, Fence: runtime.Fence{Attempt: 1, Token: "x", Seq: 1}}
	acks, err := e.Commit(ctx, r)
	if !errors.Is(err, engine.ErrUnreplicated) || len(acks) != 1 || acks[0].Err != nil || acks[0].Started == nil {
		t.Fatalf("start: %+v, %v; want its answer and ErrUnreplicated", acks, err)
	}
	// A tick waits for no replica.
	r.Type, r.Fence.Seq = engine.JobProgress, 2
	if acks, err = e.Commit(ctx, r); err != nil || acks[0].Err != nil {
		t.Fatalf("tick: %+v, %v", acks, err)
	}
	if err := e.Notify(ctx, "user:42", "", []byte(`1`)); !errors.Is(err, engine.ErrUnreplicated) {
		t.Errorf("notify: %v, want ErrUnreplicated", err)
	}
	if err := e.Cancel(ctx, got.ID); !errors.Is(err, engine.ErrUnreplicated) {
		t.Errorf("cancel: %v, want ErrUnreplicated", err)
	}
	if page, err := e.Replay(ctx, "user:42", engine.Beginning); err != nil || len(page.Entries) != 5 {
		t.Errorf("%d records are kept, %v; want 5", len(page.Entries), err)
	}
}

// What a request begins goes on also when too few replicas hold it: children are paused
// and resumed with their parent, tasks are taken out and handed over. A rescue, which
// no caller waits for, says nothing of it.
func TestUnreplicatedRequestsAreSeenThrough(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), func(o *engine.Options) {
		o.WaitReplicas, o.WaitTimeout = 1, time.Millisecond
	})
	ctx := soon(t)
	stands := func(err error) {
		t.Helper()
		if !errors.Is(err, engine.ErrUnreplicated) {
			t.Fatalf("%v, want ErrUnreplicated", err)
		}
	}
	parent, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export"})
	stands(err)
	parts, plan, err := runtime.PlanFanOut("all", "user:42", engine.DefaultQueue, []engine.Child{{Name: "a", Spec: engine.Spec{Type: "export"}}})
	must(t, err)
	fence := runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}
	start := runtime.Report{Type: engine.JobStarted, Job: parent.ID, Fence: fence}
	fence.Seq++
	_, err = e.Commit(ctx, start, runtime.Report{Type: engine.JobProgress, Job: parent.ID, Fence: fence, FanOut: &plan})
	stands(err)
	must(t, e.Spawn(ctx, parent.ID, fence, 0, "all", parts))
	child := runtime.ChildID(parent.ID, "all", "a")
	holds := func(state engine.State, task runtime.TaskState) {
		t.Helper()
		stand, err := e.Attempts(ctx, []engine.JobID{child})
		must(t, err)
		tasks, err := e.Tasks(ctx, stand)
		must(t, err)
		if stand[0].State != state || tasks[0].Own != task {
			t.Errorf("the child is %s, its task %v; want %s, %v", stand[0].State, tasks[0].Own, state, task)
		}
	}
	holds(engine.Queued, runtime.TaskWaits)
	stands(e.Pause(ctx, parent.ID))
	holds(engine.Paused, runtime.TaskNone)
	stands(e.Resume(ctx, parent.ID))
	holds(engine.Queued, runtime.TaskWaits)
	if next, err := e.Stall(ctx, parent.ID, lastBeat(t, e, parent.ID)); err != nil || !next.Waiting || next.Attempt != 2 {
		t.Errorf("a rescue: %+v, %v; want the second attempt", next, err)
	}
	stands(e.Cancel(ctx, parent.ID))
	holds(engine.Canceled, runtime.TaskNone)
}

// The wait must be for the batch, whatever way it took to Redis.
func TestReplicasAreWaitedForAfterAScriptFlush(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t, redistest.WithSettings("repl-diskless-sync-delay 0"))
	replica := redistest.Server(t, redistest.WithReplicaOf(server))
	client := server.Client(t)
	e := open(t, server.URL(), func(o *engine.Options) { o.WaitReplicas, o.WaitTimeout = 1, time.Second })
	ctx := soon(t)
	must(t, inStep(ctx, client))
	must(t, e.Notify(ctx, "user:42", "", []byte(`1`)))
	must(t, inStep(ctx, client))
	replica.Pause()
	defer replica.Resume()
	must(t, client.ScriptFlush(ctx).Err())
	for i := range 2 {
		if err := e.Notify(ctx, "user:42", "", []byte(`1`)); !errors.Is(err, engine.ErrUnreplicated) {
			t.Errorf("notification %d, with the replica frozen: %v; want ErrUnreplicated", i, err)
		}
	}
}

// inStep waits until the only replica has acknowledged everything.
func inStep(ctx context.Context, primary *redis.Client) error {
	for {
		info, err := primary.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		_, offset, _ := strings.Cut(info, "master_repl_offset:")
		offset, _, _ = strings.Cut(offset, "\r\n")
		if strings.Contains(info, ",offset="+offset+",lag=") {
			return nil
		}
		if !again(ctx) {
			return context.Cause(ctx)
		}
	}
}

// replicated waits until a replica holds all that the primary has acknowledged so far.
func replicated(ctx context.Context, primary *redis.Client) error {
	for {
		pipe := primary.Pipeline() // WAIT is for what its own connection wrote
		pipe.Set(ctx, "replicated", "so far", 0)
		wait := pipe.Do(ctx, "WAIT", 1, 1000)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		if n, err := wait.Int(); err != nil || n > 0 {
			return err
		}
	}
}

// A wait that outlasts what the client or the engine waits for an answer would make
// every commit look unreachable.
func TestWaitIsShorterThanItsCommit(t *testing.T) {
	for _, o := range []engine.Options{
		{WaitReplicas: 1, WaitTimeout: 5 * time.Second},
		{WaitReplicas: 1, CommitTimeout: 500 * time.Millisecond},
	} {
		if err := o.Validate(); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "WaitTimeout") {
			t.Errorf("WaitTimeout %v, CommitTimeout %v: %v; want ErrInvalid that names WaitTimeout", o.WaitTimeout, o.CommitTimeout, err)
		}
	}
}
