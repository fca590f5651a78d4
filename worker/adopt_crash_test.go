package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

const adoptedSteps = 500

// adoptedTally is tally's handler for an asynq task.
func adoptedTally(each func(step int) error) func(context.Context, *asynq.Task) error {
	count := countUp(each)
	return func(ctx context.Context, _ *asynq.Task) error {
		return count(ctx, worker.RunFrom(ctx), tally{Steps: adoptedSteps})
	}
}

// serveApplication is an asynq application process. Its adopter rescues nobody.
func serveApplication(ctx context.Context, e *engine.Engine) error {
	o := briefAdopt(e)
	o.Lease = time.Minute
	a, err := worker.Adopt(ctx, o)
	if err != nil {
		return err
	}
	count := adoptedTally(nil)
	s := asynq.NewServerFromRedisClient(e.Redis(), briefServer())
	err = s.Start(handling(a, "tally", func(ctx context.Context, task *asynq.Task) error {
		err := count(ctx, task)
		if errors.Is(context.Cause(ctx), worker.ErrSuperseded) {
			// Whatever it tries now is a ghost's.
			run := worker.RunFrom(ctx)
			run.Progress(1, 1)
			run.Log("info", "ghost")
			run.Stage("ghost")
			fmt.Println(saysGhost, run.Checkpoint(tallied{}))
		}
		return err
	}))
	if err != nil {
		return err
	}
	fmt.Println(saysReady)
	<-ctx.Done()
	s.Stop()
	err = a.Close(context.Background())
	s.Shutdown()
	return err
}

// spawnApplication starts an asynq application in a process of its own, and gives it a
// task that has come some way when this returns.
func spawnApplication(t *testing.T, opts ...asynq.Option) (*engine.Engine, *process, *asynq.TaskInfo, engine.JobID) {
	t.Helper()
	url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
	e := openIn(t, url, namespace)
	p, err := spawn(soon(t), t, role{URL: url, Namespace: namespace, App: true})
	if err != nil {
		t.Fatal(err)
	}
	info := send(t, e, "tally", opts...)
	job := jobOf(t, e, info)
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint && r.Job.Percent >= 20 })
	return e, p, info, job
}

// leaseEnded leaves a task as a crash does after the minute that asynq gives it.
func leaseEnded(t *testing.T, e *engine.Engine, info *asynq.TaskInfo) {
	t.Helper()
	expired := time.Now().Add(-time.Hour).Unix()
	if err := e.Redis().ZAdd(soon(t), "asynq:{"+info.Queue+"}:lease", zmember(info.ID, expired)).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestKilledApplicationsJobGoesOnWithAsynqsRetry(t *testing.T) {
	t.Parallel()
	e, p, info, job := spawnApplication(t)
	o := briefAdopt(e)
	o.Lease = 250 * time.Millisecond
	a := adopt(t, o)
	p.signal(t, syscall.SIGKILL)
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobStalled })
	if got := standing(e, info); !strings.HasPrefix(got, "active") {
		t.Errorf("the task is %s: asynq's recovery is asynq's", got)
	}

	leaseEnded(t, e, info)
	var first atomic.Int64
	first.Store(-1)
	serve(t, e, briefServer(), handling(a, "tally", adoptedTally(func(step int) error {
		first.CompareAndSwap(-1, int64(step))
		return nil
	})))
	all := history(t, e, job, nil)
	end := last(all)
	if end.State != engine.Succeeded || end.Attempt != 2 || string(end.Result) != fmt.Sprint(tally{Steps: adoptedSteps}.sum()) {
		t.Errorf("it ended as %s in attempt %d with %s", end.State, end.Attempt, end.Result)
	}
	if first.Load() < adoptedSteps/5 { // it was killed beyond 20 %
		t.Errorf("the second attempt began at step %d", first.Load())
	}
	if count(all, engine.JobStalled) != 1 || count(all, engine.JobRetrying) != 0 {
		t.Errorf("it went\n%s", tell(all))
	}
}

// asynq archives a task whose last try crashed, and nobody's handler is called again.
func TestKilledOnTheLastTryHasAnEnd(t *testing.T) {
	t.Parallel()
	e, p, info, job := spawnApplication(t, asynq.MaxRetry(0))
	o := briefAdopt(e)
	o.Lease = 250 * time.Millisecond
	a := adopt(t, o)
	p.signal(t, syscall.SIGKILL)
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobStalled })
	leaseEnded(t, e, info)
	serve(t, e, briefServer(), handling(a, "tally", adoptedTally(nil)))
	end := last(history(t, e, job, nil))
	if end.State != engine.Failed || end.Error.Code != "task_archived" || !strings.Contains(end.Error.Message, asynq.ErrLeaseExpired.Error()) {
		t.Errorf("it ended as %s, %+v", end.State, end.Error)
	}
}

