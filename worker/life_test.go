package worker_test

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
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

// backends are what the core of the suite runs on.
func backends(t *testing.T, test func(t *testing.T, e *engine.Engine)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, real(t))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, "redis://"+redistest.Miniredis(t)))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, redistest.Cluster(t).URL()))
	})
}

func TestJobRunsToItsResult(t *testing.T) {
	backends(t, func(t *testing.T, e *engine.Engine) {
		w := build(t, brief(e))
		type order struct{ Year int }
		worker.Handle(w, "export", func(_ context.Context, run *worker.Run, p order) error {
			if run.Labels()["team"] != "sales \"EU\"" || len(run.Labels()) != 1 || run.Title() != "Größe \"1\"" {
				return worker.Permanent(fmt.Errorf("it is %q with %v", run.Title(), run.Labels()))
			}
			run.Labels()["team"] = "another" // of a copy
			run.Stages(worker.Stage{Name: "read", Weight: 3}, worker.Stage{Name: "write", Weight: 1})
			run.Unit("rows")
			run.Stage("read")
			run.Message(fmt.Sprintf("reading %d", p.Year))
			run.Progress(500, 1000)
			if err := run.Checkpoint("half"); err != nil {
				return err
			}
			run.Log("info", "half of it")
			run.Stage("write")
			run.Progress(1, 2)
			return run.Result(map[string]int{"rows": 1000})
		})
		start(t, w)
		job := enqueue(t, e, "export", func(s *engine.Spec) {
			s.Payload, s.Title, s.Labels = order{2025}, "Größe \"1\"", map[string]string{"team": "sales \"EU\""}
		})
		all := history(t, e, job, nil)

		want := []engine.RecordType{engine.JobQueued, engine.JobStarted, engine.JobStage, engine.JobLog, engine.JobStage, engine.JobSucceeded}
		if got := milestones(all); !slices.Equal(got, want) {
			t.Errorf("milestones %v, want %v", got, want)
		}
		checkpoint := all[slices.IndexFunc(all, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint })].Job
		if checkpoint.Percent != 37.5 || *checkpoint.Progress != (engine.Progress{Done: 500, Total: 1000, Unit: "rows"}) ||
			checkpoint.Message != "reading 2025" || *checkpoint.Stage != (engine.Stage{Name: "read", Index: 0, Count: 2}) {
			t.Errorf("the checkpoint shows %+v", checkpoint)
		}
		end := last(all)
		if end.State != engine.Succeeded || end.Percent != 100 || string(end.Result) != `{"rows":1000}` || end.Attempt != 1 {
			t.Errorf("the end is %+v", end)
		}
		if *end.Stage != (engine.Stage{Name: "write", Index: 1, Count: 2}) || end.Progress.Done != 1 {
			t.Errorf("the end shows %+v, %+v", end.Stage, end.Progress)
		}
		awaitNoTask(t, e, job, 1)
	})
}

// awaitNoTask waits until asynq has acknowledged an attempt's task.
func awaitNoTask(t testing.TB, e *engine.Engine, job engine.JobID, attempt int) {
	t.Helper()
	eventually(t, "the task to be acknowledged", func() bool { return task(t, e, job, attempt) == nil })
}

// task is an attempt's task in asynq's default queue, nil when there is none.
func task(t testing.TB, e *engine.Engine, job engine.JobID, attempt int) *asynq.TaskInfo {
	t.Helper()
	info, err := asynq.NewInspectorFromRedisClient(e.Redis()).GetTaskInfo(e.QueueName(engine.DefaultQueue), runtime.TaskID(job, attempt))
	if err != nil && !errors.Is(err, asynq.ErrTaskNotFound) && !errors.Is(err, asynq.ErrQueueNotFound) {
		t.Fatal(err)
	}
	return info
}

