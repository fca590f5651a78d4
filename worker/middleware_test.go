package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

type traceKey struct{}

// journal is what middleware and handlers have noted, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// noting is middleware that notes what it sees, and passes a value on.
func (j *journal) noting(name string) func(worker.HandlerFunc) worker.HandlerFunc {
	return func(next worker.HandlerFunc) worker.HandlerFunc {
		return func(ctx context.Context, run *worker.Run) (err error) {
			before, _ := ctx.Value(traceKey{}).(string)
			j.note("%s begins %s after %q", name, run.Type(), before)
			defer func() { j.note("%s ends with %v", name, err) }()
			return next(context.WithValue(ctx, traceKey{}, before+name), run)
		}
	}
}

func TestMiddlewareIsAroundEveryHandler(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	var j journal
	w.Use(j.noting("a"), j.noting("b"))
	worker.Handle(w, "export", func(ctx context.Context, _ *worker.Run, n int) error {
		j.note("handler has %v and %d", ctx.Value(traceKey{}), n)
		return worker.Permanent(errors.New("no such customer"))
	})
	w.Use(j.noting("c"))
	start(t, w)
	all := history(t, e, enqueue(t, e, "export", func(s *engine.Spec) { s.Payload = 7 }), nil)
	if end := last(all); end.Error == nil || end.Error.Code != engine.CodePermanent || end.Error.Message != "no such customer" {
		t.Errorf("it ended with %+v", end.Error)
	}
	want := []string{
		`a begins export after ""`, `b begins export after "a"`, `c begins export after "ab"`, "handler has abc and 7",
		"c ends with no such customer", "b ends with no such customer", "a ends with no such customer",
	}
	if !slices.Equal(j.lines, want) {
		t.Errorf("middleware ran as %q, want %q", j.lines, want)
	}
}

func TestMiddlewareDecidesAboutTheAttempt(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	w.Use(func(next worker.HandlerFunc) worker.HandlerFunc {
		return func(ctx context.Context, run *worker.Run) error {
			switch run.Type() {
			case "skipped":
				return nil
			case "panics":
				panic("in middleware")
			case "mended":
				if err := next(ctx, run); err == nil {
					return errors.New("the handler's error did not come by")
				}
				return nil
			case "worse":
				return worker.Permanent(next(ctx, run))
			}
			return next(ctx, run)
		}
	})
	failing := func(context.Context, *worker.Run, []byte) error { return errors.New("the disk is full") }
	for _, jobType := range []string{"skipped", "panics", "mended", "worse"} {
		worker.Handle(w, jobType, failing)
	}
	worker.Handle(w, "breaks", func(context.Context, *worker.Run, []byte) error { panic("in the handler") })
	start(t, w)
	for jobType, code := range map[string]string{
		"skipped": "", "mended": "", "panics": engine.CodePanic, "breaks": engine.CodePanic, "worse": engine.CodePermanent,
	} {
		end := last(history(t, e, enqueue(t, e, jobType), nil))
		got := ""
		if end.Error != nil {
			got = end.Error.Code
		}
		if got != code || (code == "") != (end.State == engine.Succeeded) || end.Attempt != 1 {
			t.Errorf("%s ended as %s in attempt %d with %+v, want code %q", jobType, end.State, end.Attempt, end.Error, code)
		}
	}
}

func TestMiddlewareComesBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := build(t, brief(real(t)))
	start(t, w)
	defer func() {
		if recover() == nil {
			t.Error("middleware was added to a worker that runs")
		}
	}()
	w.Use(func(next worker.HandlerFunc) worker.HandlerFunc { return next })
}
