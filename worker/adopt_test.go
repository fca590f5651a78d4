package worker_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
)

// briefAdopt are options with short waits, for an application whose tasks are all for one
// topic.
func briefAdopt(e *engine.Engine) worker.AdoptOptions {
	return worker.AdoptOptions{
		Engine: e, Topic: func(*asynq.Task) engine.Topic { return topic },
		TickInterval: 20 * time.Millisecond, CheckpointInterval: 20 * time.Millisecond, HeartbeatInterval: 50 * time.Millisecond,
		Lease: time.Second, SweepInterval: 50 * time.Millisecond, ReconcileInterval: 200 * time.Millisecond,
		DrainGrace: 10 * time.Second, CancelGrace: 5 * time.Second, Logger: quiet(),
	}
}

func adopt(t testing.TB, o worker.AdoptOptions) *worker.Adopter {
	t.Helper()
	a, err := worker.Adopt(soon(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			t.Errorf("close adopter: %v", err)
		}
	})
	return a
}

// briefServer is an asynq application's Config with short waits.
func briefServer() asynq.Config {
	return asynq.Config{
		Concurrency: 4, Queues: map[string]int{"default": 1}, LogLevel: asynq.FatalLevel,
		TaskCheckInterval: 20 * time.Millisecond, DelayedTaskCheckInterval: 50 * time.Millisecond,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 },
	}
}

