package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

func TestCancel(t *testing.T) {
	backends(t, func(t *testing.T, e *engine.Engine) {
		o := brief(e)
		o.CancelGrace = time.Minute
		w := build(t, o)
		started := make(chan struct{}, 1)
		deaf := make(chan struct{})
		worker.Handle(w, "tidy", func(ctx context.Context, run *worker.Run, _ []byte) error {
			started <- struct{}{}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), worker.ErrCanceled) {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			run.Log("info", "tidied up")
			return run.Checkpoint("for a retry of the job")
		})
		worker.Handle(w, "fails", func(ctx context.Context, _ *worker.Run, _ []byte) error {
			started <- struct{}{}
			<-ctx.Done()
			return fmt.Errorf("interrupted: %w", ctx.Err())
		})
		o.CancelGrace = 200 * time.Millisecond // which ends what does not hear
		short := build(t, o)
		worker.Handle(short, "deaf", func(context.Context, *worker.Run, []byte) error {
			started <- struct{}{}
			<-deaf
			return nil
		})
		queued := enqueue(t, e, "tidy", func(s *engine.Spec) { s.Delay = time.Hour })
		if err := e.Cancel(soon(t), queued); err != nil {
			t.Fatal(err)
		}
		if all := history(t, e, queued, nil); last(all).State != engine.Canceled || last(all).Attempt != 0 {
			t.Errorf("the queued job ended so:\n%s", tell(all))
		}
		canceled := func(jobType string, want engine.State) {
			job := enqueue(t, e, jobType)
			<-started
			if err := e.Cancel(soon(t), job); err != nil {
				t.Fatal(err)
			}
			all := history(t, e, job, nil)
			if last(all).State != want {
				t.Errorf("%s ended so, want %s:\n%s", jobType, want, tell(all))
			}
			if jobType == "tidy" && (count(all, engine.JobLog) != 1 || count(all, engine.JobCheckpoint) != 1) {
				t.Errorf("the handler's last words are missing:\n%s", tell(all))
			}
			awaitNoTask(t, e, job, 1)
		}
		start(t, w)
		canceled("tidy", engine.Succeeded) // its handler says that it is done
		canceled("fails", engine.Canceled)
		stop(t, w)
		start(t, short)
		defer close(deaf)
		canceled("deaf", engine.Canceled)
	})
}

func TestDrainHandsBack(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.ReconcileInterval = 10 * time.Minute // nobody else hands the job over
	one := build(t, o)
	worker.Handle(one, "tally", countUp(nil))
	start(t, one)
	p := tally{Steps: 500}
	job := enqueue(t, e, "tally", func(s *engine.Spec) { s.Payload, s.MaxAttempts = p, 1 })
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint && r.Job.Percent >= 10 })
	stop(t, one)
	two := build(t, o)
	worker.Handle(two, "tally", countUp(nil))
	start(t, two)
	all := history(t, e, job, nil)
	if end := last(all); string(end.Result) != fmt.Sprint(p.sum()) || end.Attempt != 2 {
		t.Errorf("result %s in attempt %d, want %d in 2", end.Result, end.Attempt, p.sum())
	}
	if count(all, engine.JobQueued) != 2 || count(all, engine.JobStalled) != 0 {
		t.Errorf("not handed back:\n%s", tell(all))
	}
}

