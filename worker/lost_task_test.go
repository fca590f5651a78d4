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
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// exporter is a worker whose jobs succeed.
func exporter(t testing.TB, e *engine.Engine) *worker.Worker {
	t.Helper()
	w := build(t, brief(e))
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
	return w
}

// succeeds runs a job to its end.
func succeeds(t testing.TB, e *engine.Engine, job engine.JobID) {
	t.Helper()
	start(t, exporter(t, e))
	if all := history(t, e, job, nil); last(all).State != engine.Succeeded {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// A Pause that tidies up after the job was resumed may take the task that Resume has
// made. That is no deletion by anybody.
func TestResumeBetweenThePauseAndItsTidying(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	proxy := redistest.NewProxy(t, s.Addr())
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	slow := openWith(t, engine.Options{URL: proxy.URL(), Namespace: namespace, CommitTimeout: time.Minute}) // it is slow
	direct := openIn(t, s.URL(), namespace)
	w := build(t, brief(direct))
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error {
		return worker.RetryAfter(errors.New("not yet"), time.Hour)
	})
	start(t, w)
	job := enqueue(t, direct, "export")
	awaitRecord(t, direct, job, func(r engine.Record) bool { return r.Type == engine.JobRetrying })
	eventually(t, "the second attempt's task", func() bool { return task(t, direct, job, 2) != nil })
	awaitDispatch(t, direct, job)
	stop(t, w)

	proxy.Delay(100 * time.Millisecond)
	paused := make(chan error, 1)
	go func() { paused <- slow.Pause(soon(t), job) }()
	// The task in one of the attempt's queues is taken away; the other queue is next.
	awaitNoTask(t, direct, job, 2)
	if err := direct.Resume(soon(t), job); err != nil {
		t.Fatal(err)
	}
	if err := <-paused; err != nil {
		t.Fatal(err)
	}
	succeeds(t, direct, job)
}

// Two tasks of one attempt, which wait for a slot when their worker stops, do not both
// take the other for the one that stays.
func TestDrainOfBothTasksOfAnAttempt(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Concurrency, o.RescueSlots, o.CancelGrace, o.Lease = 1, 1, 50*time.Millisecond, 400*time.Millisecond
	w := build(t, o)
	began, release := make(chan struct{}, 2), make(chan struct{})
	worker.Handle(w, "deaf", func(context.Context, *worker.Run, []byte) error {
		began <- struct{}{}
		<-release
		return nil
	})
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return errors.New("it has no slot") })
	start(t, w)
	defer close(release)
	// Handlers that do not return keep the slots of both lanes.
	first := enqueue(t, e, "deaf")
	<-began
	second := enqueue(t, e, "deaf")
	a, err := runtime.Of(e).Current(soon(t), second)
	if err == nil {
		err = runtime.Of(e).Dispatch(soon(t), a, runtime.RescueQueue(a.Queue))
	}
	if err != nil {
		t.Fatal(err)
	}
	<-began
	err = errors.Join(
		inspect(e).DeleteTask(e.QueueName(engine.DefaultQueue), runtime.TaskID(second, 1)),
		e.Cancel(soon(t), first), e.Cancel(soon(t), second),
	)
	if err != nil {
		t.Fatal(err)
	}
	history(t, e, first, nil)
	history(t, e, second, nil)

	job := enqueue(t, e, "export")
	eventually(t, "two tasks to be handed out", func() bool {
		a, err := runtime.Of(e).Current(soon(t), job)
		if err != nil {
			t.Fatal(err)
		}
		tasks, err := runtime.Of(e).Tasks(soon(t), []runtime.Attempt{a})
		return err == nil && tasks[0].Own == runtime.TaskActive && tasks[0].Rescue == runtime.TaskActive
	})
	stop(t, w)
	succeeds(t, e, job)
}

