package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
)

func cancelJob(t *testing.T, e *engine.Engine, job engine.JobID) {
	t.Helper()
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
}

// canceledFor checks that a task's job ended as canceled and that asynq has dropped the
// task.
func canceledFor(t *testing.T, e *engine.Engine, job engine.JobID, info *asynq.TaskInfo) {
	t.Helper()
	if end := last(history(t, e, job, nil)); end.State != engine.Canceled {
		t.Errorf("it ended as %s, %+v", end.State, end.Error)
	}
	eventually(t, "asynq to drop the task", func() bool { return standing(e, info) == "gone" })
}

func TestCancelOfARunningAdoptedJob(t *testing.T) {
	t.Parallel()
	e := real(t)
	a := adopt(t, briefAdopt(e))
	causes := make(chan error, 2)
	runs := make(chan struct{}, 2)
	serve(t, e, briefServer(), handling(a, "export", func(ctx context.Context, _ *asynq.Task) error {
		runs <- struct{}{}
		if len(causes) > 0 {
			return nil // the second task of the name
		}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return errors.New("stopped")
	}))
	info := send(t, e, "export", asynq.TaskID("one"))
	wait(t, "the handler", runs)
	job := jobOf(t, e, info)
	cancelJob(t, e, job)
	canceledFor(t, e, job, info)
	if len(runs) != 0 {
		t.Error("asynq tried the canceled task again")
	}
	if cause := <-causes; !errors.Is(cause, worker.ErrCanceled) {
		t.Errorf("the context ended with %v", cause)
	}
	causes <- nil
	// The name is free for another task, which is not canceled.
	send(t, e, "export", asynq.TaskID("one"))
	wait(t, "the handler of the second task", runs)
	eventually(t, "the second task's job to end", func() bool {
		v, err := e.Job(soon(t), jobOf(t, e, info))
		if err != nil || v.ID == job {
			return false
		}
		j, err := v.Job()
		return err == nil && j.State == engine.Succeeded
	})
}

// A job was canceled and its handler took longer than its grace. The next task of the name
// is another one, and runs.
func TestANewTaskAfterASlowCancelRuns(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := briefAdopt(e)
	o.CancelGrace = 50 * time.Millisecond
	a := adopt(t, o)
	runs, release := make(chan struct{}, 2), make(chan struct{})
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error {
		runs <- struct{}{}
		<-release
		return nil
	}))
	info := send(t, e, "export", asynq.TaskID("one"))
	wait(t, "the handler", runs)
	job := jobOf(t, e, info)
	cancelJob(t, e, job)
	history(t, e, job, nil) // it ends while the handler runs
	close(release)
	eventually(t, "asynq to be done with the task", func() bool { return standing(e, info) == "gone" })
	send(t, e, "export", asynq.TaskID("one"))
	wait(t, "the handler of the second task", runs)
}

// A task was first tried by a server without the middleware, as in a rolling deploy, while
// a job of its name had ended. It is another task, and runs.
func TestANewTaskThatWasTriedWithoutTheMiddlewareRuns(t *testing.T) {
	t.Parallel()
	for _, end := range []error{nil, asynq.SkipRetry, asynq.RevokeTask} {
		t.Run(fmt.Sprint(end), func(t *testing.T) {
			t.Parallel()
			e := real(t)
			a := adopt(t, briefAdopt(e))
			answer, runs := make(chan error, 1), make(chan struct{}, 2)
			answer <- end
			mux := handling(a, "export", func(context.Context, *asynq.Task) error {
				runs <- struct{}{}
				select {
				case err := <-answer:
					return err
				default:
					return nil
				}
			})
			s := serve(t, e, briefServer(), mux)
			info := send(t, e, "export", asynq.TaskID("one"))
			wait(t, "the handler", runs)
			job := jobOf(t, e, info)
			history(t, e, job, nil)
			eventually(t, "asynq to be done with the task", func() bool { return !strings.HasPrefix(standing(e, info), "active") })
			s.Shutdown()
			if err := inspect(e).DeleteTask(info.Queue, info.ID); err != nil && !errors.Is(err, asynq.ErrTaskNotFound) {
				t.Fatal(err)
			}
			send(t, e, "export", asynq.TaskID("one"))
			failOnce(t, e, info)
			if err := inspect(e).RunTask(info.Queue, info.ID); err != nil {
				t.Fatal(err)
			}
			serve(t, e, briefServer(), mux)
			wait(t, "the handler of the second task", runs)
		})
	}
}

func TestCancelOfAnAdoptedJobThatWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		opts []asynq.Option
	}{
		{"pending", nil},
		{"scheduled", []asynq.Option{asynq.ProcessIn(time.Hour)}},
		{"retry", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := real(t)
			info := send(t, e, "export", c.opts...)
			if c.name == "retry" {
				failOnce(t, e, info)
			}
			adopt(t, briefAdopt(e))
			job := jobOf(t, e, info)
			cancelJob(t, e, job)
			canceledFor(t, e, job, info)
		})
	}
}

// failOnce has a server without the middleware try a task, which waits for its retry then.
func failOnce(t *testing.T, e *engine.Engine, info *asynq.TaskInfo) {
	t.Helper()
	config := briefServer()
	config.RetryDelayFunc = func(int, error, *asynq.Task) time.Duration { return time.Hour }
	s := serve(t, e, config, handling(nil, "export", fails))
	eventually(t, "the task to fail", func() bool { return strings.HasPrefix(standing(e, info), "retry") })
	s.Shutdown()
}

// handOut leaves a pending task where a dequeue does, and putBack is what asynq's recovery
// comes to.
func handOut(t *testing.T, e *engine.Engine, info *asynq.TaskInfo) {
	moveTask(t, e, info, "pending", "active")
}

func putBack(t *testing.T, e *engine.Engine, info *asynq.TaskInfo) {
	moveTask(t, e, info, "active", "pending")
}

func moveTask(t *testing.T, e *engine.Engine, info *asynq.TaskInfo, from, to string) {
	t.Helper()
	key := "asynq:{" + info.Queue + "}:"
	err := errors.Join(
		e.Redis().RPopLPush(soon(t), key+from, key+to).Err(),
		e.Redis().HSet(soon(t), key+"t:"+info.ID, "state", to).Err(),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// A task that asynq has just handed out cannot be deleted. It comes, and is revoked.
func TestATaskOfACanceledJobIsRevoked(t *testing.T) {
	t.Parallel()
	e := real(t)
	info := send(t, e, "export")
	a := adopt(t, briefAdopt(e))
	job := jobOf(t, e, info)
	handOut(t, e, info)
	cancelJob(t, e, job)
	if end := last(history(t, e, job, nil)); end.State != engine.Canceled {
		t.Errorf("it ended as %s", end.State)
	}
	putBack(t, e, info)
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error {
		t.Error("it ran")
		return nil
	}))
	eventually(t, "asynq to drop the task", func() bool { return standing(e, info) == "gone" })
	if again := jobOf(t, e, info); again != job {
		t.Errorf("the task has another job, %s", again)
	}
}

func TestCancelOfAnAdoptedJobWhoseHandlerDoesNotListen(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := briefAdopt(e)
	o.CancelGrace = 50 * time.Millisecond
	a := adopt(t, o)
	started, release := make(chan struct{}), make(chan struct{})
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error {
		close(started)
		<-release
		return errors.New("at last")
	}))
	info := send(t, e, "export")
	wait(t, "the handler", started)
	job := jobOf(t, e, info)
	cancelJob(t, e, job)
	if end := last(history(t, e, job, nil)); end.State != engine.Canceled {
		t.Errorf("it ended as %s", end.State)
	}
	close(release)
	eventually(t, "asynq to drop the task", func() bool { return standing(e, info) == "gone" })
}

func TestPauseOfAnAdoptedJobIsRefused(t *testing.T) {
	t.Parallel()
	e := real(t)
	info := send(t, e, "export")
	adopt(t, briefAdopt(e))
	if err := e.Pause(soon(t), jobOf(t, e, info)); !errors.Is(err, engine.ErrState) || !strings.Contains(err.Error(), "asynq") {
		t.Errorf("Pause says %v", err)
	}
}

// untilTold is a handler that checkpoints and returns when its context ends, and the second time
// says where it continues from.
func untilTold(started chan<- struct{}, resumed chan<- int) func(context.Context, *asynq.Task) error {
	return func(ctx context.Context, _ *asynq.Task) error {
		run, at := worker.RunFrom(ctx), 0
		found, err := run.Resume(&at)
		if err != nil {
			return err
		}
		if found {
			resumed <- at
			return nil
		}
		started <- struct{}{}
		<-ctx.Done()
		return errors.Join(run.Checkpoint(7), context.Cause(ctx))
	}
}

func TestCloseHandsTasksBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		opts  []asynq.Option
		hooks bool
		asynq string // after Close, and after Shutdown
	}{
		{"with asynq's hooks", nil, true, "retry, 0 retries"},
		{"without", nil, false, "retry, 1 retries"},
		{"on the last try", []asynq.Option{asynq.MaxRetry(0)}, false, "pending, 0 retries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := real(t)
			started, resumed := make(chan struct{}, 1), make(chan int, 1)
			a := adopt(t, briefAdopt(e))
			config := briefServer()
			config.ShutdownTimeout = 500 * time.Millisecond
			config.RetryDelayFunc = func(int, error, *asynq.Task) time.Duration { return 2 * time.Second }
			if c.hooks {
				config.IsFailure, config.RetryDelayFunc = a.IsFailure, a.RetryDelay
			}
			s := serve(t, e, config, handling(a, "export", untilTold(started, resumed)))
			info := send(t, e, "export", c.opts...)
			wait(t, "the handler", started)
			s.Stop()
			if err := a.Close(soon(t)); err != nil {
				t.Error(err)
			}
			s.Shutdown()
			if got := standing(e, info); !strings.HasPrefix(got, c.asynq) {
				t.Errorf("the task is %s, want %s", got, c.asynq)
			}
			job := jobOf(t, e, info)
			if now, err := runtime.Of(e).Current(soon(t), job); err != nil || now.State != engine.Queued {
				t.Errorf("the job is %s: %v", now.State, err)
			}

			b := adopt(t, briefAdopt(e))
			serve(t, e, briefServer(), handling(b, "export", untilTold(started, resumed)))
			if end := last(history(t, e, job, nil)); end.State != engine.Succeeded || end.Attempt != 2 {
				t.Errorf("it ended as %s in attempt %d, %+v", end.State, end.Attempt, end.Error)
			}
			if at := <-resumed; at != 7 {
				t.Errorf("it went on from %d", at)
			}
		})
	}
}

func TestCloseAbandonsHandlersThatDoNotReturn(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := briefAdopt(e)
	o.DrainGrace = 50 * time.Millisecond
	a, err := worker.Adopt(soon(t), o)
	if err != nil {
		t.Fatal(err)
	}
	started, release := make(chan struct{}), make(chan struct{})
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error {
		close(started)
		<-release
		return nil
	}))
	t.Cleanup(func() { close(release) })
	send(t, e, "export")
	wait(t, "the handler", started)
	for range 2 {
		if err := a.Close(soon(t)); !errors.Is(err, worker.ErrAbandoned) || !strings.Contains(err.Error(), "1 handlers") {
			t.Errorf("Close says %v", err)
		}
	}
}

// Without Close asynq's Shutdown cuts handlers off, and puts their tasks back.
func TestShutdownAlonePutsJobsBack(t *testing.T) {
	t.Parallel()
	e := real(t)
	a := adopt(t, briefAdopt(e))
	config := briefServer()
	config.ShutdownTimeout = 100 * time.Millisecond
	started, resumed := make(chan struct{}, 1), make(chan int, 1)
	s := serve(t, e, config, handling(a, "export", untilTold(started, resumed)))
	info := send(t, e, "export", asynq.MaxRetry(0))
	wait(t, "the handler", started)
	s.Shutdown()
	if got := standing(e, info); !strings.HasPrefix(got, "pending, 0 retries") {
		t.Errorf("the task is %s", got)
	}
	job := jobOf(t, e, info)
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobQueued && r.Job.Attempt == 1 })
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error { return nil }))
	if end := last(history(t, e, job, nil)); end.State != engine.Succeeded || end.Attempt != 2 {
		t.Errorf("it ended as %s in attempt %d", end.State, end.Attempt)
	}
}

func TestAdoptChecksItsOptions(t *testing.T) {
	t.Parallel()
	_, err := worker.Adopt(t.Context(), worker.AdoptOptions{Lease: time.Millisecond, Queues: []string{" "}})
	if !errors.Is(err, engine.ErrInvalid) {
		t.Fatalf("Adopt says %v", err)
	}
	for _, field := range []string{"Engine", "Topic", "Lease", "Queues"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}
