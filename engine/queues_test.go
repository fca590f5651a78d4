package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// testQueues is what every Redis tells of queues.
func testQueues(t *testing.T, ctx context.Context, e *engine.Rig) {
	queue := "exports"
	waiting, err := e.Enqueue(ctx, engine.Spec{Topic: "user:queues", Type: "export", Queue: queue})
	must(t, err)
	later, err := e.Enqueue(ctx, engine.Spec{Topic: "user:queues", Type: "report", Queue: queue, Delay: time.Hour})
	must(t, err)
	for _, id := range []engine.JobID{waiting.ID, later.ID} {
		v, err := e.Job(ctx, id)
		must(t, err)
		j, err := v.Job()
		must(t, err)
		if delayed := id == later.ID; j.Queue != queue || j.Adopted || (j.StartAt != nil) != delayed || delayed && j.StartAt.Before(j.CreatedAt.Add(59*time.Minute)) {
			t.Errorf("the view of a job in queue %s is %s", queue, v.JSON)
		}
	}
	is := look(t, e, waiting.ID, func(q engine.Queue) bool { return q.Counts.Waiting == 1 && q.Counts.Delayed == 1 })
	if is.Name != queue || is.Holds("export") != engine.HoldNoWorker {
		t.Errorf("the queue without a worker is %+v", is)
	}

	// A worker's server, as asynq sees it.
	names := map[string]int{}
	for _, q := range []string{queue, runtime.RescueQueue(queue), runtime.TypeQueue(queue, "export")} {
		names[e.QueueName(q)] = 1
	}
	worker := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{Queues: names, LogLevel: asynq.FatalLevel, ShutdownTimeout: time.Millisecond})
	must(t, asynq.NewInspectorFromRedisClient(e.Redis()).PauseQueue(e.QueueName(queue))) // it is not to take the job
	must(t, worker.Start(asynq.NotFoundHandler()))
	is = look(t, e, waiting.ID, func(q engine.Queue) bool { return q.Workers == 1 && q.Paused })
	if !slices.Equal(is.Types, []string{"export"}) || is.Holds("export") != engine.HoldPaused {
		t.Errorf("the paused queue is %+v", is)
	}
	is.Paused = false
	if is.Holds("export") != "" || is.Holds("report") != engine.HoldUnknownType {
		t.Errorf("a served queue holds an export: %q, a report: %q", is.Holds("export"), is.Holds("report"))
	}

	must(t, e.Refuse(ctx, "w1", time.Minute, queue))
	is = look(t, e, waiting.ID, func(q engine.Queue) bool { return q.Refusing == 1 })
	if is.Paused = false; is.Workers != 0 || is.Holds("export") != engine.HoldRefused {
		t.Errorf("the queue that its worker refuses is %+v", is)
	}
	must(t, e.Accept(ctx, "w1", queue))
	look(t, e, waiting.ID, func(q engine.Queue) bool { return q.Refusing == 0 && q.Workers == 1 })

	all, err := e.Queues(ctx)
	must(t, err)
	named := func(name string) bool {
		return slices.ContainsFunc(all, func(q engine.Queue) bool { return q.Name == name })
	}
	if !named(queue) || named(runtime.RescueQueue(queue)) || named(runtime.TypeQueue(queue, "export")) {
		t.Errorf("all queues are %+v, want %s without its companions", all, queue)
	}
	worker.Shutdown()
	look(t, e, waiting.ID, func(q engine.Queue) bool { return q.Workers == 0 })

	if none, err := e.QueuesOf(ctx, another(waiting.ID)); err != nil || len(none) != 0 {
		t.Errorf("the queue of an unknown job is %+v, %v", none, err)
	}
	if _, err := e.QueuesOf(ctx, make([]engine.JobID, engine.MaxQueueJobs+1)...); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("the queues of too many jobs: %v, want ErrInvalid", err)
	}
	must(t, e.Cancel(ctx, waiting.ID), e.Cancel(ctx, later.ID))
	if none, err := e.QueuesOf(ctx, waiting.ID); err != nil || len(none) != 0 {
		t.Errorf("the queue of an ended job is %+v, %v", none, err)
	}
}

// another is a job's ID with another last character: of the same shard, and of no job.
func another(job engine.JobID) engine.JobID {
	last := len(job) - 1
	if job[last] == '0' {
		return job[:last] + "1"
	}
	return job[:last] + "0"
}

// look reads a waiting job's queue until it is as wanted.
func look(t *testing.T, e *engine.Rig, job engine.JobID, want func(engine.Queue) bool) engine.Queue {
	t.Helper()
	ctx := soon(t)
	for {
		queues, err := e.QueuesOf(ctx, job, job)
		if err != nil || len(queues) != 1 {
			t.Fatalf("the job's queue is %+v, %v", queues, err)
		}
		if want(queues[0]) {
			return queues[0]
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the job's queue stays %+v, %+v", queues[0], queues[0].Counts)
		}
	}
}

// In the default namespace Tidemark's queues stand beside those of other programs: each is listed as
// what it is, and jobs of each see their own side of a queue that both use.
// The first of many callers reads what the others wait for. Only the race detector sees where they meet.
func TestQueuesAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	enqueue(t, e)
	ctx := soon(t)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			if queues, err := e.Queues(ctx); err != nil || len(queues) != 1 {
				t.Errorf("the queues are %v, %v", queues, err)
			}
		})
	}
	asking.Wait()
}

func TestQueuesOfTwoPrograms(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), func(o *engine.Options) { o.Namespace = "" })
	ctx := soon(t)
	mistyped, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export", Queue: "exprots"})
	must(t, err)
	shared, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export", Queue: "default"})
	must(t, err)
	adopted := adoptTask(t, e, waitingTask(t, e)) // in asynq's default queue
	app := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{Queues: map[string]int{"default": 1, "mail.high": 1}, LogLevel: asynq.FatalLevel})
	must(t, asynq.NewInspectorFromRedisClient(e.Redis()).PauseQueue("default"))
	must(t, app.Start(asynq.NotFoundHandler()))
	defer app.Shutdown()

	is := look(t, e, adopted.Job, func(q engine.Queue) bool { return q.Workers == 1 })
	if !is.Foreign || is.Name != "default" || len(is.Types) != 0 {
		t.Errorf("the queue of an adopted job is %+v", is)
	}
	if is = look(t, e, shared.ID, func(q engine.Queue) bool { return q.Paused }); is.Foreign || is.Workers != 0 {
		t.Errorf("Tidemark's side of the shared queue is %+v", is)
	}
	if is = look(t, e, mistyped.ID, func(engine.Queue) bool { return true }); is.Holds("export") != engine.HoldNoWorker {
		t.Errorf("the mistyped queue is %+v", is)
	}
	all, err := e.Queues(ctx)
	must(t, err)
	var names []string
	for _, q := range all {
		names = append(names, fmt.Sprintf("%s %t", q.Name, q.Foreign))
	}
	if want := []string{"default false", "default true", "exprots false", "mail.high true"}; !slices.Equal(names, want) {
		t.Errorf("the queues are %q, want %q", names, want)
	}
	v, err := e.Job(ctx, adopted.Job)
	must(t, err)
	if j, err := v.Job(); err != nil || !j.Adopted || j.Queue != "default" {
		t.Errorf("the view of an adopted job is %s, %v", v.JSON, err)
	}
}
