package engine

import "context"

// Enqueue makes a job and hands it to asynq. It is accepted, and will reach an end,
// once Enqueue has returned without an error; what that survives is what Redis
// keeps, see docs/guarantees.md. After ErrUnreachable it may or may not have been
// accepted: with a Key, enqueue it again. Errors to branch on: ErrInvalid,
// ErrInvalidTopic, ErrLimit, ErrUnreachable, ErrOutOfMemory, and ErrUnreplicated, with
// which the job stands and is returned.
func (e *Engine) Enqueue(ctx context.Context, s Spec) (Enqueued, error) {
	return e.rt.Enqueue(ctx, s)
}

// Cancel asks a job to stop. One that no worker has yet ends at once, also while its
// input arrives, it is paused, or its children have not ended; a running one is told
// with its next heartbeat and ends when its handler has returned. Its children are
// canceled with it, of many of them the most after the call has returned. The request is kept in Redis: it reaches the job also while no
// worker is up. Canceling twice is no error. Errors to branch on: ErrNotFound,
// ErrEnded, ErrUnreachable, and ErrUnreplicated, with which the request stands.
func (e *Engine) Cancel(ctx context.Context, id JobID) error {
	return e.rt.Cancel(ctx, id)
}

// Pause asks a job to rest until Resume. One that waits for a worker, or for its
// children, is Paused at once; a running one is told with its next heartbeat, and is
// Paused once its handler has checkpointed and returned, which frees its worker. A
// handler that does not heed it is not cut short: it may still finish the job. One
// whose input arrives goes on receiving, and is Paused then. Its children are paused
// with it, of many of them the most after the call has returned. Pausing twice is no error. Errors to branch on: ErrNotFound, ErrEnded, ErrState for a
// job that is being canceled or is adopted, ErrUnreachable, and ErrUnreplicated, with
// which the request stands.
func (e *Engine) Pause(ctx context.Context, id JobID) error {
	return e.rt.Pause(ctx, id)
}

// Resume lets a paused job go on from its last checkpoint, at once, and its paused
// children with it. One that was asked to pause and has not yet is not asked any more,
// or is queued again as soon as its handler has returned. Resuming a job that is not
// paused is no error. Errors to branch on: ErrNotFound, ErrEnded, ErrUnreachable, and
// ErrUnreplicated, with which the request stands.
func (e *Engine) Resume(ctx context.Context, id JobID) error {
	return e.rt.Resume(ctx, id)
}

// Retry tries an ended job again: it makes a new one, its RetryOf, with the same type,
// payload, title, labels, queue and number of retries, and without its deadline. Errors
// to branch on: ErrNotFound, ErrState for a job that has not ended, is adopted, or whose
// payload is no longer kept (Options.RetryFailed, RetrySucceeded), ErrInvalid for one whose
// input never arrived or was lost, ErrLimit, ErrUnreachable, ErrOutOfMemory, and
// ErrUnreplicated, with which the job stands and is returned.
func (e *Engine) Retry(ctx context.Context, id JobID, q RetryQuery) (Enqueued, error) {
	return e.rt.Retry(ctx, id, q)
}

// Job reads one job's view. Its error wraps ErrInvalidJobID, ErrNotFound or
// ErrUnreachable. Whoever shows it to a user first checks that the user may read
// View.Topic, and says ErrNotFound when not.
func (e *Engine) Job(ctx context.Context, id JobID) (View, error) {
	return e.g.Job(ctx, id)
}

// Jobs lists a topic's jobs: those that live, newest first, then those that have
// ended, last ended first, and then the children that have ended, in the same way. A
// page has at most 60 KiB, so it may have fewer jobs than Limit; where jobs are gone, or
// q's Filter wants none of the 5,000 that a page looks at, it may have none, and a Next all
// the same. Redis is held for 500 of them at a time. Errors to branch on: ErrInvalidTopic,
// ErrInvalid, ErrInvalidJobID, ErrUnreachable.
func (e *Engine) Jobs(ctx context.Context, topic Topic, q JobsQuery) (JobsPage, error) {
	return e.st.Jobs(ctx, topic, q)
}

// QueueName is the name that asynq knows a queue by. asynq's keys are not under the
// namespace, so in any but the default one the queue's name carries it; otherwise
// installations that share a Redis would take each other's tasks.
func (e *Engine) QueueName(queue string) string {
	return e.rt.QueueName(queue)
}
