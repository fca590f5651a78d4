package engine

import "context"

// Enqueue creates a job and hands it to asynq. Once Enqueue has returned without an error, the job
// is accepted and will reach an end, as long as Redis keeps its data: see docs/guarantees.md. After
// ErrUnreachable the job may or may not be accepted: with a Key, the caller can enqueue it again.
// Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrLimit, ErrNoDataset where the payload names a dataset
// that is being deleted, ErrUnreachable, ErrOutOfMemory, and ErrUnreplicated, with which Enqueue has created
// the job and returns it.
func (e *Engine) Enqueue(ctx context.Context, s Spec) (Enqueued, error) {
	return e.rt.Enqueue(ctx, s)
}

// Cancel asks a job to stop. A job that no worker runs ends at once, also while its input arrives,
// while it is paused, or while its children run. A running job's worker receives the request with
// its next heartbeat, and the job ends when its handler has returned. Cancel also cancels the job's
// children; of many, most are canceled after Cancel has returned. Redis keeps the request, so it
// reaches the job even if no worker is up now. Canceling twice is no error. Errors to branch on:
// ErrNotFound, ErrEnded, ErrUnreachable, and ErrUnreplicated, with which the request is stored.
func (e *Engine) Cancel(ctx context.Context, id JobID) error {
	return e.rt.Cancel(ctx, id)
}

// Pause asks a job to rest until Resume. A job that waits for a worker, or for its children, is
// Paused at once. A running job's worker receives the request with its next heartbeat; the job is
// Paused once its handler has checkpointed and returned, which frees the worker. The worker does
// not interrupt a handler that ignores the request, so the job may still end. A job whose input
// arrives goes on receiving, and is Paused then. Pause also pauses the job's children; of many,
// most are paused after Pause has returned. Pausing twice is no error. Errors to branch on:
// ErrNotFound, ErrEnded, ErrState for a job that is being canceled or is adopted, ErrUnreachable,
// and ErrUnreplicated, with which the request is stored.
func (e *Engine) Pause(ctx context.Context, id JobID) error {
	return e.rt.Pause(ctx, id)
}

// Resume lets a paused job go on from its last checkpoint, at once, and its paused children with
// it. For a job that was asked to pause but is not Paused yet, Resume withdraws the request, or the
// job is queued again as soon as its handler has returned. Resuming a job that is not paused is no
// error. Errors to branch on: ErrNotFound, ErrEnded, ErrUnreachable, and ErrUnreplicated, with
// which the request is stored.
func (e *Engine) Resume(ctx context.Context, id JobID) error {
	return e.rt.Resume(ctx, id)
}

// Artifacts returns the files that a job has written and closed, as its view lists them; none of a job
// without any. A gateway serves each under its ID. Errors to branch on: ErrNotFound, ErrInvalidJobID and
// ErrUnreachable.
func (e *Engine) Artifacts(ctx context.Context, id JobID) ([]Artifact, error) {
	v, err := e.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	j, err := v.Job()
	return j.Artifacts, err
}

// Retry tries an ended job again: it creates a new job, whose RetryOf is the old one, with the same
// type, payload, title, labels, queue and number of attempts, and without its deadline. Errors to
// branch on: ErrNotFound, ErrState for a job that has not ended, is adopted, or whose payload is no
// longer kept (Options.RetryFailed, RetrySucceeded), ErrInvalid for one whose input never arrived
// or was lost, ErrLimit, ErrUnreachable, ErrOutOfMemory, and ErrUnreplicated, with which Retry has
// created the job and returns it.
func (e *Engine) Retry(ctx context.Context, id JobID, q RetryQuery) (Enqueued, error) {
	return e.rt.Retry(ctx, id, q)
}

// Remove deletes an ended job and its children: what Redis keeps of them, their payloads and keys,
// and their tasks in asynq's archive. A record, JobRemoved, tells readers and consumers. Gateways
// delete the job's artifacts, and its upload once no other job and no schedule refers to it. Records
// that the topic's stream holds, and a retry's RetryOf, still name the job. Of many children, a call
// that is cut short has removed some, and not the job: repeat it. Errors to branch on:
// ErrNotFound, also once the job is removed; ErrState for a job that has not ended, for one with a
// child that has not, and for a child whose parent has not; ErrUnreachable, ErrOutOfMemory, and
// ErrUnreplicated, with which the job is removed.
func (e *Engine) Remove(ctx context.Context, id JobID) error {
	return e.rt.Remove(ctx, id)
}

// Job reads one job's view. Its error wraps ErrInvalidJobID, ErrNotFound or ErrUnreachable. Before
// a caller shows the view to a user, it must check that the user may read View.Topic, and answer
// ErrNotFound if not.
func (e *Engine) Job(ctx context.Context, id JobID) (View, error) {
	return e.g.Job(ctx, id)
}

// Jobs lists a topic's jobs: live jobs, newest first, then ended ones, last ended first, and then
// ended children, last ended first. A page has at most 60 KiB, so it may have fewer jobs than
// Limit. It may have no jobs and still a Next, where jobs have expired, or where q's Filter matches
// none of the 5,000 jobs that a page examines. One script call examines at most 500 of them. Errors
// to branch on: ErrInvalidTopic, ErrInvalid, ErrInvalidJobID, ErrUnreachable.
func (e *Engine) Jobs(ctx context.Context, topic Topic, q JobsQuery) (JobsPage, error) {
	return e.st.Jobs(ctx, topic, q)
}

// QueueName is asynq's name of a queue. asynq's keys are not under the namespace, so outside the
// default namespace the queue's name contains it. Otherwise installations that share a Redis would
// run each other's tasks.
func (e *Engine) QueueName(queue string) string {
	return e.rt.QueueName(queue)
}
