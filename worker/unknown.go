package worker

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// typeQueues returns the type queues of the types that this worker knows, for each of its queues.
// Workers that do not know a job's type park the job there. The caller holds the lock.
func (w *Worker) typeQueues() []string {
	var names []string
	for _, q := range slices.Concat(w.opts.Queues, w.shared()) {
		for _, jobType := range slices.Sorted(maps.Keys(w.handlers)) {
			names = append(names, runtime.TypeQueue(q, jobType))
		}
	}
	return names
}

// park leaves a task of a type that this worker does not know to a worker that does. It returns
// asynq's answer about the task. It takes no slot and begins no attempt, so the job loses no retry.
//
//	a worker knows the type, or has known it    the task moves to the job's type queue, which
//	                                            only such workers take tasks from
//	no worker ever did                          the job has no task, until a reconciler finds
//	                                            that a worker knows the type
func (w *Worker) park(base context.Context, from, jobType string, p runtime.TaskPayload) error {
	e := w.runtime
	moved := true
	err := w.persist(base, func() error {
		a, err := e.Current(base, p.Job)
		if err != nil || !a.Waiting || a.Attempt != p.Attempt {
			return err
		}
		fresh := a.Parked.IsZero()
		if a, err = e.Park(base, a); err != nil {
			return err
		}
		if fresh {
			w.opts.Logger.Info("a job waits for a worker that knows its type; register a handler with worker.Handle, or give the type a queue of its own",
				"job", p.Job, "type", a.Type, "queue", a.Queue)
		}
		known, err := e.Known(base, a)
		if err != nil || !known[0] {
			return err
		}
		if moved, err = e.Move(base, a, runtime.TypeQueue(a.Queue, a.Type)); err != nil || moved {
			return err
		}
		tasks, err := e.Tasks(base, []runtime.Attempt{a})
		moved = err == nil && tasks[0].Typed == runtime.TaskWaits
		return err
	})
	if err != nil && !runtime.Stale(err) || errors.Is(err, engine.ErrNotFound) || !moved {
		// A worker may be about to drop the task that the type queue has.
		return w.release(base, from, jobType, p, w.opts.ReconcileInterval)
	}
	return nil
}
