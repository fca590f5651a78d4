package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

func inspect(e *engine.Engine) *asynq.Inspector { return asynq.NewInspectorFromRedisClient(e.Redis()) }

// lose starts an attempt whose worker is never heard of again.
func lose(t *testing.T, e *engine.Engine, job engine.JobID, attempt int) {
	t.Helper()
	eventually(t, "the attempt to wait", func() bool {
		a, err := runtime.Of(e).Current(soon(t), job)
		return err == nil && a.Waiting && a.Attempt == attempt
	})
	acks, err := runtime.Of(e).Commit(soon(t), runtime.Report{
		Type: engine.JobStarted, Job: job, Fence: runtime.Fence{Attempt: attempt, Token: runtime.NewToken(), Seq: 1},
	})
	if err != nil || acks[0].Err != nil {
		t.Fatal(err, acks)
	}
}

func TestCrashLimit(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Lease, o.CrashLimit = 250*time.Millisecond, 3
	// It rescues, but serves another queue.
	o.Queues = []string{"elsewhere"}
	start(t, build(t, o))
	job := enqueue(t, e, "export")
	for attempt := 1; attempt <= runtime.SuspectAfter+o.CrashLimit; attempt++ {
		lose(t, e, job, attempt)
	}
	all := history(t, e, job, nil)
	end := last(all)
	if end.State != engine.Failed || end.Error.Code != "worker_lost" || !strings.Contains(end.Error.Message, "3 times") {
		t.Errorf("ended as %s with %+v", end.State, end.Error)
	}
	if n := count(all, engine.JobStalled); n != runtime.SuspectAfter+o.CrashLimit-1 {
		t.Errorf("stalled %d times:\n%s", n, tell(all))
	}
}

// A running job whose heartbeat is gone from Redis is found, watched, and claimed if its
// worker is dead; one whose worker lives goes on.
func TestARunningJobWithoutAHeartbeatIsWatched(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Lease = 500 * time.Millisecond
	w := build(t, o)
	running, release := make(chan struct{}), make(chan struct{})
	worker.Handle(w, "alive", func(ctx context.Context, _ *worker.Run, _ struct{}) error {
		close(running)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	worker.Handle(w, "export", func(context.Context, *worker.Run, struct{}) error { return nil })
	dead := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = "elsewhere" })
	namespace, _, _ := strings.Cut(e.QueueName("q"), ":")
	unbeat := func(job engine.JobID) {
		if n, err := e.Redis().ZRem(soon(t), fmt.Sprintf("%s:{%s}:beats", namespace, job[:2]), string(job)).Result(); n != 1 || err != nil {
			t.Fatalf("%d heartbeats of %s were taken away, error %v", n, job, err)
		}
	}
	lose(t, e, dead, 1)
	unbeat(dead)
	start(t, w)
	alive := enqueue(t, e, "alive")
	wait(t, "the job to run", running)
	unbeat(alive)
	awaitRecord(t, e, dead, func(r engine.Record) bool { return r.Type == engine.JobStalled })
	close(release)
	if all := history(t, e, alive, nil); last(all).State != engine.Succeeded || count(all, engine.JobStalled) > 0 {
		t.Errorf("the job whose worker lives:\n%s", tell(all))
	}
}