// An attempt whose tasks asynq has given up in both of its queues still runs.
func TestTasksGivenUpInBothQueues(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export")
	awaitDispatch(t, e, job)
	a, err := runtime.Of(e).Current(soon(t), job)
	if err == nil {
		err = runtime.Of(e).Dispatch(soon(t), a, runtime.RescueQueue(a.Queue))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{
		Concurrency: 1, LogLevel: asynq.FatalLevel,
		Queues: map[string]int{e.QueueName(a.Queue): 1, e.QueueName(runtime.RescueQueue(a.Queue)): 1},
	})
	if err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return errors.New("the worker stopped") })); err != nil {
		t.Fatal(err)
	}
	eventually(t, "asynq to give both tasks up", func() bool {
		tasks, err := runtime.Of(e).Tasks(soon(t), []runtime.Attempt{a})
		return err == nil && tasks[0].Own == runtime.TaskGivenUp && tasks[0].Rescue == runtime.TaskGivenUp
	})
	s.Shutdown()
	succeeds(t, e, job)
}

// A topic that takes no records costs no busy loop.
func TestTopicThatTakesNoRecords(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.ReconcileInterval = 10 * time.Minute
	var log logbook
	o.Logger = log.logger()
	w := build(t, o)
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
	job := enqueue(t, e, "export")
	namespace := e.QueueName("")
	namespace = namespace[:len(namespace)-1]
	key := fmt.Sprintf("%s:{%s}:s:%s", namespace, job[:2], topic)
	if err := e.Redis().Rename(soon(t), key, key+":away").Err(); err != nil {
		t.Fatal(err)
	}
	if err := e.Redis().Set(soon(t), key, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	start(t, w)
	eventually(t, "the attempt to be put off", func() bool {
		waiting, err := inspect(e).ListScheduledTasks(e.QueueName(runtime.RescueQueue(engine.DefaultQueue)))
		return err == nil && len(waiting) == 1 && time.Until(waiting[0].NextProcessAt) > time.Minute
	})
	if got := strings.Count(log.String(), "cannot start an attempt"); got != 1 {
		t.Errorf("the log tells %d times", got)
	}
}

// A task of an attempt that is over is acknowledged. It hands the next attempt, which waits in
// its own queue until it is due, over to no other.
func TestATaskThatComesLateLeavesTheNextAttemptAlone(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export")
	awaitDispatch(t, e, job)
	report := runtime.Report{Type: engine.JobStarted, Job: job, Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}}
	failed := report
	failed.Type, failed.Fence.Seq, failed.Retries, failed.RetryAt = engine.JobRetrying, 2, 1, runtime.Of(e).Now().Add(time.Hour)
	failed.Error = &engine.JobError{Code: "error", Message: "not yet"}
	acks, err := runtime.Of(e).Commit(soon(t), report, failed)
	if err != nil || acks[0].Err != nil || acks[1].Err != nil {
		t.Fatal(err, acks)
	}
	a, err := runtime.Of(e).Current(soon(t), job)
	if err != nil || !a.Waiting || a.Attempt != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := runtime.Of(e).Dispatch(soon(t), a, a.Queue); err != nil {
		t.Fatal(err)
	}
	o := brief(e)
	o.ReconcileInterval = 10 * time.Minute // not the reconciler
	start(t, build(t, o))
	awaitNoTask(t, e, job, 1)
	if got := tasksOf(t, e, job); got.Own != runtime.TaskWaits || got.Rescue != runtime.TaskNone {
		t.Errorf("of the second attempt asynq has %+v", got)
	}
}

// The name of the Redis that was there when asynq was given a task may be lost by itself. A
// deletion is then taken for a loss, until a reconciler has met one and kept the name again.
func TestDeletionsAreKnownAgainWhenTheirRedisWasForgotten(t *testing.T) {
	t.Parallel()
	e := real(t)
	start(t, build(t, brief(e)))
	eventually(t, "the reconciler to come by", forgotten(t, e))
	shard := enqueue(t, e, "export", func(s *engine.Spec) { s.Delay = time.Hour })[:2]
	namespace, _, _ := strings.Cut(e.QueueName("q"), ":")
	if n, err := e.Redis().HDel(soon(t), fmt.Sprintf("%s:{%s}:head", namespace, shard), "redis").Result(); n != 1 || err != nil {
		t.Fatalf("%d names were taken away, %v", n, err)
	}
	deletionIsTold(t, e)
}