// asynq may hand a task out again before anybody has noticed that its process is gone.
func TestATryTakesOverFromTheOneBefore(t *testing.T) {
	t.Parallel()
	e, p, info, job := spawnApplication(t)
	p.signal(t, syscall.SIGKILL)
	leaseEnded(t, e, info)
	o := briefAdopt(e)
	o.Lease = time.Minute
	o.HeartbeatInterval = 10 * time.Second
	a := adopt(t, o)
	serve(t, e, briefServer(), handling(a, "tally", adoptedTally(nil)))
	all := history(t, e, job, nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 2 || count(all, engine.JobStalled) != 1 {
		t.Errorf("it went\n%s", tell(all))
	}
}

// A process that was frozen for longer than a lease, and for shorter than asynq notices,
// still has its task. Nothing of the old attempt is written, and another one follows there,
// from the checkpoint and without a retry.
func TestFrozenApplicationGoesOnWithAnotherAttempt(t *testing.T) {
	t.Parallel()
	e, p, info, job := spawnApplication(t)
	o := briefAdopt(e)
	o.Lease = 250 * time.Millisecond
	a := adopt(t, o)
	p.signal(t, syscall.SIGSTOP)
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobStalled })
	if err := a.Close(soon(t)); err != nil { // or it would take the child's next hiccup for silence
		t.Error(err)
	}
	p.signal(t, syscall.SIGCONT)
	heard, err := p.say(soon(t), saysGhost, 1)
	if err != nil || !strings.Contains(heard[0], runtime.ErrSuperseded.Error()) && !strings.Contains(heard[0], worker.ErrSuperseded.Error()) {
		t.Errorf("the ghost heard %q: %v", heard, err)
	}
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
	if end := last(all); !stalled || end.State != engine.Succeeded || string(end.Result) != fmt.Sprint(tally{Steps: adoptedSteps}.sum()) {
		t.Errorf("stalled: %t, ended as %s with %s", stalled, end.State, end.Result)
	}
	eventually(t, "asynq to be done with the task", func() bool { return standing(e, info) == "gone" })
}

// A handler that had finished when it heard that it was superseded has done the job.
func TestSupersededHandlerThatFinishedHasDoneTheJob(t *testing.T) {
	t.Parallel()
	e := real(t)
	a := adopt(t, briefAdopt(e))
	started, release := make(chan struct{}), make(chan struct{})
	var runs atomic.Int64
	serve(t, e, briefServer(), handling(a, "export", func(ctx context.Context, _ *asynq.Task) error {
		runs.Add(1)
		close(started)
		<-release
		return worker.RunFrom(ctx).Result("whole")
	}))
	info := send(t, e, "export")
	wait(t, "the handler", started)
	job := jobOf(t, e, info)
	now, err := runtime.Of(e).Current(soon(t), job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Of(e).TakeOver(soon(t), now); err != nil { // as a sweep that saw no heartbeat
		t.Fatal(err)
	}
	close(release)
	if end := last(history(t, e, job, nil)); end.State != engine.Succeeded || end.Attempt != 2 || string(end.Result) != `"whole"` || runs.Load() != 1 {
		t.Errorf("%d runs, and the job is %+v", runs.Load(), end)
	}
}

// forgetful loses the answer to the first call that carries a report of a type.
type forgetful struct {
	report string
	once   sync.Once
	lost   chan struct{}
}

func (f *forgetful) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (f *forgetful) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (f *forgetful) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, c := range cmds {
			if strings.HasPrefix(c.Name(), "eval") && slices.Contains(c.Args(), any(f.report)) && c.Err() == nil {
				f.once.Do(func() {
					c.SetErr(io.EOF)
					close(f.lost)
				})
			}
		}
		return err
	}
}

// The answer to the start of an attempt may be lost. Then it is sent again, and nobody is
// taken for lost.
func TestLostReplyDoesNotStallAnAdoptedJob(t *testing.T) {
	t.Parallel()
	e := real(t)
	f := &forgetful{report: string(engine.JobStarted), lost: make(chan struct{})}
	a := adopt(t, briefAdopt(e))
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error { return nil }))
	warm := send(t, e, "export") // the script is known to Redis then
	history(t, e, jobOf(t, e, warm), nil)
	e.Redis().AddHook(f)
	info := send(t, e, "export")
	wait(t, "an answer to be lost", f.lost)
	all := history(t, e, jobOf(t, e, info), nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 1 || len(milestones(all)) != 3 {
		t.Errorf("it went\n%s", tell(all))
	}
}

// Where asynq has handed a task out again, and it is done there, the one that had it before
// does not begin it once more.
func TestATryThatWasOvertakenIsOver(t *testing.T) {
	t.Parallel()
	e := real(t)
	var runs atomic.Int64
	started, release := make(chan struct{}), make(chan struct{})
	handler := func(ctx context.Context, _ *asynq.Task) error {
		if runs.Add(1) > 1 {
			return nil
		}
		close(started)
		<-release
		return errors.Join(ctx.Err(), errors.New("no luck"))
	}
	returned := make(chan error, 1)
	mux := asynq.NewServeMux()
	mux.Use(func(next asynq.Handler) asynq.Handler {
		return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
			err := next.ProcessTask(ctx, task)
			returned <- err
			return err
		})
	})
	mux.Use(adopt(t, briefAdopt(e)).Middleware)
	mux.HandleFunc("export", handler)
	busy := briefServer()
	busy.Concurrency = 1
	serve(t, e, busy, mux)
	info := send(t, e, "export")
	wait(t, "the handler", started)
	leaseEnded(t, e, info)
	serve(t, e, briefServer(), handling(adopt(t, briefAdopt(e)), "export", handler))
	job := jobOf(t, e, info)
	if end := last(history(t, e, job, nil)); end.State != engine.Succeeded || end.Attempt != 2 {
		t.Errorf("it ended as %+v", end)
	}
	close(release)
	select {
	case err := <-returned:
		if !errors.Is(err, worker.ErrSuperseded) {
			t.Errorf("the first call returns %v", err)
		}
	case <-soon(t).Done():
		t.Fatal("the first call does not return")
	}
	if again := jobOf(t, e, info); again != job || runs.Load() != 2 {
		t.Errorf("%d runs, and the task's job is %s, was %s", runs.Load(), again, job)
	}
}
