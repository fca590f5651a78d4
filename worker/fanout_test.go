package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
)

// parts are n children of a type, of weights 1, 2, 3, 1, …
func parts(n int, jobType string, change func(i int, c *engine.Child)) []engine.Child {
	children := make([]engine.Child, n)
	for i := range children {
		children[i] = engine.Child{Name: fmt.Sprint("part-", i), Spec: engine.Spec{Type: jobType, Payload: i}, Weight: 1 + i%3}
		if change != nil {
			change(i, &children[i])
		}
	}
	return children
}

func TestFanOutAddsUp(t *testing.T) {
	backends(t, func(t *testing.T, e *engine.Engine) {
		o := brief(e)
		o.Concurrency, o.RescueSlots = 1, 1 // the parent must not keep its slot
		w := build(t, o)
		worker.Handle(w, "sum", func(ctx context.Context, run *worker.Run, n int) error {
			run.Stages(worker.Stage{Name: "square", Weight: 8}, worker.Stage{Name: "add", Weight: 2})
			run.Stage("square")
			outcomes, err := run.FanOut(ctx, "square", parts(n, "square", nil))
			if err != nil {
				return err
			}
			run.Stage("add")
			sum := 0
			for _, c := range outcomes {
				var v int
				if err := json.Unmarshal(c.Result, &v); err != nil {
					return err
				}
				sum += v
			}
			return run.Result(sum)
		})
		worker.Handle(w, "square", func(_ context.Context, run *worker.Run, i int) error {
			run.Progress(1, 2)
			if err := run.Checkpoint(nil); err != nil {
				return err
			}
			return run.Result(i * i)
		})
		start(t, w)
		const n = 30
		job := enqueue(t, e, "sum", func(s *engine.Spec) { s.Payload = n })
		ended := -1
		all := history(t, e, job, func(r engine.Record) {
			if c := r.Job.Children; c != nil {
				if c.Count != n || c.Ended < ended || c.Failed != 0 {
					t.Errorf("children %+v after %d had ended", c, ended)
				}
				ended = c.Ended
			}
			if r.Job.State == engine.Awaiting && r.Job.Percent > 80 {
				t.Errorf("%v %% while its children work, which have 80 %% of the bar", r.Job.Percent)
			}
		})
		end := last(all)
		if want := (n - 1) * n * (2*n - 1) / 6; end.State != engine.Succeeded || string(end.Result) != fmt.Sprint(want) {
			t.Fatalf("it ended as %s with %s, want %d:\n%s", end.State, end.Result, want, tell(all))
		}
		if ended != n || end.Attempt != 2 || count(all, engine.JobAwaiting) > 1 || count(all, engine.JobProgress) < n {
			t.Errorf("%d children had ended, in attempt %d:\n%s", ended, end.Attempt, tell(all))
		}
	})
}

// The bar of a parent is made of its children's weights from the first on, and an ended
// child counts whole, however it ended.
func TestFanOutKeepsItsDenominator(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	turns := []chan int{make(chan int), make(chan int)}
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "all", []engine.Child{
			{Name: "a", Spec: engine.Spec{Type: "child", Payload: 0}, Weight: 1},
			{Name: "b", Spec: engine.Spec{Type: "child", Payload: 1}, Weight: 3, Optional: true},
		})
		return err
	})
	worker.Handle(w, "child", func(_ context.Context, run *worker.Run, i int) error {
		for step := range turns[i] {
			run.Progress(int64(step), 100)
			if err := run.Checkpoint(nil); err != nil {
				return err
			}
		}
		if i == 1 {
			return worker.Permanent(errors.New("it breaks"))
		}
		return nil
	})
	start(t, w)
	job := enqueue(t, e, "parent")
	stands := func(want float64) {
		t.Helper()
		r := awaitRecord(t, e, job, func(r engine.Record) bool { return r.Job.Percent >= want })
		if r.Job.Percent != want || r.Job.Children.Count != 2 {
			t.Errorf("%v %% with children %+v, want %v of 2", r.Job.Percent, r.Job.Children, want)
		}
	}
	turns[0] <- 50
	stands(12.5)
	turns[1] <- 50
	stands(50)
	turns[1] <- 40 // a child keeps its highest place
	turns[1] <- 60
	stands(57.5)
	close(turns[1])
	stands(87.5)
	turns[0] <- 100 // at most 99.9 until it has succeeded
	stands(99.9)
	close(turns[0])
	end := last(history(t, e, job, nil))
	if end.State != engine.Succeeded || *end.Children != (engine.Children{Count: 2, Ended: 2, Failed: 1, Awaited: 1}) {
		t.Errorf("it ended as %+v, children %+v", end, end.Children)
	}
}

