package worker_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// onEach runs a test on each kind of Redis, in the default namespace, where queues of Tidemark's
// have plain names like those of other programs.
func onEach(t *testing.T, test func(t *testing.T, e *engine.Engine)) {
	for name, url := range map[string]func(t *testing.T) string{
		"one Redis": func(t *testing.T) string { return redistest.Server(t).URL() },
		"embedded":  func(t *testing.T) string { return "redis://" + redistest.Miniredis(t) },
		"cluster":   func(t *testing.T) string { return redistest.Cluster(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openWith(t, engine.Options{URL: url(t)}))
		})
	}
}

// stored is all that Redis holds of a queue of asynq's.
func stored(t *testing.T, e *engine.Engine, queue string) string {
	t.Helper()
	c, key := e.Redis(), func(kind string) string { return "asynq:{" + queue + "}:" + kind }
	var all strings.Builder
	for _, list := range []string{"pending", "active"} {
		ids, err := c.LRange(soon(t), key(list), 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, list, ids)
		for _, id := range ids {
			hash, err := c.HGetAll(soon(t), key("t:"+id)).Result()
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range slices.Sorted(maps.Keys(hash)) {
				fmt.Fprintf(&all, "%s %q\n", field, hash[field])
			}
		}
	}
	for _, set := range []string{"scheduled", "retry", "archived", "completed", "lease"} {
		members, err := c.ZRangeWithScores(soon(t), key(set), 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, set, members)
	}
	return all.String()
}

// handleExports has a worker know the type export.
func handleExports(t *testing.T, w *worker.Worker) {
	t.Helper()
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
}

// holdOf waits until it is known why no worker takes a waiting job.
func holdOf(t *testing.T, e *engine.Engine, job engine.JobID, jobType string, want engine.Hold) {
	t.Helper()
	eventually(t, fmt.Sprintf("the hold %q of job %s", want, job), func() bool {
		queues, err := e.QueuesOf(soon(t), job)
		return err == nil && len(queues) == 1 && queues[0].Holds(jobType) == want
	})
}

// A worker that meets a task of another program leaves it where and as it is, says so once, as an
// error, and takes nothing more from that queue until it is restarted. What waits there of
// Tidemark's says why. The program then runs its tasks, which have lost nothing.
func TestATaskOfAnotherProgramStaysAsItIs(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *engine.Engine) {
		const queue = "mails"
		app := asynq.NewClientFromRedisClient(e.Redis())
		for i := range 2 {
			_, err := app.EnqueueContext(soon(t), asynq.NewTask("mail:send", []byte(`{"secret":1}`)), asynq.Queue(queue), asynq.TaskID(fmt.Sprint("mail-", i)),
				asynq.MaxRetry(7), asynq.Timeout(time.Minute), asynq.Deadline(time.Now().Add(time.Hour)), asynq.Retention(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
		}
		job := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = queue })
		before := stored(t, e, queue)

		var log logbook
		o := brief(e)
		o.Logger, o.Queues = log.logger(), []string{queue, "exports"}
		w := build(t, o)
		handleExports(t, w)
		start(t, w)
		holdOf(t, e, job, "export", engine.HoldRefused)
		if got := w.Refused(); !slices.Equal(got, []string{queue}) {
			t.Errorf("the worker refuses %q", got)
		}
		// Of another queue it goes on taking.
		history(t, e, enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = "exports" }), nil)
		if after := stored(t, e, queue); after != before {
			t.Errorf("the queue was\n%s\nand is\n%s", before, after)
		}
		if text := log.String(); strings.Count(text, "takes nothing more") != 1 || !strings.Contains(text, "level=ERROR") ||
			!strings.Contains(text, "queue=mails task=mail-0 type=mail:send") || strings.Contains(text, "secret") {
			t.Errorf("the log says\n%s", text)
		}

		// Tidemark's job is behind both of them.
		ran := make(chan string, 2)
		mail := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{Queues: map[string]int{queue: 1}, LogLevel: asynq.FatalLevel, Concurrency: 1, TaskCheckInterval: 50 * time.Millisecond})
		err := mail.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
			id, _ := asynq.GetTaskID(ctx)
			if runtime.Of(e).IsAttempt(id) {
				return asynq.SkipRetry // as a program does with a type that it does not know
			}
			retried, _ := asynq.GetRetryCount(ctx)
			most, _ := asynq.GetMaxRetry(ctx)
			ran <- fmt.Sprintf("%s %d of %d %s", id, retried, most, task.Payload())
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			select {
			case got := <-ran:
				if want := fmt.Sprintf(`mail-%d 0 of 7 {"secret":1}`, i); got != want {
					t.Errorf("the program ran %q, want %q", got, want)
				}
			case <-soon(t).Done():
				t.Fatalf("the program has not run its tasks:\n%s", stored(t, e, queue))
			}
		}
		// The program may have taken Tidemark's task too; its job gets another, in its rescue queue.
		mail.Shutdown()
		stop(t, w)
		again := build(t, o)
		handleExports(t, again)
		start(t, again)
		if end := last(history(t, e, job, nil)); end.State != engine.Succeeded {
			t.Errorf("after a restart the job ends as %s, %+v", end.State, end.Error)
		}
	})
}