// A worker claims no run of its own, however late its heartbeats are: it knows that the run is
// alive. Another worker, which has only the heartbeats, does.
func TestAWorkerClaimsNoRunOfItsOwn(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.HeartbeatInterval, o.Lease = time.Minute, 10*time.Minute // none comes in between
	own, other := build(t, o), build(t, o)
	running := make(chan struct{})
	worker.Handle(own, "export", func(ctx context.Context, _ *worker.Run, _ struct{}) error {
		close(running)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	start(t, own)
	job := enqueue(t, e, "export")
	wait(t, "the job to run", running)
	for _, c := range []struct {
		by      *worker.Worker
		attempt int
	}{{own, 1}, {other, 2}} {
		beats, err := beating(soon(t), e)
		if err != nil || beats[job] == "" {
			t.Fatalf("heartbeats %v, %v", beats, err)
		}
		if err := worker.Sweep(c.by).Claim(soon(t), job, beats[job]); err != nil {
			t.Fatal(err)
		}
		if a, err := runtime.Of(e).Current(soon(t), job); err != nil || a.Attempt != c.attempt {
			t.Fatalf("after the claim attempt %d is the current one, want %d; %v", a.Attempt, c.attempt, err)
		}
	}
}

// crash has a job lose its worker n times, and leaves the next attempt waiting.
func crash(t *testing.T, e *engine.Engine, job engine.JobID, n int) {
	t.Helper()
	w := build(t, brief(e))
	for attempt := 1; attempt <= n; attempt++ {
		lose(t, e, job, attempt)
		beats, err := beating(soon(t), e)
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Sweep(w).Claim(soon(t), job, beats[job]); err != nil {
			t.Fatal(err)
		}
	}
}

// A suspect whose task does not say that it is one, as that of an older version, does not run
// beside others: its next task says so.
func TestASuspectsOldTaskIsReplaced(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export")
	crash(t, e, job, runtime.SuspectAfter)
	suspect := runtime.SuspectAfter + 1
	payload, err := json.Marshal(runtime.TaskPayload{Job: job, Attempt: suspect, Topic: topic, At: time.Now().UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	queue := e.QueueName(runtime.RescueQueue(engine.DefaultQueue))
	if err := inspect(e).DeleteTask(queue, runtime.TaskID(job, suspect)); err != nil {
		t.Fatal(err)
	}
	old := asynq.NewTask("export", payload, asynq.TaskID(runtime.TaskID(job, suspect)), asynq.Queue(queue), asynq.MaxRetry(0))
	if _, err := asynq.NewClientFromRedisClient(e.Redis()).Enqueue(old); err != nil {
		t.Fatal(err)
	}
	w := build(t, brief(e))
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		if run.Attempt() == suspect {
			t.Error("it ran beside others")
		}
		return nil
	})
	start(t, w)
	if end := last(history(t, e, job, nil)); end.State != engine.Succeeded || end.Attempt != suspect+1 {
		t.Errorf("it is %s in attempt %d", end.State, end.Attempt)
	}
}

// The second task of a suspect's attempt, which has begun or is over, holds nothing up.
func TestASuspectsSecondTaskFindsNoSeat(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export")
	crash(t, e, job, runtime.SuspectAfter)
	w := build(t, brief(e))
	task := func(attempt int) runtime.TaskPayload {
		return runtime.TaskPayload{Job: job, Attempt: attempt, Topic: topic, Alone: true}
	}
	suspect := runtime.SuspectAfter + 1
	if worker.Seated(soon(t), w, task(suspect-1)) {
		t.Error("an attempt that is over has a seat")
	}
	if !worker.Seated(soon(t), w, task(suspect)) {
		t.Error("the attempt that waits has no seat")
	}
	lose(t, e, job, suspect)
	if worker.Seated(soon(t), w, task(suspect)) {
		t.Error("an attempt that has begun has a second seat")
	}
}

// A job that kills its process takes its neighbours along twice at most. It fails for the
// crashes in which it ran alone; they succeed.
func TestPoisonJobFailsAlone(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	r := role{URL: s.URL(), Namespace: fmt.Sprintf("t%d", namespaces.Add(1)), Slots: 8, CrashLimit: 2}
	e := openIn(t, r.URL, r.Namespace)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	neighbours, err := enqueueAll(ctx, e, 3, engine.Spec{Topic: "user:other", Type: "brief", Payload: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	poison := enqueue(t, e, "poison", func(s *engine.Spec) { s.Payload = 300 * time.Millisecond })
	ended := make(chan error, 1)
	go func() {
		for _, job := range append(neighbours, poison) {
			if _, err := trace(ctx, e, job, nil); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	for lives, over := 0, false; !over; lives++ {
		if lives == 20 {
			t.Fatal("jobs have no end")
		}
		p, err := spawn(ctx, t, r)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.exited:
		case err := <-ended:
			if over = true; err != nil {
				t.Fatal(err)
			}
		}
	}
	hit := 0
	for _, job := range neighbours {
		all, err := trace(ctx, e, job, nil)
		if err != nil || last(all).State != engine.Succeeded {
			t.Errorf("a neighbour ended so: %v\n%s", err, tell(all))
		}
		hit += count(all, engine.JobStalled)
	}
	all := history(t, e, poison, nil)
	if end := last(all); end.State != engine.Failed || end.Error.Code != "worker_lost" || count(all, engine.JobStalled) != runtime.SuspectAfter+r.CrashLimit-1 {
		t.Errorf("it ended so:\n%s", tell(all))
	}
	if hit == 0 || hit > 3*runtime.SuspectAfter {
		t.Errorf("its neighbours lost their worker %d times", hit)
	}
}

func TestCheckpointWaitsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	proxy := redistest.NewProxy(t, s.Addr())
	e := open(t, proxy.URL())
	w := build(t, brief(e))
	cut, kept := make(chan struct{}), make(chan struct{})
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		proxy.Refuse()
		proxy.CutAll()
		close(cut)
		run.Progress(40, 100)
		run.Log("info", "meanwhile")
		if err := run.Checkpoint("kept"); err != nil {
			return err
		}
		close(kept)
		return nil
	})
	start(t, w)
	job := enqueue(t, e, "export")
	wait(t, "the cut", cut)
	select {
	case <-kept:
		t.Error("Checkpoint returned while Redis was away")
	case <-time.After(300 * time.Millisecond):
	}
	proxy.Accept()
	wait(t, "the checkpoint", kept)
	all := history(t, e, job, nil)
	if n := count(all, engine.JobCheckpoint); n != 1 {
		t.Errorf("%d checkpoints:\n%s", n, tell(all))
	}
	if n := count(all, engine.JobLog); n != 1 {
		t.Errorf("%d log records:\n%s", n, tell(all))
	}
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 1 {
		t.Errorf("ended as %s in attempt %d", end.State, end.Attempt)
	}
}

func TestLostRepliesAreNotWrittenTwice(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	proxy := redistest.NewProxy(t, s.Addr())
	e := open(t, proxy.URL())
	o := brief(e)
	o.Lease = 5 * time.Second
	w := build(t, o)
	const lines = 10
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		for i := range lines {
			proxy.StallReplies() // what is committed now, is not answered
			run.Log("info", fmt.Sprint("line ", i))
			pause(context.Background(), 30*time.Millisecond)
			proxy.CutAll()
			proxy.Unstall()
		}
		return nil
	})
	start(t, w)
	i := 0
	all := history(t, direct(t, s, e), enqueue(t, e, "export"), func(r engine.Record) {
		if r.Log == nil {
			return
		}
		if want := fmt.Sprint("line ", i); r.Log.Text != want {
			t.Errorf("log line %q, want %q", r.Log.Text, want)
		}
		i++
	})
	if i != lines || last(all).Attempt != 1 {
		t.Errorf("%d log lines in %d attempts, want %d in 1", i, last(all).Attempt, lines)
	}
}

