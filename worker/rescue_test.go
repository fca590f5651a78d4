package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// spawnTally starts a worker process and gives it a job, which has come some way
// when this returns.
func spawnTally(t *testing.T, steps int) (*engine.Engine, *process, engine.JobID) {
	t.Helper()
	url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
	e := openIn(t, url, namespace)
	p := spawn(t, url, namespace)
	job := enqueue(t, e, "tally", func(s *engine.Spec) { s.Payload = tally{steps} })
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint && r.Job.Percent >= 20 })
	return e, p, job
}

func TestKilledWorkersJobGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	e, p, job := spawnTally(t, 500)
	p.signal(t, syscall.SIGKILL)

	o := brief(e)
	o.Lease = 250 * time.Millisecond
	w := build(t, o)
	var first atomic.Int64
	first.Store(-1)
	handler := countUp(func(step int) error {
		first.CompareAndSwap(-1, int64(step))
		return nil
	})
	worker.Handle(w, "tally", handler)
	start(t, w)

	distinct := map[float64]int{} // percent by attempt
	all := history(t, e, job, func(r engine.Record) { distinct[r.Job.Percent] |= 1 << r.Job.Attempt })
	if len(distinct) < 20 {
		t.Errorf("only %d distinct percents", len(distinct))
	}
	if first.Load() < 100 { // it was killed beyond 20 %
		t.Errorf("the second worker began at step %d", first.Load())
	}
	end := last(all)
	if string(end.Result) != fmt.Sprint(tally{500}.sum()) || end.Attempt != 2 {
		t.Errorf("result %s in attempt %d, want %d in 2", end.Result, end.Attempt, tally{500}.sum())
	}
	if n := count(all, engine.JobStalled); n != 1 {
		t.Errorf("%d job.stalled:\n%s", n, tell(all))
	}
	if count(all, engine.JobRetrying) != 0 {
		t.Error("the crash cost a retry")
	}
	for _, r := range all {
		if r.Type == engine.JobResumed && (r.Job.ResumedFrom == nil || *r.Job.ResumedFrom < 20) {
			t.Errorf("resumed from %v", r.Job.ResumedFrom)
		}
	}
}

func TestFrozenWorkerWritesNothingWhenItWakes(t *testing.T) {
	t.Parallel()
	e, p, job := spawnTally(t, 500)
	p.signal(t, syscall.SIGSTOP)

	o := brief(e)
	o.Lease = 250 * time.Millisecond
	w := build(t, o)
	awake := make(chan struct{})
	worker.Handle(w, "tally", countUp(func(int) error {
		<-awake // the ghost has had its chance
		return nil
	}))
	start(t, w)
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobResumed })
	p.signal(t, syscall.SIGCONT)
	if line := p.awaitLine(t, "checkpoint:"); !strings.Contains(line, engine.ErrSuperseded.Error()) && !strings.Contains(line, worker.ErrSuperseded.Error()) {
		t.Errorf("the ghost heard %q", line)
	}
	close(awake)

	all := history(t, e, job, nil)
	stalled := false
	for _, r := range all {
		if r.Type == engine.JobStalled {
			stalled = true
			continue
		}
		if stalled && (r.Job.Attempt != 2 || (r.Job.Stage != nil && r.Job.Stage.Name == "ghost") || r.Log != nil) {
			t.Errorf("a record of the old attempt after job.stalled: %s %+v", r.Type, r.Job)
		}
	}
	if end := last(all); !stalled || string(end.Result) != fmt.Sprint(tally{500}.sum()) {
		t.Errorf("stalled: %t, result %s, want %d", stalled, end.Result, tally{500}.sum())
	}
}

func inspect(e *engine.Engine) *asynq.Inspector { return asynq.NewInspectorFromRedisClient(e.Redis()) }

