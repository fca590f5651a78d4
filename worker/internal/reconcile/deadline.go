package reconcile

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// overdue ends waiting jobs whose deadline has passed, until there is none or the time is over.
// Adopted jobs have no deadline.
func (r *Reconciler) overdue(ctx context.Context, until time.Time) error {
	e, seen := r.runtime, map[engine.JobID]bool{}
	for !r.opts.Adopted && time.Now().Before(until) {
		jobs, problem := e.Due(ctx, pageMax+len(seen)) // it may fail to end some
		jobs = slices.DeleteFunc(jobs, func(id engine.JobID) bool { return seen[id] })
		attempts, err := e.Attempts(ctx, jobs)
		if problem = errors.Join(problem, err); len(attempts) == 0 {
			return problem
		}
		// Other workers read the same jobs: each begins with another one.
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

// expire ends a job of the index of deadlines if it waits beyond its own, and otherwise corrects
// the index.
func (r *Reconciler) expire(ctx context.Context, a runtime.Attempt) error {
	if a.State.Ended() || !r.late(a) {
		return r.runtime.Tidy(ctx, a.Job)
	}
	return r.failLate(ctx, a)
}

// late reports whether the deadline of a job that does not run has passed. The worker of a running
// job ends that one itself.
func (r *Reconciler) late(a runtime.Attempt) bool {
	return a.State != engine.Running && !a.Deadline.IsZero() && r.runtime.Past(a.Deadline)
}

func (r *Reconciler) failLate(ctx context.Context, a runtime.Attempt) error {
	return r.runtime.Fail(ctx, a.Job, a.Attempt, engine.JobError{Code: engine.CodeDeadline, Message: "the job's deadline has passed while it waited"})
}