func TestFailedChildFailsItsParent(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Concurrency = 20 // its siblings hold their slots until it fails
	w := build(t, o)
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "all", parts(20, "child", nil))
		return err
	})
	worker.Handle(w, "child", func(ctx context.Context, _ *worker.Run, i int) error {
		if i == 1 {
			return worker.Permanent(errors.New("it breaks"))
		}
		<-ctx.Done() // it ends with its parent
		return context.Cause(ctx)
	})
	start(t, w)
	job := enqueue(t, e, "parent")
	all := history(t, e, job, nil)
	end := last(all)
	if end.State != engine.Failed || end.Error.Code != "child_failed" || end.Children.Failed < 1 {
		t.Fatalf("it ended so:\n%s", tell(all))
	}
	for i := range 20 {
		child := last(history(t, e, runtime.ChildID(job, "all", fmt.Sprint("part-", i)), nil))
		want := engine.Canceled
		if i == 1 {
			want = engine.Failed
		}
		if child.State != want || child.Parent != job {
			t.Errorf("child %d ended as %s", i, child.State)
		}
	}
}

func TestOptionalChildrenMayFail(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		outcomes, err := run.FanOut(ctx, "all", parts(6, "child", func(_ int, c *engine.Child) { c.Optional, c.Spec.MaxAttempts = true, 1 }))
		if err != nil {
			return err
		}
		failed := 0
		for _, c := range outcomes {
			if c.State == engine.Failed && c.Error.Message == "it breaks" {
				failed++
			}
		}
		return run.Result(failed)
	})
	worker.Handle(w, "child", func(_ context.Context, _ *worker.Run, i int) error {
		if i%2 == 0 {
			return errors.New("it breaks")
		}
		return nil
	})
	start(t, w)
	end := last(history(t, e, enqueue(t, e, "parent"), nil))
	if end.State != engine.Succeeded || string(end.Result) != "3" || *end.Children != (engine.Children{Count: 6, Ended: 6, Failed: 3, Awaited: 1}) {
		t.Errorf("it ended as %+v, children %+v", end, end.Children)
	}
}

// Canceling, pausing and resuming a parent reaches its children, whatever state they and
// it are in.
func TestCancelPauseAndResumeReachChildren(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Concurrency = 3
	w := build(t, o)
	var release atomic.Bool
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "all", parts(8, "child", func(i int, c *engine.Child) {
			if i == 7 {
				c.Spec.Delay = time.Hour
			}
		}))
		return err
	})
	worker.Handle(w, "child", func(ctx context.Context, _ *worker.Run, _ int) error {
		if release.Load() {
			return nil
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	start(t, w)
	children := func(job engine.JobID) map[engine.State]int {
		states := map[engine.State]int{}
		for i := range 8 {
			v, err := e.Job(soon(t), runtime.ChildID(job, "all", fmt.Sprint("part-", i)))
			if err != nil {
				t.Fatal(err)
			}
			j, _ := v.Job()
			states[j.State]++
		}
		return states
	}
	begun := func() engine.JobID {
		job := enqueue(t, e, "parent")
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobAwaiting })
		return job
	}
	canceled := begun()
	eventually(t, "children to run", func() bool { return children(canceled)[engine.Running] == 3 })
	if err := e.Cancel(soon(t), canceled); err != nil {
		t.Fatal(err)
	}
	if end := last(history(t, e, canceled, nil)); end.State != engine.Canceled {
		t.Errorf("the parent ended as %s", end.State)
	}
	eventually(t, "all children to be canceled", func() bool { return children(canceled)[engine.Canceled] == 8 })

	paused := begun()
	eventually(t, "children to run", func() bool { return children(paused)[engine.Running] == 3 })
	if err := e.Pause(soon(t), paused); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all children to be paused", func() bool { return children(paused)[engine.Paused] == 8 })
	release.Store(true)
	if err := e.Resume(soon(t), paused); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the children to go on", func() bool { return children(paused)[engine.Succeeded] == 7 })
	if s := children(paused); s[engine.Queued] != 1 {
		t.Errorf("children %v, want the delayed one to wait", s)
	}
	if err := e.Cancel(soon(t), paused); err != nil {
		t.Fatal(err)
	}
}

// A canceled parent takes its children along also when whoever canceled it dies before
// it comes to them.
func TestChildrenOfACanceledParentEndByThemselves(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Concurrency = 2
	w := build(t, o)
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "all", parts(6, "child", func(i int, c *engine.Child) {
			if i >= 4 {
				c.Spec.Delay = time.Hour
			}
		}))
		return err
	})
	worker.Handle(w, "child", func(ctx context.Context, _ *worker.Run, _ int) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	start(t, w)
	job := enqueue(t, e, "parent")
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobAwaiting })
	// Its record alone says that it is to be canceled: "c" among the flags, see state.lua.
	if err := e.Redis().HSet(soon(t), jobKey(e, job), "fl", "c").Err(); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if end := last(history(t, e, runtime.ChildID(job, "all", fmt.Sprint("part-", i)), nil)); end.State != engine.Canceled {
			t.Errorf("child %d ended as %s", i, end.State)
		}
	}
}

