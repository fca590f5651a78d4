package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// A handler comes by its earlier fan-outs in every attempt, and they stay over.
func TestFanOutsFollowEachOther(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	names := []string{"first", "second", "third"}
	var ran atomic.Int32
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		for _, name := range names {
			outcomes, err := run.FanOut(ctx, name, parts(3, "child", nil))
			if err != nil {
				return err
			}
			for i, o := range outcomes {
				if want := runtime.ChildID(run.ID(), name, fmt.Sprintf("part-%d", i)); o.ID != want || o.State != engine.Succeeded {
					return worker.Permanent(fmt.Errorf("child %d of %s is %s, %s, want %s", i, name, o.ID, o.State, want))
				}
			}
		}
		if _, err := run.FanOut(ctx, "first", parts(4, "child", nil)); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("an earlier fan-out with another child: %v", err)
		}
		return nil
	})
	worker.Handle(w, "child", func(context.Context, *worker.Run, int) error {
		ran.Add(1)
		return nil
	})
	start(t, w)
	all := history(t, e, enqueue(t, e, "parent", func(s *engine.Spec) { s.MaxAttempts = 1 }), nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 1+len(names) {
		t.Errorf("it ended so:\n%s", tell(all))
	}
	if got := int(ran.Load()); got != 3*len(names) {
		t.Errorf("children ran %d times, want %d", got, 3*len(names))
	}
}

// When a handler begins two fan-outs at once, the second returns an error that names the first, and
// the run continues.
func TestTwoFanOutsAtOnce(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		errs := make(chan error, 2)
		for _, name := range []string{"left", "right"} {
			go func() {
				_, err := run.FanOut(ctx, name, parts(2, "child", nil))
				errs <- err
			}()
		}
		both := errors.Join(<-errs, <-errs)
		if run.Attempt() == 1 && (!errors.Is(both, worker.ErrAwaiting) || !errors.Is(both, engine.ErrState)) {
			t.Errorf("they were answered with %v", both)
		}
		return both
	})
	worker.Handle(w, "child", func(context.Context, *worker.Run, int) error { return nil })
	start(t, w)
	all := history(t, e, enqueue(t, e, "parent", func(s *engine.Spec) { s.MaxAttempts = 1 }), nil)
	if end := last(all); end.State != engine.Succeeded || count(all, engine.JobStalled) != 0 {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// A child that ended so long ago that it is forgotten is not made again.
func TestForgottenChildrenAreNotMadeAgain(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	ended, release := make(chan struct{}), make(chan struct{})
	var ran [2]atomic.Int32
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		if run.Attempt() == 2 {
			if err := e.Redis().Del(ctx, jobKey(e, runtime.ChildID(run.ID(), "all", "part-0"))).Err(); err != nil {
				return err
			}
		}
		outcomes, err := run.FanOut(ctx, "all", parts(2, "child", nil))
		switch {
		case run.Attempt() == 1:
			<-ended
			return errors.New("the run fails before it can wait")
		case run.Attempt() == 2:
			close(release)
		case err == nil && (outcomes[0].ID != "" || outcomes[1].State != engine.Succeeded):
			return worker.Permanent(fmt.Errorf("outcomes %+v", outcomes))
		}
		return err
	})
	worker.Handle(w, "child", func(_ context.Context, _ *worker.Run, i int) error {
		ran[i].Add(1)
		if i == 1 {
			<-release
		}
		return nil
	})
	start(t, w)
	job := enqueue(t, e, "parent")
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Job.Children != nil && r.Job.Children.Ended == 1 })
	close(ended)
	all := history(t, e, job, nil)
	if end := last(all); end.State != engine.Succeeded || *end.Children != (engine.Children{Count: 2, Ended: 2, Awaited: 1}) {
		t.Errorf("it ended with children %+v:\n%s", end.Children, tell(all))
	}
	if got := []int32{ran[0].Load(), ran[1].Load()}; !slices.Equal(got, []int32{1, 1}) {
		t.Errorf("the children ran %v times", got)
	}
}

// A fan-out is repeated as it was when its children's deadlines have passed.
func TestChildrenWithDeadlines(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	deadline := sync.OnceValue(func() time.Time { return time.Now().Add(1500 * time.Millisecond) })
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "all", parts(2, "child", func(_ int, c *engine.Child) {
			c.Optional, c.Spec.Deadline = true, deadline()
		}))
		return err
	})
	worker.Handle(w, "child", func(ctx context.Context, _ *worker.Run, _ int) error {
		<-ctx.Done()
		return errors.New("too late")
	})
	start(t, w)
	job := enqueue(t, e, "parent", func(s *engine.Spec) { s.MaxAttempts = 1 })
	if all := history(t, e, job, nil); last(all).State != engine.Succeeded {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// A parent that is paused before it has made all of its children makes them when it is
// resumed.
func TestPauseBeforeTheChildrenAreMade(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	planned := make(chan struct{})
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "all", parts(2, "child", func(_ int, c *engine.Child) {
			if run.Attempt() == 1 {
				c.Spec.Deadline = time.Now().Add(-time.Second) // it is planned, and not made
			}
		}))
		if run.Attempt() == 1 {
			close(planned)
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return err
	})
	worker.Handle(w, "child", func(context.Context, *worker.Run, int) error { return nil })
	start(t, w)
	job := enqueue(t, e, "parent")
	<-planned
	if err := e.Pause(soon(t), job); err != nil {
		t.Fatal(err)
	}
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobPaused })
	if err := e.Resume(soon(t), job); err != nil {
		t.Fatal(err)
	}
	all := history(t, e, job, nil)
	if end := last(all); end.State != engine.Succeeded || *end.Children != (engine.Children{Count: 2, Ended: 2, Awaited: 1}) {
		t.Errorf("it ended with children %+v:\n%s", end.Children, tell(all))
	}
}

