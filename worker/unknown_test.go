package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
)

func nothing(context.Context, *worker.Run, []byte) error { return nil }

// knowing starts a worker with a handler of a type.
func knowing(t *testing.T, e *engine.Engine, jobType string, h func(context.Context, *worker.Run, []byte) error) *worker.Worker {
	t.Helper()
	w := build(t, brief(e))
	worker.Handle(w, jobType, h)
	start(t, w)
	return w
}

// awaitParked waits until a job says that it waits for a worker that knows its type.
func awaitParked(t *testing.T, e *engine.Engine, job engine.JobID, jobType string) engine.Record {
	t.Helper()
	return awaitRecord(t, e, job, func(r engine.Record) bool {
		return r.Job.State == engine.Queued && r.Job.Message == fmt.Sprintf("waiting for a worker that knows %q", jobType)
	})
}

// taskIn tells what asynq has of a parked job's first attempt in its type queue.
func taskIn(t *testing.T, e *engine.Engine, job engine.JobID) runtime.TaskState {
	t.Helper()
	a, err := runtime.Of(e).Current(soon(t), job)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := runtime.Of(e).Tasks(soon(t), []runtime.Attempt{a})
	if err != nil {
		t.Fatal(err)
	}
	if tasks[0].Own == runtime.TaskWaits || tasks[0].Rescue == runtime.TaskWaits {
		t.Fatalf("job %s has the tasks %+v: workers that do not know its type take it", job, tasks[0])
	}
	return tasks[0].Typed
}

func TestUnknownTypeWaitsForAWorkerThatKnowsIt(t *testing.T) {
	t.Parallel()
	e := real(t)
	for range 2 {
		knowing(t, e, "import", nothing)
	}
	jobs := make([]engine.JobID, 50)
	for i := range jobs {
		jobs[i] = enqueue(t, e, "export", func(s *engine.Spec) { s.MaxAttempts = 1 })
	}
	for _, job := range jobs {
		awaitParked(t, e, job, "export")
	}
	done := enqueue(t, e, "import")
	history(t, e, done, nil) // workers go on
	for _, job := range jobs {
		eventually(t, "asynq to have no task of it", func() bool {
			a, err := runtime.Of(e).Current(soon(t), job)
			if err != nil {
				t.Fatal(err)
			}
			tasks, err := runtime.Of(e).Tasks(soon(t), []runtime.Attempt{a})
			return err == nil && tasks[0] == runtime.Tasks{Queue: true}
		})
	}
	knowing(t, e, "export", nothing)
	for _, job := range jobs {
		all := history(t, e, job, nil)
		want := []engine.RecordType{engine.JobQueued, engine.JobQueued, engine.JobStarted, engine.JobSucceeded}
		if got := milestones(all); !slices.Equal(got, want) || last(all).Attempt != 1 || last(all).Message != "" {
			t.Errorf("job %s:\n%s", job, tell(all))
		}
	}
}

// Workers that do not know a type hand its jobs on to one that does, once each, also where
// that one is busy and they are not.
func TestUnknownTypeReachesTheOneWorkerThatKnowsIt(t *testing.T) {
	t.Parallel()
	e := real(t)
	for range 2 {
		knowing(t, e, "import", nothing)
	}
	o := brief(e)
	o.Concurrency = 1
	one := build(t, o)
	worker.Handle(one, "export", nothing)
	start(t, one)
	jobs := make([]engine.JobID, 100)
	for i := range jobs {
		jobs[i] = enqueue(t, e, "export", func(s *engine.Spec) { s.MaxAttempts = 1 })
	}
	for _, job := range jobs {
		all := history(t, e, job, nil)
		if last(all).State != engine.Succeeded || last(all).Attempt != 1 || count(all, engine.JobQueued) > 2 {
			t.Errorf("job %s:\n%s", job, tell(all))
		}
	}
}

func TestUnknownTypeFailsAfterItsBound(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.UnknownTypeWait = 300 * time.Millisecond
	w := build(t, o)
	worker.Handle(w, "import", nothing)
	start(t, w)

	// A worker that knows the type is there, and busy.
	busy, end := make(chan struct{}), make(chan struct{})
	o = brief(e)
	o.Concurrency, o.RescueSlots = 1, 1
	one := build(t, o)
	worker.Handle(one, "report", func(ctx context.Context, _ *worker.Run, first []byte) error {
		if string(first) != "first" {
			return nil
		}
		close(busy)
		select {
		case <-end:
		case <-ctx.Done():
		}
		return nil
	})
	start(t, one)
	eventually(t, "asynq to say what the worker takes", func() bool {
		live, err := runtime.Of(e).LiveQueues(t.Context())
		return err == nil && live[e.QueueName(runtime.TypeQueue(engine.DefaultQueue, "report"))]
	})
	enqueue(t, e, "report", func(s *engine.Spec) { s.Payload = []byte("first") })
	wait(t, "the first report", busy)
	waiting := enqueue(t, e, "report")
	awaitParked(t, e, waiting, "report")

	unknown := enqueue(t, e, "export")
	all := history(t, e, unknown, nil)
	ended := last(all)
	if ended.State != engine.Failed || ended.Error.Code != "no_handler" || ended.Attempt != 0 || count(all, engine.JobQueued) != 2 ||
		!strings.Contains(ended.Error.Message, `"export"`) || !strings.Contains(ended.Error.Message, "300ms") {
		t.Errorf("it ended as %+v:\n%s", ended.Error, tell(all))
	}
	if j, err := e.Job(soon(t), waiting); err != nil || strings.Contains(string(j.JSON), "no_handler") {
		t.Errorf("the job of a type that a busy worker knows: %s, %v", j.JSON, err)
	}
	close(end)
	if j := last(history(t, e, waiting, nil)); j.State != engine.Succeeded {
		t.Errorf("it ended as %s with %+v", j.State, j.Error)
	}
}