func TestErrorIsRetriedFromTheCheckpoint(t *testing.T) {
	backends(t, func(t *testing.T, e *engine.Engine) {
		o := brief(e)
		o.ReconcileInterval = 10 * time.Minute // nobody else hands the retry over
		w := build(t, o)
		failed := false
		worker.Handle(w, "tally", countUp(func(step int) error {
			if step == 30 && !failed {
				failed = true
				return errors.New("the disk is full")
			}
			return nil
		}))
		start(t, w)
		p := tally{Steps: 60}
		job := enqueue(t, e, "tally", func(s *engine.Spec) { s.Payload = p })
		all := history(t, e, job, nil)

		if n := count(all, engine.JobRetrying); n != 1 {
			t.Fatalf("%d job.retrying:\n%s", n, tell(all))
		}
		for i, r := range all {
			switch r.Type {
			case engine.JobRetrying:
				if r.Job.Error == nil || *r.Job.Error != (engine.JobError{Code: "error", Message: "the disk is full"}) || r.Job.RetryAt == nil {
					t.Errorf("job.retrying shows %+v, retry at %v", r.Job.Error, r.Job.RetryAt)
				}
			case engine.JobResumed:
				if r.Job.Attempt != 2 || r.Job.ResumedFrom == nil || *r.Job.ResumedFrom <= 0 {
					t.Errorf("resumed from %v in attempt %d", r.Job.ResumedFrom, r.Job.Attempt)
				}
				if before := all[i-1]; before.Job.RetryAt != nil && r.Time.Before(*before.Job.RetryAt) {
					t.Errorf("resumed at %v, before its time %v", r.Time, *before.Job.RetryAt)
				}
			}
		}
		if got := string(last(all).Result); got != fmt.Sprint(p.sum()) {
			t.Errorf("result %s, want %d: steps were lost or repeated", got, p.sum())
		}
		if info := task(t, e, job, 1); info == nil || info.State != asynq.TaskStateArchived || info.LastErr != "error: the disk is full" {
			t.Errorf("the failed attempt's task is %+v, want it archived with its error", info)
		}
	})
}

func TestAttemptsThatEndTheJob(t *testing.T) {
	broken := errors.New("no such customer")
	for _, c := range []struct {
		name     string
		attempts int
		handler  func(context.Context, *worker.Run, []byte) error
		code     string
		message  string
	}{
		{"permanent", 4, func(context.Context, *worker.Run, []byte) error {
			return fmt.Errorf("export: %w", worker.Permanent(broken))
		}, "permanent", "export: no such customer"},
		{"one attempt", 1, func(context.Context, *worker.Run, []byte) error { return broken }, "error", "no such customer"},
		{"panic", 4, func(context.Context, *worker.Run, []byte) error { panic("secret " + "sauce") }, "panic", "panic: secret sauce"},
		{"panic of nil", 4, func(context.Context, *worker.Run, []byte) error { panic(nil) }, "panic", "panic called with nil argument"},
		{"goexit", 4, func(context.Context, *worker.Run, []byte) error { goruntime.Goexit(); return nil }, "panic", "runtime.Goexit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := real(t)
			var log logbook
			o := brief(e)
			o.Logger = log.logger()
			w := build(t, o)
			worker.Handle(w, "export", c.handler)
			start(t, w)
			all := history(t, e, enqueue(t, e, "export", func(s *engine.Spec) { s.MaxAttempts = c.attempts }), nil)
			end := last(all)
			if end.State != engine.Failed || end.Error == nil || end.Error.Code != c.code || !strings.Contains(end.Error.Message, c.message) || end.Attempt != 1 {
				t.Errorf("ended as %s with %+v after %d attempts", end.State, end.Error, end.Attempt)
			}
			if strings.Contains(end.Error.Message, ".go:") {
				t.Errorf("a stack in a record: %s", end.Error.Message)
			}
			if c.name == "panic" {
				eventually(t, "the stack in the log", func() bool { return strings.Contains(log.String(), "life_test.go") })
			}
			// The worker lives on.
			history(t, e, enqueue(t, e, "export", func(s *engine.Spec) { s.MaxAttempts = 1 }), nil)
		})
	}
}

