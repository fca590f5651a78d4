package workertest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	Rows int64 `json:"rows"`
}

// export goes on from its checkpoint, and heeds its context.
func export(ctx context.Context, run *worker.Run, o order) error {
	var next int64
	if _, err := run.Resume(&next); err != nil {
		return err
	}
	run.Stages(worker.Stage{Name: "read", Weight: 3}, worker.Stage{Name: "write", Weight: 1})
	run.Stage("read")
	run.Unit("rows")
	run.Message("reading")
	for ; next < o.Rows; next++ {
		if ctx.Err() != nil {
			if err := run.Checkpoint(next); err != nil {
				return err
			}
			return context.Cause(ctx)
		}
		run.Progress(next, o.Rows)
	}
	run.Progress(o.Rows, o.Rows)
	run.Stage("write")
	run.Log("warn", "the customer has no address")
	if run.CheckpointDue() {
		if err := run.Checkpoint(next); err != nil {
			return err
		}
	}
	return run.Result(map[string]int64{"rows": next})
}

func TestRecordingHoldsWhatWasReported(t *testing.T) {
	t.Parallel()
	rec := workertest.Run(t.Context(), t, export, order{Rows: 4})
	if rec.State != engine.Succeeded || rec.Err != nil || rec.Error != nil || string(rec.Result) != `{"rows":4}` {
		t.Errorf("it ended as %s with %v, %+v, result %s", rec.State, rec.Err, rec.Error, rec.Result)
	}
	if want := []float64{0, 18.7, 37.5, 56.2, 75, 100}; !slices.Equal(rec.Percents, want) {
		t.Errorf("the bar went %v, want %v", rec.Percents, want)
	}
	if !slices.Equal(rec.Stages, []string{"read", "write"}) || !slices.Equal(rec.Messages, []string{"reading"}) {
		t.Errorf("stages %q, messages %q", rec.Stages, rec.Messages)
	}
	if want := (engine.Progress{Done: 4, Total: 4, Unit: "rows"}); !slices.Contains(rec.Progress, want) {
		t.Errorf("progress %+v lacks %+v", rec.Progress, want)
	}
	if len(rec.Log) != 1 || rec.Log[0].Level != "warn" {
		t.Errorf("log %+v", rec.Log)
	}
	var at int64
	if found, err := rec.Checkpoint(&at); !found || err != nil || at != 4 || len(rec.Checkpoints) != 1 {
		t.Errorf("checkpoint %d of %q: %t, %v", at, rec.Checkpoints, found, err)
	}
}

// A handler reads the texts of the job that the test says it is.
func TestTitleAndLabels(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"team": "sales"}
	read := func(_ context.Context, run *worker.Run, _ order) error {
		text := run.Title() + " of " + run.Labels()["team"]
		run.Labels()["team"] = "another" // of a copy
		return run.Result(text)
	}
	for range 2 {
		rec := workertest.Run(t.Context(), t, read, order{}, workertest.Spec(engine.Spec{Title: "Orders", Labels: labels}))
		if string(rec.Result) != `"Orders of sales"` {
			t.Errorf("the handler has read %s", rec.Result)
		}
	}
	if rec := workertest.Run(t.Context(), t, func(_ context.Context, run *worker.Run, _ order) error {
		return run.Result([]any{run.Title(), run.Labels()})
	}, order{}); string(rec.Result) != `["",null]` {
		t.Errorf("without any the handler has read %s", rec.Result)
	}
}

func TestInterruptedRunGoesOn(t *testing.T) {
	t.Parallel()
	atHalf := func(r *workertest.Recording) bool { return r.Percent() >= 37.5 }
	for cause, want := range map[error]engine.State{
		worker.ErrDraining: engine.Queued, worker.ErrPaused: engine.Paused, worker.ErrCanceled: engine.Canceled, worker.ErrDeadline: engine.Failed,
	} {
		first := workertest.Run(t.Context(), t, export, order{Rows: 4}, workertest.Interrupt(cause, atHalf))
		if first.State != want || !errors.Is(first.Err, cause) || (want == engine.Failed) != (first.Error != nil && first.Error.Code == engine.CodeDeadline) {
			t.Errorf("after %v it is %s with %v and %+v, want %s", cause, first.State, first.Err, first.Error, want)
		}
		second := workertest.Run(t.Context(), t, export, order{Rows: 4}, workertest.Resume(first))
		if second.State != engine.Succeeded || second.Percents[0] != first.Percent() || slices.Contains(second.Progress, engine.Progress{Total: 4, Unit: "rows"}) {
			t.Errorf("after %v it went on as %s over %v with %+v", cause, second.State, second.Percents, second.Progress)
		}
	}
	gone := workertest.Run(t.Context(), t, export, order{Rows: 4}, workertest.Interrupt(worker.ErrSuperseded, atHalf))
	if gone.State != engine.Running || !errors.Is(gone.Err, worker.ErrSuperseded) || gone.Checkpoints != nil {
		t.Errorf("a superseded run ended as %s with %v and the checkpoints %q", gone.State, gone.Err, gone.Checkpoints)
	}
}

