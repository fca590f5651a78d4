package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/worker"
)

// jobKey is the key of a job's hash.
func jobKey(e *engine.Engine, job engine.JobID) string {
	namespace, _, _ := strings.Cut(e.QueueName("q"), ":")
	return fmt.Sprintf("%s:{%s}:j:%s", namespace, job[:2], job)
}

// asynqKey is one of asynq's own.
func asynqKey(e *engine.Engine, queue, rest string) string {
	return "asynq:{" + e.QueueName(queue) + "}:" + rest
}

// awaitDispatch waits until it is kept that asynq was given a job's attempt.
func awaitDispatch(t testing.TB, e *engine.Engine, job engine.JobID) {
	t.Helper()
	eventually(t, "the attempt to be dispatched", func() bool {
		a, err := runtime.Of(e).Current(soon(t), job)
		return err == nil && a.Dispatched
	})
}

// forgetDispatch leaves a job as it is when its maker dies on the way to asynq.
func forgetDispatch(t testing.TB, e *engine.Engine, job engine.JobID, queue string) {
	t.Helper()
	awaitDispatch(t, e, job)
	err := errors.Join(
		inspect(e).DeleteTask(e.QueueName(queue), runtime.TaskID(job, 1)),
		e.Redis().HDel(soon(t), jobKey(e, job), "dp").Err(),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// hold puts a job where a dequeue whose reply was lost leaves it.
func hold(t testing.TB, e *engine.Engine, job engine.JobID) {
	t.Helper()
	c, ctx := e.Redis(), soon(t)
	err := errors.Join(
		c.RPopLPush(ctx, asynqKey(e, engine.DefaultQueue, "pending"), asynqKey(e, engine.DefaultQueue, "active")).Err(),
		c.HSet(ctx, asynqKey(e, engine.DefaultQueue, "t:"+runtime.TaskID(job, 1)), "state", "active").Err(),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever becomes of a task behind Tidemark's back, its job has an end or goes on, and
// says why.
func TestReconciler(t *testing.T) {
	t.Parallel()
	delayed := func(s *engine.Spec) { s.Delay = time.Hour }
	type tamper = func(t *testing.T, e *engine.Engine, job engine.JobID)
	remove := func(t *testing.T, e *engine.Engine, job engine.JobID) {
		if err := inspect(e).DeleteTask(e.QueueName(engine.DefaultQueue), runtime.TaskID(job, 1)); err != nil {
			t.Fatal(err)
		}
	}
	archive := func(t *testing.T, e *engine.Engine, job engine.JobID) {
		if err := inspect(e).ArchiveTask(e.QueueName(engine.DefaultQueue), runtime.TaskID(job, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		spec   func(*engine.Spec)
		tamper tamper
		end    engine.State
		code   string // of the end, or on the way
	}{
		{"its maker died on the way to asynq", nil, func(t *testing.T, e *engine.Engine, job engine.JobID) {
			forgetDispatch(t, e, job, engine.DefaultQueue)
		}, engine.Succeeded, ""},
		{"pending and deleted", nil, remove, engine.Canceled, "task_deleted"},
		{"scheduled and deleted", delayed, remove, engine.Canceled, "task_deleted"},
		{"pending and archived", nil, archive, engine.Failed, "task_archived"},
		{"scheduled and archived", delayed, archive, engine.Failed, "task_archived"},
		{"the queue is gone", nil, func(t *testing.T, e *engine.Engine, _ engine.JobID) {
			if err := inspect(e).DeleteQueue(e.QueueName(engine.DefaultQueue), true); err != nil {
				t.Fatal(err)
			}
		}, engine.Succeeded, "task_lost"},
		{"asynq gave it up", nil, func(t *testing.T, e *engine.Engine, job engine.JobID) {
			// What its recoverer does to a task whose lease has ended: it runs each minute.
			hold(t, e, job)
			expired := time.Now().Add(-time.Hour).Unix()
			if err := e.Redis().ZAdd(soon(t), asynqKey(e, engine.DefaultQueue, "lease"), zmember(runtime.TaskID(job, 1), expired)).Err(); err != nil {
				t.Fatal(err)
			}
			recoverNow(t, e)
		}, engine.Succeeded, "task_lost"},
		{"run early", delayed, func(t *testing.T, e *engine.Engine, job engine.JobID) {
			if err := inspect(e).RunTask(e.QueueName(engine.DefaultQueue), runtime.TaskID(job, 1)); err != nil {
				t.Fatal(err)
			}
		}, engine.Succeeded, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := real(t)
			var change []func(*engine.Spec)
			if c.spec != nil {
				change = append(change, c.spec)
			}
			job := enqueue(t, e, "export", change...)
			awaitDispatch(t, e, job)
			c.tamper(t, e, job)
			w := build(t, brief(e))
			worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
			start(t, w)
			all := history(t, e, job, nil)
			codes := []string{}
			for _, r := range all {
				if r.Job.Error != nil {
					codes = append(codes, r.Job.Error.Code)
				}
			}
			if last(all).State != c.end || (c.code == "") != (len(codes) == 0) || (c.code != "" && !slices.Contains(codes, c.code)) {
				t.Errorf("want %s, with code %q:\n%s", c.end, c.code, tell(all))
			}
			if end := last(all); end.State == engine.Succeeded && end.Attempt != 1 {
				t.Errorf("it took %d attempts", end.Attempt)
			}
		})
	}
}

// A task that asynq has handed out, and that nobody starts, is handed over again after a
// lease, long before asynq itself notices.
func TestLostDequeueIsRescued(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export")
	awaitDispatch(t, e, job)
	hold(t, e, job)
	o := brief(e)
	o.ReconcileInterval = 10 * time.Minute // not the reconciler
	w := build(t, o)
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
	start(t, w)
	all := history(t, e, job, nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 1 || count(all, engine.JobStalled) != 0 {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// A task that asynq has handed out is handed over again after a whole lease, and not before:
// its taker may be about to start it.
func TestADequeueIsLostAfterALease(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export")
	awaitDispatch(t, e, job)
	hold(t, e, job)
	o := brief(e)
	o.Lease = time.Minute
	look, now := worker.Dequeues(build(t, o)).Look, time.Now()
	for _, c := range []struct {
		after time.Duration
		want  runtime.TaskState
	}{
		{0, runtime.TaskNone}, {o.Lease / 4, runtime.TaskNone}, {o.Lease / 2, runtime.TaskNone}, {o.Lease - 1, runtime.TaskNone}, {o.Lease, runtime.TaskWaits},
	} {
		if err := look(soon(t), now.Add(c.after)); err != nil {
			t.Fatal(err)
		}
		if got := tasksOf(t, e, job); got.Own != runtime.TaskActive || got.Rescue != c.want {
			t.Fatalf("%s after the first look: %+v, want %v in the rescue queue", c.after, got, c.want)
		}
	}
}

// tasksOf is what asynq has of a job's current attempt.
func tasksOf(t testing.TB, e *engine.Engine, job engine.JobID) runtime.Tasks {
	t.Helper()
	a, err := runtime.Of(e).Current(soon(t), job)
	if err != nil {
		t.Fatal(err)
	}
	all, err := runtime.Of(e).Tasks(soon(t), []runtime.Attempt{a})
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// A task whose job has no record makes the job visible.
func TestTaskWithoutARecordFailsItsJob(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export")
	awaitDispatch(t, e, job)
	if err := e.Redis().Del(soon(t), jobKey(e, job)).Err(); err != nil {
		t.Fatal(err)
	}
	w := build(t, brief(e))
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error {
		t.Error("it ran without its payload")
		return nil
	})
	start(t, w)
	eventually(t, "the job to be there again", func() bool {
		_, err := e.Job(soon(t), job)
		return err == nil
	})
	end := last(history(t, e, job, nil))
	if end.State != engine.Failed || end.Error == nil || end.Error.Code != "record_lost" || end.Type != "export" {
		t.Errorf("it is told as %+v", end)
	}
	if again, err := e.Retry(soon(t), job, engine.RetryQuery{}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("it is tried again without its payload: %+v, %v", again, err)
	}
}

// A task that outlives its job's record ends nothing: one that asynq archived when its attempt
// failed, and that is run again, and one that was handed to asynq before all that is kept.
func TestTaskThatOutlivesItsRecordEndsNothing(t *testing.T) {
	t.Parallel()
	e := real(t)
	var log logbook
	o := brief(e)
	o.Logger = log.logger()
	w := build(t, o)
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		if run.Attempt() == 1 {
			return errors.New("once")
		}
		return nil
	})
	start(t, w)
	gone := func(n int) {
		t.Helper()
		eventually(t, "the task to be dropped", func() bool {
			return strings.Count(log.String(), "the record of a task's job has expired") == n
		})
	}
	job := enqueue(t, e, "export")
	before := len(history(t, e, job, nil))
	if err := e.Redis().Del(soon(t), jobKey(e, job)).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := inspect(e).RunAllArchivedTasks(e.QueueName(engine.DefaultQueue)); err != nil || n != 1 {
		t.Fatalf("%d archived tasks are run: %v", n, err)
	}
	gone(1)

	old, err := json.Marshal(runtime.TaskPayload{Job: job, Attempt: 3, Topic: topic, At: time.Now().Add(-runtime.Of(e).Retention()).UnixMilli()})
	if err == nil {
		_, err = asynq.NewClientFromRedisClient(e.Redis()).Enqueue(asynq.NewTask("export", old),
			asynq.Queue(e.QueueName(engine.DefaultQueue)), asynq.TaskID(runtime.TaskID(job, 3)))
	}
	if err != nil {
		t.Fatal(err)
	}
	gone(2)
	if _, err := e.Job(soon(t), job); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the job is there again: %v", err)
	}
	page, err := stream.Of(e).Replay(soon(t), topic, engine.Beginning)
	if err != nil || len(page.Entries) != before {
		t.Errorf("%d records, want the %d of before: %v", len(page.Entries), before, err)
	}
}

// asynq refuses to touch a task that a worker has.
func TestActiveTasksAreLeftAlone(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	started, release := make(chan struct{}), make(chan struct{})
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error {
		close(started)
		<-release
		return nil
	})
	start(t, w)
	job := enqueue(t, e, "export")
	wait(t, "the handler", started)
	queue, id := e.QueueName(engine.DefaultQueue), runtime.TaskID(job, 1)
	if inspect(e).DeleteTask(queue, id) == nil || inspect(e).ArchiveTask(queue, id) == nil {
		t.Error("asynq let an active task be deleted or archived")
	}
	close(release)
	if end := last(history(t, e, job, nil)); end.State != engine.Succeeded {
		t.Errorf("it ended as %s", end.State)
	}
}

// recoverNow has asynq look for tasks whose lease has ended, which a server does at its
// start and then each minute.
func recoverNow(t *testing.T, e *engine.Engine) {
	t.Helper()
	s := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{
		Concurrency: 1, Queues: map[string]int{e.QueueName(engine.DefaultQueue): 1}, LogLevel: asynq.FatalLevel,
	})
	if err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return errors.New("not ours") })); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	eventually(t, "asynq to give the task up", func() bool {
		archived, err := inspect(e).ListArchivedTasks(e.QueueName(engine.DefaultQueue))
		return err == nil && len(archived) == 1
	})
}