// Jobs that an earlier version enqueued wait in its default queue, which an application uses too. A
// worker of this version runs them, and touches no task of the application's.
func TestJobsOfAnEarlierVersionRunBesideAnApplication(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *engine.Engine) {
		app := asynq.NewClientFromRedisClient(e.Redis())
		mail := func(id string, opts ...asynq.Option) {
			t.Helper()
			if _, err := app.EnqueueContext(soon(t), asynq.NewTask("mail:send", nil), append(opts, asynq.TaskID(id))...); err != nil {
				t.Fatal(err)
			}
		}
		former := func(s *engine.Spec) { s.Queue = engine.FormerQueue }
		mail("mail-0")
		jobs := []engine.JobID{enqueue(t, e, "export", former)}
		mail("mail-1", asynq.Retention(time.Hour))
		jobs = append(jobs, enqueue(t, e, "export", former, func(s *engine.Spec) { s.Delay = time.Second }), enqueue(t, e, "flaky", former))
		mail("mail-2")
		mail("mail-3", asynq.ProcessIn(time.Hour))

		w := build(t, brief(e))
		failed := false
		handleExports(t, w)
		worker.Handle(w, "flaky", func(context.Context, *worker.Run, []byte) error {
			if !failed {
				failed = true
				return fmt.Errorf("no luck")
			}
			return nil
		})
		start(t, w)
		for _, job := range jobs {
			if end := last(history(t, e, job, nil)); end.State != engine.Succeeded {
				t.Errorf("a job of the former default queue ended as %s, %+v", end.State, end.Error)
			}
		}
		// The default queue is another one now.
		history(t, e, enqueue(t, e, "export"), nil)
		for id, state := range map[string]asynq.TaskState{
			"mail-0": asynq.TaskStatePending, "mail-1": asynq.TaskStatePending, "mail-2": asynq.TaskStatePending, "mail-3": asynq.TaskStateScheduled,
		} {
			info, err := inspect(e).GetTaskInfo("default", id)
			if err != nil || info.State != state || info.Retried != 0 {
				t.Errorf("the application's task %s is %+v, %v", id, info, err)
			}
		}
		if order, err := e.Redis().LRange(soon(t), "asynq:{default}:pending", 0, -1).Result(); err != nil || !slices.Equal(order, []string{"mail-2", "mail-1", "mail-0"}) {
			t.Errorf("the application's tasks wait as %q, %v", order, err)
		}
	})
}

// While a queue is paused in asynq, its rescue queue and its type queues rest with it.
func TestAPausedQueueHoldsAllThatBelongsToIt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *engine.Engine) {
		const queue = "exports"
		started := make(chan engine.JobID, 10)
		o := brief(e)
		o.Queues = []string{queue, "others"}
		w := build(t, o)
		worker.Handle(w, "export", func(_ context.Context, r *worker.Run, _ []byte) error {
			started <- r.ID()
			return nil
		})
		if err := inspect(e).PauseQueue(queue); err != nil {
			t.Fatal(err)
		}
		in := func(q string) engine.JobID {
			job := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = queue })
			if q == queue {
				return job
			}
			a, err := runtime.Of(e).Current(soon(t), job)
			if err == nil && q == runtime.TypeQueue(queue, "export") {
				a, err = runtime.Of(e).Park(soon(t), a)
			}
			if err == nil {
				err = runtime.Of(e).Dispatch(soon(t), a, q)
			}
			if err == nil {
				err = inspect(e).DeleteTask(queue, runtime.TaskID(job, 1))
			}
			if err != nil {
				t.Fatal(err)
			}
			return job
		}
		jobs := []engine.JobID{in(queue), in(runtime.RescueQueue(queue)), in(runtime.TypeQueue(queue, "export"))}
		start(t, w)
		holdOf(t, e, jobs[1], "export", engine.HoldPaused)
		for range 3 { // its servers have looked everywhere by then
			other := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue, s.Delay = "others", time.Second })
			if got := <-started; got != other {
				t.Fatalf("job %s of a paused queue was started", got)
			}
		}
		if err := inspect(e).UnpauseQueue(queue); err != nil {
			t.Fatal(err)
		}
		for _, job := range jobs {
			if end := last(history(t, e, job, nil)); end.State != engine.Succeeded {
				t.Errorf("job %s ended as %s", job, end.State)
			}
		}
	})
}

// The default queue is a setting of the engine's, which jobs, schedules and workers go by that name
// none.
func TestDefaultQueueIsASetting(t *testing.T) {
	t.Parallel()
	e := openWith(t, engine.Options{URL: redistest.Server(t).URL(), DefaultQueue: "house"})
	w := build(t, brief(e))
	handleExports(t, w)
	start(t, w)
	for _, queue := range []string{"", "house"} {
		end := last(history(t, e, enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = queue }), nil))
		if end.State != engine.Succeeded || end.Queue != "house" {
			t.Errorf("a job of queue %q ended as %s in queue %q", queue, end.State, end.Queue)
		}
	}
	at, _, err := e.PutSchedule(soon(t), engine.Schedule{Topic: topic, Name: "nightly", Cron: "@daily", Type: "export"})
	if err != nil || at.Queue != "house" {
		t.Errorf("a schedule's queue is %q, %v", at.Queue, err)
	}
	elsewhere := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = engine.DefaultQueue })
	holdOf(t, e, elsewhere, "export", engine.HoldNoWorker)
}
