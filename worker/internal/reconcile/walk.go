package reconcile

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// Bounds of one pass. The next pass continues with the rest.
const (
	pageMax = 250  // jobs in one look
	goneMax = 1000 // jobs whose task is gone, at which it looks a second time
)

// A reconciler spends at most one part in walkShare of its time on looks, since its process has
// handlers to run. restMin is the least that it rests between two pages.
const (
	walkShare = 4
	restMin   = 20 * time.Millisecond
)

// settling is the time between the two looks at a job whose task is gone: asynq may be moving the
// task between two queues.
const settling = 500 * time.Millisecond

// walkOn looks at pages of the round until the round or the time is over, or may returns false.
func (r *Reconciler) walkOn(ctx context.Context, until time.Time, may func() bool, look func(jobs []engine.JobID, again bool) error) (problem error) {
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
			rest = max(rest, wait) << waits // other workers walk as fast as Redis is to bear
		}
		if time.Now().Add(rest).After(until) || !backoff.Sleep(ctx, rest) {
			return problem
		}
	}
	return problem
}

// together groups pages for one look: all pages of one server, on a Cluster each page alone.
func (r *Reconciler) together(pages []runtime.WalkPage) iter.Seq[[]runtime.WalkPage] {
	if r.runtime.Cluster() {
		return slices.Chunk(pages, 1)
	}
	return slices.Chunk(pages, max(1, len(pages)))
}

// rested returns how long to rest after work that began at a time.
func rested(began time.Time) time.Duration {
	return max(restMin, (walkShare-1)*time.Since(began))
}

// lookAt looks at jobs, at most pageMax at a time, and returns those whose task is gone. It drops
// the suspects among the jobs that it cannot reach, since no reconciler could have mended them.
func (r *Reconciler) lookAt(ctx context.Context, jobs []engine.JobID, again bool) (gone []engine.JobID, problem error) {
	for len(jobs) > 0 {
		began, n := time.Now(), 1
		for n < min(len(jobs), pageMax) && (!r.runtime.Cluster() || jobs[n].Beside(jobs[0])) {
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