// direct gives an engine of the same namespace that is not behind a proxy.
func direct(t *testing.T, s *redistest.Redis, e *engine.Engine) *engine.Engine {
	t.Helper()
	namespace, _, _ := strings.Cut(e.QueueName("q"), ":")
	return openIn(t, s.URL(), namespace)
}

// A job that cannot be ended must not keep the reconciler from the others.
func TestOneBrokenTopicDoesNotStopTheReconciler(t *testing.T) {
	t.Parallel()
	e := real(t)
	ctx := soon(t)
	deadline := time.Now().Add(500 * time.Millisecond)
	bad, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "elsewhere", Deadline: deadline})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Redis().Del(ctx, e.StreamKey(topic)).Err(), e.Redis().Set(ctx, e.StreamKey(topic), "x", 0).Err()); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(deadline))
	var good engine.JobID // of a later shard
	for i := 0; good < bad.ID[:2]+"A"; i++ {
		made, err := e.Enqueue(ctx, engine.Spec{Topic: engine.Topic(fmt.Sprint("team:", i)), Type: "export", Queue: "elsewhere"})
		if err != nil {
			t.Fatal(err)
		}
		good = made.ID
	}
	forgetDispatch(t, e, good, "elsewhere")
	o := brief(e)
	o.Queues = []string{"elsewhere"}
	w := build(t, o)
	ran := make(chan engine.JobID, 1000)
	worker.Handle(w, "export", func(_ context.Context, r *worker.Run, _ []byte) error { ran <- r.ID(); return nil })
	start(t, w)
	for {
		select {
		case job := <-ran:
			if job == good {
				return
			}
		case <-ctx.Done():
			t.Fatalf("job %s, whose task was lost, is not handed over while job %s cannot be ended", good, bad.ID)
		}
	}
}