// A handler that asks until its children have ended needs no other attempt.
func TestFanOutIsAskedAgainInOneAttempt(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		for {
			_, err := run.FanOut(ctx, "all", parts(2, "child", nil))
			if !errors.Is(err, worker.ErrAwaiting) {
				return err
			}
			pause(ctx, 10*time.Millisecond)
		}
	})
	worker.Handle(w, "child", func(context.Context, *worker.Run, int) error { return nil })
	start(t, w)
	all := history(t, e, enqueue(t, e, "parent"), nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 1 {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// An attempt whose fan-out has other children than an earlier attempt's is refused, whenever it
// comes by, and hears which they are; it gets no outcome of what was never made, and makes none.
func TestFanOutWithOtherNamesIsRefused(t *testing.T) {
	t.Parallel()
	e := real(t)
	named := func(names ...string) []engine.Child {
		children := make([]engine.Child, len(names))
		for i, name := range names {
			children[i] = engine.Child{Name: name, Spec: engine.Spec{Type: "child"}}
		}
		return children
	}
	w := build(t, brief(e))
	release := make(chan struct{})
	refuse := func(when string, outcomes []engine.Job, err error, words ...string) {
		t.Helper()
		if !errors.Is(err, engine.ErrInvalid) || outcomes != nil {
			t.Errorf("%s: outcomes %v, %v", when, outcomes, err)
			return
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error does not say %s: %v", when, word, err)
			}
		}
	}
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		switch run.Attempt() {
		case 1:
			if _, err := run.FanOut(ctx, "first", named("a", "b", "c")); !errors.Is(err, worker.ErrAwaiting) {
				t.Errorf("the first attempt: %v", err)
			}
			return errors.New("the run fails before it can wait")
		case 2: // none of them has ended
			outcomes, err := run.FanOut(ctx, "first", named("a", "b", "x"))
			refuse("while they live", outcomes, err, `not made then: "x"`, `not named now: "c"`)
			_, err = run.FanOut(ctx, "first", named("c", "b", "a")) // their order is the attempt's own business
			close(release)
			return err
		case 3:
			outcomes, err := run.FanOut(ctx, "first", named("a", "b", strings.Repeat("y", 100)))
			refuse("once they have ended", outcomes, err, `"`+strings.Repeat("y", 40)+`"`, `not named now: "c"`)
			outcomes, err = run.FanOut(ctx, "first", named("c", "a", "b"))
			if err != nil || len(outcomes) != 3 || outcomes[0].ID != runtime.ChildID(run.ID(), "first", "c") {
				t.Errorf("in another order: %v, %v", outcomes, err)
			}
			_, err = run.FanOut(ctx, "second", named("a"))
			return err
		}
		for when, names := range map[string][]string{"none is the same": {"x", "y", "z"}, "fewer": {"a", "b"}} {
			outcomes, err := run.FanOut(ctx, "first", named(names...))
			refuse("of an earlier fan-out, "+when, outcomes, err, `"c"`)
		}
		return nil
	})
	var ran atomic.Int32
	worker.Handle(w, "child", func(context.Context, *worker.Run, []byte) error {
		<-release
		ran.Add(1)
		return nil
	})
	start(t, w)
	all := history(t, e, enqueue(t, e, "parent"), nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 4 || ran.Load() != 4 {
		t.Errorf("%d children ran:\n%s", ran.Load(), tell(all))
	}
}

// A parent whose worker is lost while it makes its children makes each of them once.
func TestFanOutIsRepeatedByTheNextAttempt(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	proxy := redistest.NewProxy(t, s.Addr())
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	cut, whole := openIn(t, proxy.URL(), namespace), openIn(t, s.URL(), namespace)
	const n = 400
	runs := make([]atomic.Int32, n)
	// The first worker takes no children: one that it ran and could not tell of would run
	// twice, and rightly.
	handle := func(e *engine.Engine, during func(), queues ...string) *worker.Worker {
		o := brief(e)
		o.Lease, o.DrainGrace = 500*time.Millisecond, 100*time.Millisecond
		o.Queues = append(o.Queues, queues...)
		w := build(t, o)
		worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
			if during != nil {
				time.AfterFunc(3*time.Millisecond, during)
			}
			_, err := run.FanOut(ctx, "all", parts(n, "child", func(_ int, c *engine.Child) { c.Spec.Queue = "parts" }))
			return err
		})
		worker.Handle(w, "child", func(_ context.Context, _ *worker.Run, i int) error {
			runs[i].Add(1)
			return nil
		})
		return w
	}
	first := handle(cut, func() {
		proxy.Refuse()
		proxy.CutAll()
	}, engine.DefaultQueue)
	if err := first.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	job := enqueue(t, whole, "parent")
	awaitRecord(t, whole, job, func(r engine.Record) bool { return r.Type == engine.JobStarted })
	start(t, handle(whole, nil, engine.DefaultQueue, "parts"))
	all := history(t, whole, job, nil)
	if end := last(all); end.State != engine.Succeeded || *end.Children != (engine.Children{Count: n, Ended: n, Awaited: 1}) {
		t.Errorf("it ended as %s, children %+v:\n%s", end.State, end.Children, tell(all))
	}
	for i := range n {
		if got := runs[i].Load(); got != 1 {
			t.Errorf("child %d ran %d times", i, got)
		}
	}
	proxy.Accept()
	stop(t, first)
}
