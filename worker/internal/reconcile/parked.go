package reconcile

import (
	"context"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// parked checks an attempt that waits for a worker that knows its type. It dispatches the attempt
// if that has no task and a worker knows the type. It fails the job if UnknownTypeWait has passed
// and no worker serves the type's queue. While such a worker is up, if only busy, the job waits.
func (r *Reconciler) parked(ctx context.Context, a runtime.Attempt, t runtime.Tasks, again bool) (gone bool, err error) {
	e := r.runtime
	typed := runtime.TypeQueue(a.Queue, a.Type)
	switch {
	case t.Active():
		return false, nil
	case e.Past(a.Parked.Add(r.opts.UnknownTypeWait)):
		live, err := e.LiveQueues(ctx)
		if err != nil {
			return false, err
		}
		if !live[e.QueueName(typed)] {
			r.opts.Logger.Warn("no worker came that knows a job's type; the job has failed", "job", a.Job, "type", a.Type, "queue", a.Queue)
			return false, e.Fail(ctx, a.Job, a.Attempt, engine.JobError{Code: engine.CodeNoHandler, Message: fmt.Sprintf(
				"no worker of queue %s that knows job type %q came within %s; register the type with worker.Handle, or give it a queue of its own, and retry the job",
				a.Queue, a.Type, r.opts.UnknownTypeWait)})
		}
	}
	switch {
	case t.Waits():
		return false, nil
	case t.GivenUp():
		return r.gaveUp(ctx, a, t, again)
	}
	known, err := e.Known(ctx, a)
	if err != nil || !known[0] {
		return false, err
	}
	return false, e.Dispatch(ctx, a, typed)
}