func TestErrorsAreThoseOfAWorker(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is full")
	for _, c := range []struct {
		name    string
		handler func() error
		options []workertest.Option
		state   engine.State
		code    string
	}{
		{"an error", func() error { return broken }, nil, engine.Retrying, engine.CodeError},
		{"the last one", func() error { return broken }, []workertest.Option{workertest.Retries(3)}, engine.Failed, engine.CodeError},
		{"of one attempt", func() error { return broken }, []workertest.Option{workertest.Spec(engine.Spec{MaxAttempts: 1})}, engine.Failed, engine.CodeError},
		{"permanent", func() error { return worker.Permanent(broken) }, nil, engine.Failed, engine.CodePermanent},
		{"a panic", func() error { panic("oh no") }, nil, engine.Failed, engine.CodePanic},
		{"its goroutine's end", func() error { runtime.Goexit(); return nil }, nil, engine.Failed, engine.CodePanic},
		{"later", func() error { return worker.RetryAfter(broken, time.Hour) }, nil, engine.Retrying, engine.CodeError},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rec := workertest.Run(t.Context(), t, func(context.Context, *worker.Run, []byte) error { return c.handler() }, nil, c.options...)
			if rec.State != c.state || rec.Error == nil || rec.Error.Code != c.code || rec.Err == nil {
				t.Errorf("it is %s with %+v and %v, want %s with %s", rec.State, rec.Error, rec.Err, c.state, c.code)
			}
			if long := rec.RetryAfter > 50*time.Minute; long != (c.name == "later") {
				t.Errorf("it is tried again after %s", rec.RetryAfter)
			}
		})
	}
}

func split(ctx context.Context, run *worker.Run, parts int) error {
	var children []engine.Child
	for i := range parts {
		children = append(children, engine.Child{Name: fmt.Sprint("part", i), Spec: engine.Spec{Type: "part", Payload: i}, Optional: i > 0})
	}
	outcomes, err := run.FanOut(ctx, "parts", children)
	if err != nil {
		return err
	}
	well := 0
	for _, o := range outcomes {
		if o.State == engine.Succeeded {
			well++
		}
	}
	return run.Result(well)
}

func TestFanOutIsRecorded(t *testing.T) {
	t.Parallel()
	alone := workertest.Run(t.Context(), t, split, 3)
	if alone.State != engine.Awaiting || len(alone.FanOuts) != 1 || len(alone.FanOuts[0].Children) != 3 ||
		alone.FanOuts[0].Children[2].Spec.Topic != "user:test" || !errors.Is(alone.Err, worker.ErrAwaiting) {
		t.Errorf("without outcomes it is %s with %v: %+v", alone.State, alone.Err, alone.FanOuts)
	}
	failing := func(name string) workertest.Option {
		return workertest.Outcomes(func(fanOut string, c engine.Child) engine.Job {
			if fanOut != "parts" || c.Name != name {
				return engine.Job{}
			}
			return engine.Job{State: engine.Failed}
		})
	}
	went := workertest.Run(t.Context(), t, split, 3, failing("part2"))
	if went.State != engine.Succeeded || string(went.Result) != "2" || went.Attempts != 2 || !slices.Contains(went.Percents, 99.9) {
		t.Errorf("with an optional child that fails it is %s after %d attempts with %s: %v", went.State, went.Attempts, went.Result, went.Percents)
	}
	fell := workertest.Run(t.Context(), t, split, 3, failing("part0"))
	if fell.State != engine.Failed || fell.Error.Code != engine.CodeChildFailed || fell.Attempts != 1 {
		t.Errorf("with a child that fails it is %s after %d attempts with %+v", fell.State, fell.Attempts, fell.Error)
	}
	changes := workertest.Run(t.Context(), t, func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "parts", []engine.Child{{Name: fmt.Sprint(run.Attempt()), Spec: engine.Spec{Type: "part"}}})
		return err
	}, nil, failing(""))
	if changes.State == engine.Succeeded || !errors.Is(changes.Err, engine.ErrInvalid) {
		t.Errorf("other children than before: %s with %v", changes.State, changes.Err)
	}
}

func TestBoundsAreThoseOfProduction(t *testing.T) {
	t.Parallel()
	rec := workertest.Run(t.Context(), t, func(_ context.Context, run *worker.Run, _ []byte) error {
		run.Message(strings.Repeat("x", 2*engine.MaxMessageBytes))
		if err := run.Checkpoint(make([]byte, 2*engine.MaxCheckpointBytes)); !errors.Is(err, engine.ErrInvalid) {
			return fmt.Errorf("a checkpoint of any size is taken: %w", err)
		}
		return run.Result(strings.Repeat("x", 2*engine.MaxResultBytes))
	}, nil)
	if !errors.Is(rec.Err, engine.ErrInvalid) || len(rec.Messages) != 1 || len(rec.Messages[0]) != engine.MaxMessageBytes {
		t.Errorf("it ended with %v, messages of %d bytes", rec.Err, len(rec.Messages[0]))
	}
	if _, err := engine.ParseJobID(string(jobOf(t))); err != nil {
		t.Error(err)
	}
	if _, err := workertest.Record(t.Context(), split, 1, workertest.Spec(engine.Spec{Topic: "nonsense"})); !errors.Is(err, engine.ErrInvalidTopic) {
		t.Errorf("a job of no topic: %v", err)
	}
}

func jobOf(t *testing.T) (id engine.JobID) {
	workertest.Run(t.Context(), t, func(_ context.Context, run *worker.Run, _ []byte) error {
		id = run.ID()
		return nil
	}, nil)
	return id
}
