package reconcile

import (
	"context"
	"slices"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// look checks jobs. At the first look it returns those whose task is gone; again says that this is
// the second look, which decides about them.
func (r *Reconciler) look(ctx context.Context, jobs []engine.JobID, again bool) (gone []engine.JobID, err error) {
	e := r.runtime
	attempts, err := e.Attempts(ctx, jobs)
	if err != nil {
		return nil, err
	}
	if r.opts.Adopted {
		attempts = slices.DeleteFunc(attempts, func(a runtime.Attempt) bool { return a.State != "" && !a.Adopted() })
	}
	if err := r.watch(ctx, attempts); err != nil {
		return nil, err
	}
	orphans, err := e.Orphaned(ctx, attempts)
	if err != nil {
		return nil, err
	}
	var waiting []runtime.Attempt
	for _, a := range attempts {
		if a.Order != "" {
			if err = r.passing(a.Job, r.followUp(ctx, a.Job, "a parent's pause or resume had not reached all its children; it goes on")); err != nil {
				return nil, err
			}
		}
		done, err := r.over(ctx, a, orphans)
		if err = r.passing(a.Job, err); err != nil {
			return nil, err
		}
		if !done && a.Waiting {
			waiting = append(waiting, a)
		} else if a.State != engine.Receiving {
			delete(r.suspects, a.Job)
		}
	}
	tasks, err := e.Tasks(ctx, waiting)
	if err != nil {
		return nil, err
	}
	for i, a := range waiting {
		missing, err := r.compare(ctx, a, tasks[i], again)
		if err = r.passing(a.Job, err); err != nil {
			return nil, err
		}
		if missing {
			gone = append(gone, a.Job)
		}
	}
	return gone, nil
}

// watch gives running jobs without a heartbeat one, since something other than Tidemark has removed
// theirs. Sweeps then claim them after a lease of silence, as they claim others.
func (r *Reconciler) watch(ctx context.Context, attempts []runtime.Attempt) error {
	e := r.runtime
	var running []engine.JobID
	for _, a := range attempts {
		if a.State == engine.Running {
			running = append(running, a.Job)
		}
	}
	unwatched, err := e.Unwatched(ctx, running)
	if err != nil {
		return err
	}
	for _, job := range unwatched {
		r.opts.Logger.Warn("a running job has no heartbeat; a worker claims it after a lease unless its own sends one", "job", job)
		if err := e.Tidy(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

// over ends a job that is not to continue, and reports whether there is nothing more to check
// about it.
func (r *Reconciler) over(ctx context.Context, a runtime.Attempt, orphans map[engine.JobID]runtime.Attempt) (bool, error) {
	parent, orphan := orphans[a.Job]
	e := r.runtime
	held := a.State == engine.Running || a.State == engine.Receiving // a worker or a gateway ends it
	switch {
	case a.State == "":
		return true, e.Tidy(ctx, a.Job)
	case a.State.Ended():
		return true, nil
	case orphan && !held && parent.State == "":
		r.opts.Logger.Info("Redis has no record of a child's parent; the child is canceled", "job", a.Job, "parent", a.ChildOf)
		return true, e.Cancel(ctx, a.Job)
	case orphan && !held:
		return true, r.followUp(ctx, parent.Job, "a parent has ended; its children are canceled")
	case !held && r.late(a):
		return true, r.failLate(ctx, a)
	}
	if a.State == engine.Receiving {
		return r.unheard(ctx, a)
	}
	return false, nil
}

// followUp brings a parent's end or order to all its children, once in a pass.
func (r *Reconciler) followUp(ctx context.Context, parent engine.JobID, what string) error {
	if r.tended[parent] {
		return nil
	}
	r.tended[parent] = true
	r.opts.Logger.Info(what, "parent", parent)
	return r.runtime.FollowUp(ctx, parent)
}
