package engine

import (
	"context"

	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Queues returns all queues that workers serve or jobs wait in, by name: whether each is paused, how
// many workers serve it, which types they know, and what is in it. In the default namespace queues of
// other programs that use asynq on the same Redis are among them. What it returns is up to a second
// old; it costs Redis a few calls a second, whatever the number of callers. Its error wraps
// ErrUnreachable.
func (e *Engine) Queues(ctx context.Context) ([]Queue, error) {
	return e.rt.AllQueues(ctx)
}

// QueuesOf returns the queues in which jobs wait, each once, as Queues does. [Job.In] finds a job's
// queue among them, and [Queue.Holds] says why no worker takes the job. Jobs that do not wait for a
// worker, and unknown ones, have none. It takes at most MaxQueueJobs jobs: for a long list, name one
// of each queue. Before a program shows a user the queue of a job, it must check that the user may
// read the job's topic. Errors to branch on: ErrInvalid, ErrUnreachable.
func (e *Engine) QueuesOf(ctx context.Context, jobs ...JobID) ([]Queue, error) {
	if err := option.Within("number of jobs", len(jobs), 0, MaxQueueJobs); err != nil {
		return nil, err
	}
	attempts, err := e.rt.Attempts(ctx, jobs)
	if err != nil {
		return nil, err
	}
	var refs []runtime.QueueRef
	for _, a := range attempts {
		if a.Waiting {
			refs = append(refs, a.QueueRef())
		}
	}
	return e.rt.Queues(ctx, refs...)
}