// serve runs an application until the test ends.
func serve(t testing.TB, e *engine.Engine, c asynq.Config, mux *asynq.ServeMux) *asynq.Server {
	t.Helper()
	s := asynq.NewServerFromRedisClient(e.Redis(), c)
	if err := s.Start(mux); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// handling is an application with one handler and, if a is not nil, the middleware.
func handling(a *worker.Adopter, taskType string, h func(context.Context, *asynq.Task) error) *asynq.ServeMux {
	mux := asynq.NewServeMux()
	if a != nil {
		mux.Use(a.Middleware)
	}
	mux.HandleFunc(taskType, h)
	return mux
}

// send enqueues a task as any application does.
func send(t testing.TB, e *engine.Engine, taskType string, opts ...asynq.Option) *asynq.TaskInfo {
	t.Helper()
	info, err := asynq.NewClientFromRedisClient(e.Redis()).EnqueueContext(soon(t), asynq.NewTask(taskType, []byte("secret")), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// jobOf waits until a task has a job.
func jobOf(t testing.TB, e *engine.Engine, info *asynq.TaskInfo) (job engine.JobID) {
	t.Helper()
	eventually(t, "the task to have a job", func() bool {
		var err error
		job, err = runtime.Of(e).JobOfTask(soon(t), topic, runtime.Task{Queue: info.Queue, ID: info.ID})
		return err == nil
	})
	return job
}

// standing is where asynq has a task: its state, tries and last error.
func standing(e *engine.Engine, info *asynq.TaskInfo) string {
	now, err := inspect(e).GetTaskInfo(info.Queue, info.ID)
	if err != nil {
		return "gone"
	}
	return fmt.Sprintf("%s, %d retries, %q", now.State, now.Retried, now.LastErr)
}

// What asynq makes of a task must not depend on the middleware, and what the job shows
// must be what asynq made of it.
func TestAdoptionChangesNothingForAsynq(t *testing.T) {
	t.Parallel()
	once := asynq.MaxRetry(0)
	for _, c := range []struct {
		name    string
		opts    []asynq.Option
		handler func(context.Context, *asynq.Task) error
		end     engine.State // or Retrying
		code    string
		asynq   string // a pattern
	}{
		{"nil", nil, func(context.Context, *asynq.Task) error { return nil }, engine.Succeeded, "", "gone"},
		{"nil, and it is kept", []asynq.Option{asynq.Retention(time.Hour)}, func(context.Context, *asynq.Task) error { return nil }, engine.Succeeded, "", `completed, 0 retries, ""`},
		{"an error with tries left", nil, fails, engine.Retrying, "error", `retry, 1 retries, "no luck"`},
		{"an error on the last try", []asynq.Option{once}, fails, engine.Failed, "error", `archived, 0 retries, "no luck"`},
		{"SkipRetry", nil, func(context.Context, *asynq.Task) error { return fmt.Errorf("hopeless: %w", asynq.SkipRetry) }, engine.Failed, "permanent", `archived, 0 retries, "hopeless: skip retry for the task"`},
		{"RevokeTask", nil, func(context.Context, *asynq.Task) error { return fmt.Errorf("never mind: %w", asynq.RevokeTask) }, engine.Canceled, "", "gone"},
		{"a panic with tries left", nil, breaks, engine.Retrying, "panic", `retry, 1 retries, "panic error cause by: panic \[.*adopt_test.go:\d+\]: oh no"`},
		{"a panic on the last try", []asynq.Option{once}, breaks, engine.Failed, "panic", `archived, 0 retries, "panic error cause by: panic \[.*adopt_test.go:\d+\]: oh no"`},
		{"a time-out", []asynq.Option{asynq.Timeout(time.Second)}, func(ctx context.Context, _ *asynq.Task) error { <-ctx.Done(); return ctx.Err() }, engine.Retrying, "deadline", `retry, 1 retries, "context deadline exceeded"`},
		{"no handler", nil, nil, engine.Retrying, "error", `retry, 1 retries, "handler not found for task .*export.*"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stands, heard [2]string
			for i, with := range []bool{false, true} {
				e := real(t)
				var a *worker.Adopter
				if with {
					a = adopt(t, briefAdopt(e))
				}
				config := briefServer()
				config.RetryDelayFunc = func(int, error, *asynq.Task) time.Duration { return time.Hour }
				errs := make(chan string, 10)
				config.ErrorHandler = asynq.ErrorHandlerFunc(func(_ context.Context, _ *asynq.Task, err error) {
					errs <- fmt.Sprint(err, " panic:", asynq.IsPanicError(err))
				})
				handled, handler := "export", c.handler
				if handler == nil {
					handled, handler = "import", fails
				}
				serve(t, e, config, handling(a, handled, handler))
				info := send(t, e, "export", c.opts...)
				eventually(t, "asynq to be done with the task", func() bool {
					stands[i] = standing(e, info)
					return !strings.HasPrefix(stands[i], "pending") && !strings.HasPrefix(stands[i], "active")
				})
				close(errs) // asynq calls it before it moves the task
				for err := range errs {
					heard[i] += err + "\n"
				}
				if with {
					holdsAsynqsWord(t, e, info, c.end, c.code)
				}
			}
			if !regexp.MustCompile("^" + c.asynq + "$").MatchString(stands[0]) {
				t.Errorf("without the middleware the task is %s, want %s", stands[0], c.asynq)
			}
			if stands[0] != stands[1] {
				t.Errorf("the task is %s\nwith the middleware, and %s without", stands[1], stands[0])
			}
			if heard[0] != heard[1] {
				t.Errorf("ErrorHandler heard\n%swith the middleware, and\n%swithout", heard[1], heard[0])
			}
		})
	}
}

func fails(context.Context, *asynq.Task) error  { return errors.New("no luck") }
func breaks(context.Context, *asynq.Task) error { panic("oh no") }

// holdsAsynqsWord checks that a task's job shows what became of the task's first try.
func holdsAsynqsWord(t *testing.T, e *engine.Engine, info *asynq.TaskInfo, end engine.State, code string) {
	t.Helper()
	r := awaitRecord(t, e, jobOf(t, e, info), func(r engine.Record) bool { return r.Job.State != engine.Queued && r.Job.State != engine.Running })
	got := ""
	if r.Job.Error != nil {
		got = r.Job.Error.Code
	}
	if r.Job.State != end || got != code || r.Job.Attempt != 1 || r.Job.Type != "export" || r.Job.Title != "export" {
		t.Errorf("the job is %+v with error %v, want %s, %q", r.Job, r.Job.Error, end, code)
	}
	job := jobKey(e, r.Job.ID)
	for _, key := range []string{job, strings.Replace(job, ":j:"+string(r.Job.ID), ":p:"+string(r.Job.ID), 1)} {
		payload, err := e.Redis().HGet(soon(t), key, "pl").Result()
		if (err != nil && !errors.Is(err, redis.Nil)) || payload != "" {
			t.Errorf("the job keeps a payload of %d bytes: %v", len(payload), err)
		}
	}
}

func TestAdoptedRetriesGoOnFromTheCheckpoint(t *testing.T) {
	backends(t, func(t *testing.T, e *engine.Engine) {
		o := briefAdopt(e)
		o.RetryDelay = briefServer().RetryDelayFunc
		a := adopt(t, o)
		var began []int
		serve(t, e, briefServer(), handling(a, "video:encode", func(ctx context.Context, _ *asynq.Task) error {
			run, step := worker.RunFrom(ctx), 0
			if _, err := run.Resume(&step); err != nil {
				return err
			}
			began = append(began, step)
			run.Stages(worker.Stage{Name: "encode", Weight: 1})
			run.Stage("encode")
			run.Log("info", fmt.Sprint("from step ", step))
			run.Progress(int64(step+1), 3)
			if err := run.Checkpoint(step + 1); err != nil {
				return err
			}
			if step < 2 {
				return fmt.Errorf("step %d broke", step)
			}
			return run.Result(step)
		}))
		all := history(t, e, jobOf(t, e, send(t, e, "video:encode")), nil)
		end := last(all)
		if end.State != engine.Succeeded || end.Attempt != 3 || string(end.Result) != "2" || end.Type != "video.encode" || end.Title != "video:encode" {
			t.Errorf("it ended as %+v", end)
		}
		if fmt.Sprint(began) != "[0 1 2]" {
			t.Errorf("attempts began at %v", began)
		}
		want := []engine.RecordType{
			engine.JobQueued, engine.JobStarted, engine.JobStage, engine.JobLog, engine.JobRetrying,
			engine.JobResumed, engine.JobStage, engine.JobLog, engine.JobRetrying,
			engine.JobResumed, engine.JobStage, engine.JobLog, engine.JobSucceeded,
		}
		if got := milestones(all); !slices.Equal(got, want) {
			t.Errorf("it went\n%s", tell(all))
		}
		for _, r := range all {
			if r.Type == engine.JobRetrying && (r.Job.RetryAt == nil || r.Job.Error == nil || !strings.HasSuffix(r.Job.Error.Message, "broke")) {
				t.Errorf("retrying is told as %+v", r.Job)
			}
		}
	})
}

func TestPermanentStopsAsynqsRetries(t *testing.T) {
	t.Parallel()
	e := real(t)
	a := adopt(t, briefAdopt(e))
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error {
		return worker.Permanent(errors.New("no such table"))
	}))
	info := send(t, e, "export")
	if end := last(history(t, e, jobOf(t, e, info), nil)); end.State != engine.Failed || end.Error.Code != "permanent" {
		t.Errorf("it ended as %s, %+v", end.State, end.Error)
	}
	eventually(t, "asynq to archive the task", func() bool { return standing(e, info) == `archived, 0 retries, "no such table"` })
}

// A handler need not know of the Run, and one that does may be called without.
func TestRunFromWithoutAJobDropsReports(t *testing.T) {
	t.Parallel()
	run := worker.RunFrom(t.Context())
	run.Stages(worker.Stage{Name: "one", Weight: 1})
	run.Stage("one")
	run.Unit("rows")
	run.Progress(1, 2)
	run.Message("hello")
	run.Log("info", "hello")
	var state int
	if found, err := run.Resume(&state); found || err != nil {
		t.Errorf("Resume: %t, %v", found, err)
	}
	if run.CheckpointDue() {
		t.Error("a checkpoint is due")
	}
	if err := errors.Join(run.Checkpoint(1), run.Result(1)); err != nil {
		t.Error(err)
	}
	if err := run.Checkpoint(func() {}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a checkpoint that cannot be kept: %v", err)
	}
	if _, err := run.FanOut(t.Context(), "parts", []engine.Child{{Name: "a"}}); !errors.Is(err, engine.ErrState) {
		t.Errorf("FanOut: %v", err)
	}
	if run.ID() != "" || run.Topic() != "" || run.Attempt() != 0 || run.Title() != "" || run.Labels() != nil {
		t.Errorf("it is of %q, %q, %d, %q, %v", run.ID(), run.Topic(), run.Attempt(), run.Title(), run.Labels())
	}
}

func TestTasksWithoutATopicAreLeftAlone(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := briefAdopt(e)
	o.Topic = func(task *asynq.Task) engine.Topic {
		switch task.Type() {
		case "secret":
			return ""
		case "odd":
			return "no topic at all"
		case "worse":
			panic("not mine")
		}
		return topic
	}
	a := adopt(t, o)
	ran := make(chan engine.JobID, 3)
	mux := asynq.NewServeMux()
	mux.Use(a.Middleware)
	types := []string{"secret", "odd", "worse"}
	for _, taskType := range types {
		mux.HandleFunc(taskType, func(ctx context.Context, _ *asynq.Task) error {
			ran <- worker.RunFrom(ctx).ID()
			return nil
		})
		send(t, e, taskType)
	}
	serve(t, e, briefServer(), mux)
	for range types {
		select {
		case job := <-ran:
			if job != "" {
				t.Errorf("it is job %s", job)
			}
		case <-soon(t).Done():
			t.Fatal("a task was not run")
		}
	}
}

func TestFanOutOfAnAdoptedJobIsRefused(t *testing.T) {
	t.Parallel()
	e := real(t)
	a := adopt(t, briefAdopt(e))
	serve(t, e, briefServer(), handling(a, "export", func(ctx context.Context, _ *asynq.Task) error {
		_, err := worker.RunFrom(ctx).FanOut(ctx, "parts", []engine.Child{{Name: "a", Spec: engine.Spec{Type: "part"}}})
		return err
	}))
	end := last(history(t, e, jobOf(t, e, send(t, e, "export", asynq.MaxRetry(0))), nil))
	if end.State != engine.Failed || !strings.Contains(end.Error.Message, "Engine.Enqueue") {
		t.Errorf("it ended as %s, %+v", end.State, end.Error)
	}
}

// Two processes of an application share its tasks, and each task has one job.
func TestTwoServersShareTheTasks(t *testing.T) {
	t.Parallel()
	e := real(t)
	var ran atomic.Int64
	for range 2 {
		a := adopt(t, briefAdopt(e))
		serve(t, e, briefServer(), handling(a, "export", func(ctx context.Context, _ *asynq.Task) error {
			ran.Add(1)
			return worker.RunFrom(ctx).Checkpoint(1)
		}))
	}
	const tasks = 100
	infos := make([]*asynq.TaskInfo, tasks)
	for i := range infos {
		infos[i] = send(t, e, "export")
	}
	for _, info := range infos {
		if all := history(t, e, jobOf(t, e, info), nil); last(all).State != engine.Succeeded || last(all).Attempt != 1 {
			t.Errorf("it went\n%s", tell(all))
		}
	}
	page, err := e.Jobs(soon(t), topic, engine.JobsQuery{Limit: 500})
	if err != nil || len(page.Jobs) != tasks || ran.Load() != tasks {
		t.Errorf("%d jobs, %d runs of %d tasks: %v", len(page.Jobs), ran.Load(), tasks, err)
	}
}

// An archived task that an admin runs again, and a new one under the name of an old one,
// begin a job of their own: one that has ended never moves.
func TestATaskThatRunsAgainIsANewJob(t *testing.T) {
	t.Parallel()
	e := real(t)
	a := adopt(t, briefAdopt(e))
	var fail atomic.Bool
	fail.Store(true)
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error {
		if fail.Load() {
			return errors.New("no luck")
		}
		return nil
	}))
	info := send(t, e, "export", asynq.MaxRetry(1), asynq.TaskID("daily"))
	next := func(before engine.JobID) (job engine.JobID) {
		eventually(t, "another job", func() bool { job = jobOf(t, e, info); return job != before })
		return job
	}
	first := jobOf(t, e, info)
	if end := last(history(t, e, first, nil)); end.State != engine.Failed || end.Attempt != 2 {
		t.Fatalf("it ended as %s in attempt %d", end.State, end.Attempt)
	}
	if _, err := e.Retry(soon(t), first, engine.RetryQuery{}); !errors.Is(err, engine.ErrState) || !strings.Contains(err.Error(), "daily") {
		t.Errorf("Retry says %v", err)
	}
	eventually(t, "asynq to archive the task", func() bool { return strings.HasPrefix(standing(e, info), "archived") })
	fail.Store(false)
	if err := inspect(e).RunTask(info.Queue, info.ID); err != nil {
		t.Fatal(err)
	}
	second := next(first)
	if end := last(history(t, e, second, nil)); end.State != engine.Succeeded || end.RetryOf != first {
		t.Errorf("the second job is %+v", end)
	}
	eventually(t, "asynq to be done with it", func() bool { return standing(e, info) == "gone" })
	send(t, e, "export", asynq.TaskID("daily"))
	if end := last(history(t, e, next(second), nil)); end.State != engine.Succeeded || end.RetryOf != "" {
		t.Errorf("the third job is %+v", end)
	}
}

// asynq comes back with a task when its acknowledgement was lost. What was done is done.
func TestATaskWhoseAcknowledgementWasLostIsNotRunAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		err   error
		asynq string
	}{
		{"done", nil, "gone"},
		{"failed for good", worker.Permanent(errors.New("no luck")), "archived, 1 retries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := real(t)
			a := adopt(t, briefAdopt(e))
			var once sync.Once
			runs := atomic.Int64{}
			release := make(chan struct{})
			mux := asynq.NewServeMux()
			// The process dies between the record and the acknowledgement: asynq hears of
			// its lease instead.
			mux.Use(func(next asynq.Handler) asynq.Handler {
				return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
					err := next.ProcessTask(ctx, task)
					once.Do(func() { err = asynq.ErrLeaseExpired; close(release) })
					return err
				})
			})
			mux.Use(a.Middleware)
			mux.HandleFunc("export", func(context.Context, *asynq.Task) error {
				runs.Add(1)
				return c.err
			})
			serve(t, e, briefServer(), mux)
			info := send(t, e, "export")
			wait(t, "the first try", release)
			eventually(t, "asynq to be done with it", func() bool { return strings.HasPrefix(standing(e, info), c.asynq) })
			job := jobOf(t, e, info)
			if end := last(history(t, e, job, nil)); end.Attempt != 1 || runs.Load() != 1 {
				t.Errorf("%d runs, and the job is %+v", runs.Load(), end)
			}
		})
	}
}
