package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Cancel asks a job to stop. One that no worker has yet ends at once, also while its
// input arrives, it is paused, or its children have not ended; a running one is told
// with its next heartbeat and ends when its handler has returned. Its children are
// canceled with it, of many of them the most after the call has returned. The request is kept in Redis: it reaches the job also while no
// worker is up. Canceling twice is no error. Errors to branch on: ErrNotFound,
// ErrEnded, ErrUnreachable, and ErrUnreplicated, with which the request stands.
func (e *Engine) Cancel(ctx context.Context, id JobID) error { return e.cancel(ctx, id, -1) }

func (e *Engine) cancel(ctx context.Context, id JobID, attempt int) error {
	a, r, err := e.control(ctx, id, JobCanceling, attempt)
	if err == nil && a.Waiting && !a.Adopted() {
		e.withdraw(a)
	}
	if err = cmp.Or(err, r.standing); err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	return nil
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
	a, r, err := e.control(ctx, id, JobPausing, -1)
	if errors.Is(err, ErrState) && !a.Adopted() {
		err = fmt.Errorf("%w, and will not go on; try it again once it has ended", err)
	}
	if err == nil && a.Waiting {
		err = e.putAside(ctx, a)
	}
	if err = cmp.Or(err, r.standing); err != nil {
		return fmt.Errorf("pause job %s: %w", id, err)
	}
	return nil
}

// putAside takes a paused attempt's task out of asynq. Where the job was resumed meanwhile
// that may have been the task that Resume has made, which nobody is to take for one that
// somebody deleted: it is made again, whether or not the caller still waits.
func (e *Engine) putAside(ctx context.Context, a Attempt) error {
	e.withdraw(a)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.CommitTimeout)
	defer cancel()
	return e.handOnIfWaiting(ctx, a.Job)
}

// Resume lets a paused job go on from its last checkpoint, at once, and its paused
// children with it. One that was asked to pause and has not yet is not asked any more,
// or is queued again as soon as its handler has returned. Resuming a job that is not
// paused is no error. Errors to branch on: ErrNotFound, ErrEnded, ErrUnreachable, and
// ErrUnreplicated, with which the request stands.
func (e *Engine) Resume(ctx context.Context, id JobID) error {
	_, r, err := e.control(ctx, id, JobResumed, -1)
	if err == nil {
		err = e.handOnIfWaiting(ctx, id)
	}
	if err = cmp.Or(err, r.standing); err != nil {
		return fmt.Errorf("resume job %s: %w", id, err)
	}
	return nil
}

// control asks something of a job, and returns where it stood before, and the answer.
func (e *Engine) control(ctx context.Context, id JobID, kind RecordType, attempt int) (a Attempt, r result, err error) {
	if _, err := ParseJobID(string(id)); err != nil {
		return a, r, err
	}
	if a, err = e.Current(ctx, id); err != nil {
		return a, r, err
	}
	o := operation{kind: kind, topic: a.Topic, job: id, key: newKey(), attempt: attempt}
	switch {
	case a.Adopted() && kind == JobPausing:
		return a, r, fmt.Errorf("%w: it is adopted, and asynq would try its task again instead of letting it rest; cancel it, or pause asynq's queue %s", ErrState, excerpt.Of(a.Queue, 80))
	case a.Adopted() && kind == JobCanceling && a.Waiting:
		// Before the job's end, so that a task that asynq has just handed out is known to be
		// the job's, and not a new one of that name.
		gone, err := e.takeAway(a.Task)
		if err == nil && !gone {
			err = e.Tie(ctx, a.Task, id)
		}
		if err != nil {
			return a, r, err
		}
	}
	err = e.patiently(ctx, func() (err error) {
		r, err = e.operate(ctx, o)
		return err
	})
	return a, r, err
}
