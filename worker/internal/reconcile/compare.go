package reconcile

import (
	"context"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// compare compares a waiting attempt with asynq, and reports whether its task is gone. The second
// look decides about a task that is gone.
func (r *Reconciler) compare(ctx context.Context, a runtime.Attempt, t runtime.Tasks, again bool) (gone bool, err error) {
	e := r.runtime
	switch {
	case a.Adopted():
		return r.adopted(ctx, a, t, again)
	case !a.Parked.IsZero():
		return r.parked(ctx, a, t, again)
	}
	queue := a.Queue
	if t.Own != runtime.TaskNone {
		queue = runtime.RescueQueue(a.Queue)
	}
	switch {
	case t.Waits(), t.Active():
		// The dequeue watch of package rescue watches a task that is active and does not start.
		delete(r.suspects, a.Job)
		return false, nil
	case t.GivenUp():
		return r.gaveUp(ctx, a, t, again)
	case !a.Dispatched:
		return false, r.never(ctx, a, queue)
	case !again:
		return true, nil
	}
	deleted := t.Queue && !e.Cluster()
	if deleted {
		if deleted, err = r.deleted(ctx, a); err != nil {
			return false, err
		}
	}
	if !deleted {
		return false, r.requeue(ctx, a, a.Queue, "asynq has lost its task")
	}
	r.opts.Logger.Warn("a waiting job's task was deleted; the job is canceled", "job", a.Job, "attempt", a.Attempt)
	return false, e.Withdraw(ctx, a.Job, a.Attempt, engine.JobError{Code: engine.CodeTaskDeleted, Message: "its task was deleted from asynq's queue " + e.QueueName(a.Queue)})
}

// gaveUp decides about an attempt whose task asynq has archived: by itself, or because an admin
// asked for it.
func (r *Reconciler) gaveUp(ctx context.Context, a runtime.Attempt, t runtime.Tasks, again bool) (bool, error) {
	if !again {
		return true, nil
	}
	e := r.runtime
	in, other := a.Queue, runtime.RescueQueue(a.Queue)
	switch {
	case t.Own == runtime.TaskGivenUp:
	case t.Rescue == runtime.TaskGivenUp:
		in, other = other, in
	default:
		in, other = runtime.TypeQueue(a.Queue, a.Type), in
	}
	why, err := e.WhyGivenUp(ctx, a, in)
	switch {
	case err != nil:
		return false, err
	case why != "":
		return false, r.requeue(ctx, a, other, "asynq gave its task up: "+why)
	}
	r.opts.Logger.Warn("a waiting job's task was archived; the job has failed", "job", a.Job, "attempt", a.Attempt)
	return false, e.Fail(ctx, a.Job, a.Attempt, engine.JobError{
		Code: engine.CodeTaskArchived, Message: "its task was archived in asynq's queue " + e.QueueName(in) + "; retry the job to run it",
	})
}

// requeue records that a task was lost, and dispatches the attempt again.
func (r *Reconciler) requeue(ctx context.Context, a runtime.Attempt, queue, why string) error {
	e := r.runtime
	r.opts.Logger.Warn("a waiting job's task was lost; the job gets a new one", "job", a.Job, "attempt", a.Attempt, "queue", queue, "why", why)
	if err := e.Requeue(ctx, a, engine.JobError{Code: engine.CodeTaskLost, Message: why + "; it is queued again"}); err != nil {
		return err
	}
	return e.Replace(ctx, a, queue)
}

// never dispatches an attempt that asynq was not given, once that has been so for half an interval.
func (r *Reconciler) never(ctx context.Context, a runtime.Attempt, queue string) error {
	if !r.suspected(a, r.opts.Interval/2) {
		return nil
	}
	r.opts.Logger.Warn("a waiting job had no task; it gets one", "job", a.Job, "attempt", a.Attempt, "queue", queue)
	if err := r.runtime.Dispatch(ctx, a, queue); err != nil {
		return fmt.Errorf("dispatch attempt %d: %w", a.Attempt, err)
	}
	return nil
}
