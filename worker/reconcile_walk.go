package worker

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// Bounds of one pass. What is left comes with the next one.
const (
	reconcilePage = 250  // jobs that are looked at together
	reconcileGone = 1000 // jobs whose task is gone, which are looked at once more
)

// A reconciler looks at jobs for one part of walkShare of its time at most: its process has
// handlers to run. restMin is the least that it rests between two pages.
const (
	walkShare = 4
	restMin   = 20 * time.Millisecond
)

// settling is how long a job whose task asynq was given and does not have is left before
// it is looked at again: its task may be between two queues.
const settling = 500 * time.Millisecond

func newReconciler(c *supervisor) *reconciler {
	who := "w"
	if c.adopting {
		who = "a" // which sees less
	}
	return &reconciler{
		c: c, walk: c.runtime.Walk(who, c.opts.ReconcileInterval*3/4), // passes do not come on time
		suspects: map[engine.JobID]suspect{}, tended: map[engine.JobID]bool{},
	}
}

// reconcile runs a pass each ReconcileInterval, give or take a tenth, so that
// workers that were started together do not all look at once.
func (c *supervisor) reconcile(ctx context.Context) {
	r := newReconciler(c)
	for next := time.Now(); ; {
		d := c.opts.ReconcileInterval
		if next = next.Add(d - d/10 + rand.N(d/10+1)); next.Before(time.Now()) {
			next = time.Now() // the last pass took longer
		}
		if !backoff.Sleep(ctx, time.Until(next)) {
			return
		}
		if err := r.pass(ctx); err != nil && ctx.Err() == nil {
			c.opts.Logger.Debug("a pass of the reconciler was cut short", "error", err)
		}
	}
}

// pass ends jobs whose deadline has passed, looks at the suspects, and walks on in the round
// until that is over or an interval has passed. Jobs whose task is gone are looked at once
// more before anything is made of it.
func (r *reconciler) pass(ctx context.Context) error {
	until := time.Now().Add(r.c.opts.ReconcileInterval)
	clear(r.tended)
	var gone []engine.JobID
	var problem error
	look := func(jobs []engine.JobID, again bool) error {
		found, err := r.lookAt(ctx, jobs, again)
		gone = append(gone, found...)
		return err
	}
	for _, part := range []func() error{
		func() error { return r.keepHistory(ctx) },
		func() error { return r.overdue(ctx, until) },
		func() error { return look(slices.Sorted(maps.Keys(r.suspects)), false) },
		func() error { return r.walkOn(ctx, until, func() bool { return len(gone) < reconcileGone }, look) },
		func() error {
			if len(gone) == 0 || !backoff.Sleep(ctx, settling) {
				return nil
			}
			return look(gone, true)
		},
	} {
		err := part()
		problem = errors.Join(problem, err)
		if r.ends(err) {
			if errors.Is(err, engine.ErrUnreachable) {
				clear(r.suspects) // no reconciler could mend what it was about
			}
			break
		}
	}
	return problem
}

// ends tells whether an error ends a pass: on a Cluster it is some node's, and the jobs of the
// others are seen to all the same.
func (r *reconciler) ends(err error) bool { return err != nil && !r.c.runtime.Cluster() }

// overdue ends jobs that wait although their deadline has passed, until there is none or a
// time has come. Adopted jobs have no deadline.
func (r *reconciler) overdue(ctx context.Context, until time.Time) error {
	e, seen := r.c.runtime, map[engine.JobID]bool{}
	for !r.c.adopting && time.Now().Before(until) {
		jobs, problem := e.Due(ctx, reconcilePage+len(seen)) // some may not be ended
		jobs = slices.DeleteFunc(jobs, func(id engine.JobID) bool { return seen[id] })
		attempts, err := e.Attempts(ctx, jobs)
		if problem = errors.Join(problem, err); len(attempts) == 0 {
			return problem
		}
		// Other workers are given the same jobs: each begins with another.
		rand.Shuffle(len(attempts), func(i, j int) { attempts[i], attempts[j] = attempts[j], attempts[i] })
		for _, a := range attempts {
			seen[a.Job] = true
			if err := r.passing(a.Job, r.expire(ctx, a)); err != nil {
				return errors.Join(problem, err)
			}
		}
		if problem != nil {
			return problem
		}
	}
	return nil
}

// expire ends a job that is listed as one that waits beyond its deadline, if it does.
func (r *reconciler) expire(ctx context.Context, a runtime.Attempt) error {
	if a.State.Ended() || !r.late(a) {
		return r.c.runtime.Tidy(ctx, a.Job)
	}
	return r.failLate(ctx, a)
}

// walkOn looks at pages of the round while it may, until a time has come.
func (r *reconciler) walkOn(ctx context.Context, until time.Time, may func() bool, look func(jobs []engine.JobID, again bool) error) (problem error) {
	for waits := 0; may(); {
		began := time.Now()
		pages, wait, err := r.walk.Next(ctx)
		problem = errors.Join(problem, err)
		if r.ends(err) || (len(pages) == 0 && wait == 0) {
			return problem
		}
		for some := range r.together(pages) {
			var jobs []engine.JobID
			for _, p := range some {
				jobs = append(jobs, p.Jobs...)
			}
			if err := look(jobs, false); err != nil {
				for _, p := range some {
					r.walk.PutBack(p)
				}
				if problem = errors.Join(problem, err); r.ends(err) {
					return problem
				}
			}
		}
		rest := rested(began)
		if waits++; len(pages) > 0 {
			waits = 0
		} else {
			rest = max(rest, wait) << waits // others walk as fast as Redis is to bear
		}
		if time.Now().Add(rest).After(until) || !backoff.Sleep(ctx, rest) {
			return problem
		}
	}
	return problem
}

// together are pages that are looked at together: all of one server, of a Cluster each.
func (r *reconciler) together(pages []runtime.WalkPage) iter.Seq[[]runtime.WalkPage] {
	if r.c.runtime.Cluster() {
		return slices.Chunk(pages, 1)
	}
	return slices.Chunk(pages, max(1, len(pages)))
}

// rested is how long to rest after work that began at a time.
func rested(began time.Time) time.Duration {
	return max(restMin, (walkShare-1)*time.Since(began))
}

// lookAt looks at jobs, some at a time, and returns those whose task is gone. Of those that it
// cannot look at it forgets what it knew: no reconciler could mend what that was about.
func (r *reconciler) lookAt(ctx context.Context, jobs []engine.JobID, again bool) (gone []engine.JobID, problem error) {
	for len(jobs) > 0 {
		began, n := time.Now(), 1
		for n < min(len(jobs), reconcilePage) && (!r.c.runtime.Cluster() || jobs[n].Beside(jobs[0])) {
			n++
		}
		found, err := r.look(ctx, jobs[:n], again)
		gone, problem = append(gone, found...), errors.Join(problem, err)
		if errors.Is(err, engine.ErrUnreachable) {
			for _, job := range jobs[:n] {
				delete(r.suspects, job)
			}
		}
		if jobs = jobs[n:]; r.ends(err) || (len(jobs) > 0 && !backoff.Sleep(ctx, rested(began))) {
			break
		}
	}
	return gone, problem
}