// So do those of a paused parent, and of one that was resumed, rest and go on by themselves.
func TestChildrenFollowAPauseByThemselves(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		_, err := run.FanOut(ctx, "all", parts(3, "child", func(_ int, c *engine.Child) { c.Spec.Queue = "unserved" }))
		return err
	})
	start(t, w)
	job := enqueue(t, e, "parent")
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobAwaiting })
	for _, ask := range []struct{ order, became string }{{"p1", "paused"}, {"r2", "queued"}} {
		// The process that asked has died before it came to the children: the parent's order is left, see family.lua.
		if err := e.Redis().HSet(soon(t), jobKey(e, job), "ko", ask.order).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the order to be followed", func() bool {
			left, err := e.Redis().HGet(soon(t), jobKey(e, job), "ko").Result()
			return err == nil && left == ""
		})
		for i := range 3 {
			v, err := e.Job(soon(t), runtime.ChildID(job, "all", fmt.Sprint("part-", i)))
			if err != nil {
				t.Fatal(err)
			}
			if j, err := v.Job(); err != nil || string(j.State) != ask.became {
				t.Errorf("after order %s child %d is %s, %v", ask.order, i, j.State, err)
			}
		}
	}
}

func TestFanOutIsRefusedForWhatItCannotBe(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	errs := make(chan error, 8)
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		try := func(name string, children ...engine.Child) {
			_, err := run.FanOut(ctx, name, children)
			errs <- err
		}
		child := engine.Child{Name: "a", Spec: engine.Spec{Type: "never", Queue: "elsewhere"}}
		other := child
		other.Spec.Topic = "user:7"
		try("Up", child)
		try("all", child, child)
		try("all", other)
		try("all", engine.Child{Name: "a", Spec: engine.Spec{Type: "Up"}})
		try("none")
		try("all", child) // awaits
		try("more", child)
		return nil
	})
	start(t, w)
	job := enqueue(t, e, "parent")
	for _, want := range []error{engine.ErrInvalid, engine.ErrInvalid, engine.ErrInvalid, engine.ErrInvalid, nil, worker.ErrAwaiting, engine.ErrState} {
		if err := <-errs; !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobAwaiting })
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
}

// A fan-out of thousands: each child once, its parent once more, and no more records of
// the parent than its bar has places.
func TestFanOutOfThousands(t *testing.T) {
	t.Parallel()
	n := scale(2000, 10_000)
	e := real(t)
	o := brief(e)
	o.Concurrency, o.Lease = 64, 10*time.Second
	w := build(t, o)
	worker.Handle(w, "parent", func(ctx context.Context, run *worker.Run, _ []byte) error {
		outcomes, err := run.FanOut(ctx, "all", parts(n, "child", nil))
		if err != nil {
			return err
		}
		for i, c := range outcomes {
			if c.State != engine.Succeeded || string(c.Result) != fmt.Sprint(i) {
				return fmt.Errorf("child %d is %s with %s", i, c.State, c.Result)
			}
		}
		return nil
	})
	runs := make([]atomic.Int32, n)
	worker.Handle(w, "child", func(_ context.Context, run *worker.Run, i int) error {
		runs[i].Add(1)
		return run.Result(i)
	})
	start(t, w)
	// The topic's stream holds 5,000 records: a follower of the parent gets the verdict and
	// a snapshot.
	job := enqueue(t, e, "parent")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	percent, records := 0.0, 0
	var end engine.Job
	for u, err := range e.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: job}, After: engine.Beginning}) {
		if err != nil {
			t.Fatal(err)
		}
		var views []engine.Job
		switch u.Kind {
		case engine.UpdateRecord:
			r, err := u.Entry.Record()
			if err != nil {
				t.Fatal(err)
			}
			views = append(views, *r.Job)
			records++
		case engine.UpdateSnapshot:
			for _, v := range u.Jobs {
				j, err := v.Job()
				if err != nil {
					t.Fatal(err)
				}
				views = append(views, j)
			}
		}
		for _, j := range views {
			if j.Percent < percent {
				t.Errorf("percent fell from %v to %v", percent, j.Percent)
			}
			percent, end = j.Percent, j
		}
	}
	if end.State != engine.Succeeded || *end.Children != (engine.Children{Count: n, Ended: n, Awaited: 1}) || end.Attempt != 2 {
		t.Errorf("it ended as %+v, children %+v", end, end.Children)
	}
	if records > 1100 {
		t.Errorf("%d records of the parent", records)
	}
	for i := range n {
		if got := runs[i].Load(); got != 1 {
			t.Errorf("child %d ran %d times", i, got)
		}
	}
}