func TestPayloadThatDoesNotFit(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	type order struct{ Year int }
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, p order) error { return run.Result(p.Year) })
	worker.Handle(w, "raw", func(_ context.Context, run *worker.Run, p []byte) error { return run.Result(len(p)) })
	start(t, w)
	for _, c := range []struct {
		jobType string
		payload any
		result  string
		message string
	}{
		{"export", nil, "0", ""},
		{"export", []byte{}, "0", ""},
		{"raw", []byte("four"), "4", ""},
		{"raw", nil, "4", ""}, // JSON's null
		{"export", []byte("{"), "", "of 1 bytes does not decode into what the handler takes: not JSON: error at byte 1"},
		{"export", []byte(`{"Year":"secret"}`), "", `field "Year" is to be a int`},
		{"export", []byte(`{"Year":1e99}`), "", `field "Year" is to be a int`},
	} {
		end := last(history(t, e, enqueue(t, e, c.jobType, func(s *engine.Spec) { s.Payload = c.payload }), nil))
		if string(end.Result) != c.result {
			t.Errorf("%s with %s: result %s, want %s", c.jobType, c.payload, end.Result, c.result)
		}
		if c.message == "" {
			continue
		}
		if end.Error == nil || end.Error.Code != "permanent" || !strings.Contains(end.Error.Message, c.message) {
			t.Errorf("%s with %s: %+v, want %s", c.jobType, c.payload, end.Error, c.message)
		}
		if strings.Contains(end.Error.Message, "secret") || strings.Contains(end.Error.Message, "1e99") {
			t.Errorf("the payload is in the record: %s", end.Error.Message)
		}
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	const after = 1200 * time.Millisecond
	returned := make(chan time.Time, 1)
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		if run.Attempt() == 1 {
			returned <- time.Now()
			return worker.RetryAfter(errors.New("come back later"), after)
		}
		return nil
	})
	start(t, w)
	var at time.Time
	for _, r := range history(t, e, enqueue(t, e, "export"), nil) {
		switch r.Type {
		case engine.JobRetrying:
			at = *r.Job.RetryAt
			// In whole seconds, which are all that asynq knows; a record's time is cut to
			// milliseconds, and is that of its commit.
			early, late := (<-returned).Add(after), r.Time.Add(time.Millisecond+after+time.Second)
			if at.Before(early) || at.After(late) || at.Nanosecond() != 0 {
				t.Errorf("retry at %s, want the first second after %s", at, early)
			}
		case engine.JobResumed:
			if r.Time.Before(at) {
				t.Errorf("resumed at %s, want %s at the earliest", r.Time, at)
			}
		}
	}
	if at.IsZero() {
		t.Error("it was not retried")
	}
}

// What has the name of an attempt and not its payload is no other program's either.
func TestMalformedAttemptGoesToTheArchive(t *testing.T) {
	t.Parallel()
	e := real(t)
	start(t, build(t, brief(e)))
	const job = "0001JD00000000000000000000AA"
	info, err := asynq.NewClientFromRedisClient(e.Redis()).EnqueueContext(soon(t), asynq.NewTask("theirs", []byte(`{"job":"`+job+`"`)),
		asynq.Queue(e.QueueName(engine.DefaultQueue)), asynq.TaskID(job+".1"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the task to be archived", func() bool {
		got, err := inspect(e).GetTaskInfo(info.Queue, info.ID)
		return err == nil && got.State == asynq.TaskStateArchived && strings.Contains(got.LastErr, `"theirs"`)
	})
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "endless", func(ctx context.Context, _ *worker.Run, _ []byte) error {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), worker.ErrDeadline) {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	})
	start(t, w)
	running := enqueue(t, e, "endless", func(s *engine.Spec) { s.Deadline = time.Now().Add(time.Second) })
	// It waits in a queue that nobody serves.
	waiting := enqueue(t, e, "endless", func(s *engine.Spec) { s.Deadline, s.Queue = time.Now().Add(time.Second), "elsewhere" })
	for _, job := range []engine.JobID{running, waiting} {
		if end := last(history(t, e, job, nil)); end.State != engine.Failed || end.Error.Code != "deadline" {
			t.Errorf("ended as %s with %+v", end.State, end.Error)
		}
	}
}