// A drain while the start of an attempt is on its way to Redis leaves no job that
// nobody runs.
func TestDrainDuringAStart(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	proxy := redistest.NewProxy(t, s.Addr())
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	slow, direct := openIn(t, proxy.URL(), namespace), openIn(t, s.URL(), namespace)
	w := build(t, brief(slow))
	worker.Handle(w, "export", func(ctx context.Context, _ *worker.Run, _ []byte) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	proxy.Delay(200 * time.Millisecond)
	job := enqueue(t, direct, "export")
	eventually(t, "the attempt to start", func() bool {
		a, err := runtime.Of(direct).Current(soon(t), job)
		return err == nil && a.State == engine.Running
	})
	stop(t, w)
	a, err := runtime.Of(direct).Current(soon(t), job)
	if err != nil || !a.Waiting {
		t.Errorf("the job is left as %s, %v", a.State, err)
	}
}

func TestDrainAbandonsHandlersThatDoNotReturn(t *testing.T) {
	t.Parallel()
	e := real(t)
	var log logbook
	o := brief(e)
	o.DrainGrace, o.Logger = 200*time.Millisecond, log.logger()
	w := build(t, o)
	started, release, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	worker.Handle(w, "deaf", func(_ context.Context, run *worker.Run, _ []byte) error {
		defer close(returned)
		close(started)
		<-release
		// Nothing of this comes through.
		run.Progress(1, 2)
		run.Log("info", "ghost")
		if err := run.Checkpoint("ghost"); !errors.Is(err, worker.ErrDraining) {
			t.Errorf("a checkpoint after the drain: %v", err)
		}
		return nil
	})
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	job := enqueue(t, e, "deaf")
	wait(t, "the handler", started)
	if err := w.Stop(soon(t)); !errors.Is(err, worker.ErrAbandoned) || !strings.Contains(err.Error(), "1 handler") {
		t.Errorf("stop: %v", err)
	}
	if !strings.Contains(log.String(), string(job)) {
		t.Errorf("the log does not name the job:\n%s", log.String())
	}
	close(release)
	wait(t, "the handler's return", returned)
	o.Lease = 250 * time.Millisecond
	two := build(t, o)
	worker.Handle(two, "deaf", func(context.Context, *worker.Run, []byte) error { return nil })
	start(t, two)
	all := history(t, e, job, nil)
	if last(all).State != engine.Succeeded || last(all).Attempt != 2 || count(all, engine.JobStalled) != 1 || count(all, engine.JobLog) != 0 {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

func TestStartAndStopTwice(t *testing.T) {
	t.Parallel()
	e := real(t)
	for round := range 12 {
		w := build(t, brief(e))
		worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
		job := enqueue(t, e, "export")
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				if i%2 == 0 {
					if err := w.Start(soon(t)); err != nil && !errors.Is(err, worker.ErrStopped) {
						t.Errorf("start: %v", err)
					}
					return
				}
				if round%3 == 0 {
					history(t, e, job, nil) // stop in the midst of work
				}
				if err := w.Stop(soon(t)); err != nil {
					t.Errorf("stop: %v", err)
				}
			})
			if round%3 == 0 && i == 0 {
				all.Wait() // it is started for sure
			}
		}
		all.Wait()
		if err := w.Start(soon(t)); !errors.Is(err, worker.ErrStopped) {
			t.Errorf("start after stop: %v", err)
		}
		if round%3 != 0 {
			// Nobody's: the next round's worker, or none, may take it.
			if err := e.Cancel(soon(t), job); err != nil && !errors.Is(err, engine.ErrEnded) {
				t.Error(err)
			}
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	history(t, e, enqueue(t, e, "export"), nil)
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

func TestStartNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	e := open(t, s.URL())
	s.Kill()
	w := build(t, brief(e))
	if err := w.Start(soon(t)); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("start without Redis: %v", err)
	}
	s.Restart()
	start(t, w) // it may be tried again
	if _, err := worker.New(worker.Options{}); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "Engine") {
		t.Errorf("new without an engine: %v", err)
	}
	for field, o := range map[string]worker.Options{
		"Concurrency":           {Concurrency: 10_001},
		"Lease":                 {HeartbeatInterval: 3 * time.Second},
		"SweepInterval":         {SweepInterval: 2 * time.Second},
		"BackoffMax":            {BackoffMin: time.Hour},
		"RescuesPerSecond":      {RescuesPerSecond: -1},
		`name "Up"`:             {Queues: []string{"Up"}},
		`name "a-rescue"`:       {Queues: []string{"a-rescue"}},
		"a is named twice":      {Queues: []string{"a", "a"}},
		`"b" is none of Queues`: {QueueWeights: map[string]int{"b": 2}},
		"weight of a 1001:":     {Queues: []string{"a"}, QueueWeights: map[string]int{"a": 1001}},
	} {
		if err := o.Validate(); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := (worker.Options{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestHandlePanicsOnMistakes(t *testing.T) {
	t.Parallel()
	w := build(t, brief(real(t)))
	h := func(context.Context, *worker.Run, []byte) error { return nil }
	worker.Handle(w, "export", h)
	panics := func(what, jobType string) {
		t.Helper()
		defer func() {
			if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), jobType) {
				t.Errorf("%s: recovered %v", what, v)
			}
		}()
		worker.Handle(w, jobType, h)
	}
	panics("a duplicate", "export")
	panics("a malformed type", "Ex port")
	start(t, w)
	panics("after Start", "import")
}

// A handler that has returned while Redis is silent keeps Stop no longer than the rest.
func TestStopEndsInTimeWhileRedisIsSilent(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	e := open(t, s.URL()+"?read_timeout=200ms&max_retries=1")
	o := brief(e)
	o.DrainGrace = 200 * time.Millisecond
	w := build(t, o)
	begun, goOn := make(chan struct{}), make(chan struct{})
	worker.Handle(w, "job", func(context.Context, *worker.Run, []byte) error {
		close(begun)
		<-goOn
		return nil
	})
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	enqueue(t, e, "job")
	<-begun
	s.Pause()
	t.Cleanup(s.Resume)
	close(goOn)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // asynq would take a minute
	defer cancel()
	if err := w.Stop(ctx); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop with a DrainGrace of %s: %v", o.DrainGrace, err)
	}
}

// What a large worker leaves behind is not to wait for the other's few reserved slots
// while most of its slots are free.
func TestHandedBackJobsTakeFreeSlotsToo(t *testing.T) {
	t.Parallel()
	e := real(t)
	const jobs = 6
	var began [2]chan struct{}
	build := func(i int) *worker.Worker {
		o := brief(e)
		o.Concurrency, o.RescueSlots = jobs, 1
		w := build(t, o)
		began[i] = make(chan struct{}, jobs)
		worker.Handle(w, "hold", func(ctx context.Context, _ *worker.Run, _ []byte) error {
			began[i] <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		start(t, w)
		return w
	}
	one := build(0)
	for range jobs {
		enqueue(t, e, "hold")
	}
	for range jobs {
		wait(t, "a job", began[0])
	}
	build(1)
	stop(t, one)
	for range jobs {
		wait(t, "a job that was handed back", began[1])
	}
}

// withheld keeps the answer to the first call that carries a report of a type, which Redis
// has given, until it is released.
type withheld struct {
	report            string
	once              sync.Once
	answered, release chan struct{}
}

func (w *withheld) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (w *withheld) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (w *withheld) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, c := range cmds {
			if strings.HasPrefix(c.Name(), "eval") && slices.Contains(c.Args(), any(w.report)) && c.Err() == nil {
				w.once.Do(func() {
					close(w.answered)
					<-w.release
				})
			}
		}
		return err
	}
}

// An attempt whose start is committed while the worker begins to drain is handed back
// like any other.
func TestDrainHandsBackWhatIsBeingStarted(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	e := open(t, s.URL())
	far := direct(t, s, e)
	held := &withheld{report: string(engine.JobStarted), answered: make(chan struct{}), release: make(chan struct{})}
	far.Redis().AddHook(held)
	o := brief(far)
	patientLeases.set(&o)
	one := build(t, o)
	handler := func(ctx context.Context, run *worker.Run, _ []byte) error {
		if run.Attempt() == 1 {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return run.Result(run.Attempt())
	}
	worker.Handle(one, "job", handler)
	start(t, one)
	release := sync.OnceFunc(func() { close(held.release) })
	defer release()
	job := enqueue(t, e, "job")
	wait(t, "the start to be committed", held.answered)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop(t, one)
	}()
	eventually(t, "the drain to begin", func() bool { return errors.Is(one.Start(soon(t)), worker.ErrStopped) })
	release()
	wait(t, "the end of the drain", stopped)
	o.Engine = e
	two := build(t, o)
	worker.Handle(two, "job", handler)
	start(t, two)
	all := history(t, e, job, nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 2 || count(all, engine.JobStalled) != 0 {
		t.Errorf("not handed back:\n%s", tell(all))
	}
}

// Who does not wait for Stop may close the engine at once, whatever Redis does.
func TestCloseOfTheEngineAfterAStopThatDidNotWait(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Server(t).Addr())
	e := open(t, proxy.URL())
	w := build(t, brief(e))
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	// asynq has subscribed, if it does.
	awaitParked(t, e, enqueue(t, e, "unknown"), "unknown")
	proxy.Stall()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Stop(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("stop, and not wait: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Stop(soon(t)); err != nil && !errors.Is(err, worker.ErrAbandoned) {
		t.Errorf("the worker's end: %v", err)
	}
}