// lose starts an attempt whose worker is never heard of again.
func lose(t *testing.T, e *engine.Engine, job engine.JobID, attempt int) {
	t.Helper()
	eventually(t, "the attempt to wait", func() bool {
		a, err := e.Current(soon(t), job)
		return err == nil && a.Waiting && a.Attempt == attempt
	})
	acks, err := e.Commit(soon(t), engine.Report{
		Type: engine.JobStarted, Job: job, Fence: engine.Fence{Attempt: attempt, Token: engine.NewToken(), Seq: 1},
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
	o.Queues = []worker.Queue{{Name: "elsewhere"}}
	start(t, build(t, o))
	job := enqueue(t, e, "export")
	for attempt := 1; attempt <= 3; attempt++ {
		lose(t, e, job, attempt)
	}
	all := history(t, e, job, nil)
	end := last(all)
	if end.State != engine.Failed || end.Error.Code != "worker_lost" || !strings.Contains(end.Error.Message, "3 times") {
		t.Errorf("ended as %s with %+v", end.State, end.Error)
	}
	if n := count(all, engine.JobStalled); n != 2 {
		t.Errorf("stalled %d times, want 2:\n%s", n, tell(all))
	}
}

// pair starts two workers with short leases and n jobs that run until they are
// released.
func pair(t *testing.T, e *engine.Engine, n int) (jobs []engine.JobID, release func()) {
	t.Helper()
	free := make(chan struct{})
	for range 2 {
		o := brief(e)
		// Sweeps are much more frequent than beats: whoever took old readings for
		// silence would claim before the first beat after an outage.
		o.Concurrency, o.HeartbeatInterval, o.Lease = n/2, 500*time.Millisecond, 1500*time.Millisecond
		w := build(t, o)
		worker.Handle(w, "hold", func(ctx context.Context, run *worker.Run, _ []byte) error {
			for i := int64(0); ; i++ {
				run.Progress(i, 1000)
				select {
				case <-free:
					return run.Checkpoint(i)
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
		start(t, w)
	}
	for range n {
		jobs = append(jobs, enqueue(t, e, "hold"))
	}
	for _, job := range jobs {
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobProgress })
	}
	return jobs, func() { close(free) }
}

func TestRedisComesBackAndNobodyAliveIsRescued(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(t *testing.T, s *redistest.Redis)
	}{
		{"restart", func(_ *testing.T, s *redistest.Redis) { s.Restart() }},
		{"killed and away for longer than a lease", func(t *testing.T, s *redistest.Redis) {
			s.Kill()
			pause(soon(t), 2*time.Second)
			s.Restart()
		}},
		{"frozen for longer than a lease", func(t *testing.T, s *redistest.Redis) {
			s.Pause()
			pause(soon(t), 2*time.Second)
			s.Resume()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Server(t, redistest.WithAOF())
			e := open(t, s.URL())
			jobs, release := pair(t, e, 20)
			c.harm(t, s)
			// A whole lease and more in which a rescue would have come.
			pause(soon(t), 2*time.Second)
			release()
			for _, job := range jobs {
				all := history(t, e, job, nil)
				if end := last(all); end.State != engine.Succeeded || end.Attempt != 1 || count(all, engine.JobStalled) != 0 {
					t.Errorf("job %s ended as %s in attempt %d:\n%s", job, end.State, end.Attempt, tell(all))
				}
			}
		})
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
	deadline := time.Now().Add(50 * time.Millisecond)
	bad, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "elsewhere", Deadline: deadline})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Redis().Del(ctx, e.StreamKey(topic)).Err(), e.Redis().Set(ctx, e.StreamKey(topic), "x", 0).Err()); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(deadline))
	var good engine.JobID // of a later shard
	for i := 0; good < bad.Job[:2]+"A"; i++ {
		made, err := e.Enqueue(ctx, engine.Spec{Topic: engine.Topic(fmt.Sprint("team:", i)), Type: "export", Queue: "elsewhere"})
		if err != nil {
			t.Fatal(err)
		}
		good = made.Job
	}
	forgetDispatch(t, e, good, "elsewhere")
	o := brief(e)
	o.Queues = []worker.Queue{{Name: "elsewhere"}}
	w := build(t, o)
	ran := make(chan engine.JobID, 1000)
	worker.Handle(w, "export", func(_ context.Context, r *worker.Run, _ []byte) error { ran <- r.Job(); return nil })
	start(t, w)
	for {
		select {
		case job := <-ran:
			if job == good {
				return
			}
		case <-ctx.Done():
			t.Fatalf("job %s, whose task was lost, is not handed over while job %s cannot be ended", good, bad.Job)
		}
	}
}