// While a job is parked it can be paused, resumed, canceled and late, with a task in its type
// queue and without one.
func TestParkedJobsAreControlled(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprintf("known %t", known), func(t *testing.T) {
			t.Parallel()
			e := real(t)
			if known {
				stop(t, knowing(t, e, "export", nothing))
			}
			knowing(t, e, "import", nothing)
			parked := func(change ...func(*engine.Spec)) engine.JobID {
				job := enqueue(t, e, "export", change...)
				awaitParked(t, e, job, "export")
				eventually(t, "its task to be where it belongs", func() bool { return (taskIn(t, e, job) == runtime.TaskWaits) == known })
				return job
			}
			canceled, paused := parked(), parked()
			late := parked(func(s *engine.Spec) { s.Deadline = time.Now().Add(10 * time.Second) })
			if err := e.Cancel(soon(t), canceled); err != nil {
				t.Fatal(err)
			}
			if j := last(history(t, e, canceled, nil)); j.State != engine.Canceled || j.Attempt != 0 {
				t.Errorf("ended as %s in attempt %d", j.State, j.Attempt)
			}
			if err := e.Pause(soon(t), paused); err != nil {
				t.Fatal(err)
			}
			awaitRecord(t, e, paused, func(r engine.Record) bool { return r.Job.State == engine.Paused })
			if err := e.Resume(soon(t), paused); err != nil {
				t.Fatal(err)
			}
			seen := 0
			awaitRecord(t, e, paused, func(r engine.Record) bool {
				if strings.HasPrefix(r.Job.Message, "waiting") && r.Job.State == engine.Queued {
					seen++
				}
				return seen == 3 // parked, resumed, parked
			})
			if j := last(history(t, e, late, nil)); j.State != engine.Failed || j.Error.Code != "deadline" {
				t.Errorf("ended as %s with %+v", j.State, j.Error)
			}
			inspect := asynq.NewInspectorFromRedisClient(e.Redis())
			eventually(t, "only the resumed job to have a task, and no queue to be made for a type that nobody knows", func() bool {
				left, err := inspect.ListPendingTasks(e.QueueName(runtime.TypeQueue(engine.DefaultQueue, "export")))
				if !known {
					return errors.Is(err, asynq.ErrQueueNotFound)
				}
				return err == nil && len(left) == 1
			})
			knowing(t, e, "export", nothing)
			if j := last(history(t, e, paused, nil)); j.State != engine.Succeeded || j.Attempt != 1 {
				t.Errorf("ended as %s in attempt %d", j.State, j.Attempt)
			}
		})
	}
}

// A parked attempt that fails, drains or loses its task goes on as any other.
func TestParkedJobGoesOnAfterItsStart(t *testing.T) {
	t.Parallel()
	e := real(t)
	started := make(chan struct{})
	first := knowing(t, e, "export", func(ctx context.Context, run *worker.Run, _ []byte) error {
		close(started)
		<-ctx.Done()
		return run.Checkpoint("half")
	})
	stop(t, first) // it is known to have been there
	knowing(t, e, "import", nothing)
	job := enqueue(t, e, "export")
	awaitParked(t, e, job, "export")
	eventually(t, "its task to be in the type queue", func() bool { return taskIn(t, e, job) == runtime.TaskWaits })

	// An operator deletes the task.
	inspect := asynq.NewInspectorFromRedisClient(e.Redis())
	queue := e.QueueName(runtime.TypeQueue(engine.DefaultQueue, "export"))
	if err := inspect.DeleteTask(queue, runtime.TaskID(job, 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be handed over again", func() bool { return taskIn(t, e, job) == runtime.TaskWaits })

	second := knowing(t, e, "export", func(ctx context.Context, run *worker.Run, _ []byte) error {
		close(started)
		<-ctx.Done()
		if err := run.Checkpoint("half"); err != nil {
			return err
		}
		return context.Cause(ctx)
	})
	wait(t, "its start", started)
	stop(t, second)
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobQueued && r.Job.Attempt == 1 })
	awaitRecord(t, e, job, func(r engine.Record) bool {
		return strings.HasPrefix(r.Job.Message, "waiting") && r.Job.Attempt == 1
	})
	knowing(t, e, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		var state string
		if found, err := run.Resume(&state); err != nil || !found || state != "half" {
			return fmt.Errorf("resumed %t from %q: %w", found, state, err)
		}
		return nil
	})
	all := history(t, e, job, nil)
	if j := last(all); j.State != engine.Succeeded || j.Attempt != 2 || count(all, engine.JobStalled)+count(all, engine.JobRetrying) != 0 {
		t.Errorf("it ended as %s:\n%s", j.State, tell(all))
	}
}
