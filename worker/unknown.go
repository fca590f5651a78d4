package worker

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// typeQueues are the type queues of the types that this worker knows, in each of its queues: it
// takes the jobs from them that workers have parked which do not know their type. The caller
// holds the lock.
func (w *Worker) typeQueues() []string {
	var names []string
	for _, q := range w.opts.Queues {
		for _, jobType := range slices.Sorted(maps.Keys(w.handlers)) {
			names = append(names, runtime.TypeQueue(q, jobType))
		}
	}
	return names
}

// park puts a task of a type that this worker does not know where a worker finds it that does.
// It gives asynq's answer about the task. It takes no slot and begins no attempt, so it costs
// the job no retry.
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
		// The task that the type queue has may be about to be dropped.
		return w.release(base, from, jobType, p, w.opts.ReconcileInterval)
	}
	return nil
}
