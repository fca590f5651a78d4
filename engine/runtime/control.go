package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Cancel is that of engine.Engine.
func (rt *Runtime) Cancel(ctx context.Context, id wire.JobID) error { return rt.cancel(ctx, id, -1) }

func (rt *Runtime) cancel(ctx context.Context, id wire.JobID, attempt int) error {
	a, r, err := rt.control(ctx, id, wire.JobCanceling, attempt)
	if err == nil && a.Waiting && !a.Adopted() {
		rt.withdraw(a)
	}
	if err = cmp.Or(err, r.standing); err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	return nil
}

// Pause is that of engine.Engine.
func (rt *Runtime) Pause(ctx context.Context, id wire.JobID) error {
	a, r, err := rt.control(ctx, id, wire.JobPausing, -1)
	if errors.Is(err, wire.ErrState) && !a.Adopted() {
		err = fmt.Errorf("%w, and will not go on; try it again once it has ended", err)
	}
	if err == nil && a.Waiting {
		err = rt.putAside(ctx, a)
	}
	if err = cmp.Or(err, r.standing); err != nil {
		return fmt.Errorf("pause job %s: %w", id, err)
	}
	return nil
}

// putAside deletes a paused attempt's task from asynq. If the job was resumed meanwhile, the
// deleted task may be the one that Resume created. putAside then creates it again, even if the
// caller's ctx has ended, so that no reconciler takes it for a task deleted by a user.
func (rt *Runtime) putAside(ctx context.Context, a Attempt) error {
	rt.withdraw(a)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rt.g.Opts.CommitTimeout)
	defer cancel()
	return rt.handOnIfWaiting(ctx, a.Job)
}

// Resume is that of engine.Engine.
func (rt *Runtime) Resume(ctx context.Context, id wire.JobID) error {
	_, r, err := rt.control(ctx, id, wire.JobResumed, -1)
	if err == nil {
		err = rt.handOnIfWaiting(ctx, id)
	}
	if err = cmp.Or(err, r.standing); err != nil {
		return fmt.Errorf("resume job %s: %w", id, err)
	}
	return nil
}

// control requests something of a job, and returns the job's state before, and the script's answer.
func (rt *Runtime) control(ctx context.Context, id wire.JobID, kind wire.RecordType, attempt int) (a Attempt, r result, err error) {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return a, r, err
	}
	if a, err = rt.Current(ctx, id); err != nil {
		return a, r, err
	}
	o := operation{kind: kind, topic: a.Topic, job: id, key: ground.NewKey(), attempt: attempt}
	switch {
	case a.Adopted() && kind == wire.JobPausing:
		return a, r, fmt.Errorf("%w: it is adopted, and asynq would try its task again instead of letting it rest; cancel it, or pause asynq's queue %s", wire.ErrState, excerpt.Of(a.Queue, 80))
	case a.Adopted() && kind == wire.JobCanceling && a.Waiting:
		// This comes before the job's end. Otherwise a task that asynq has just started would look
		// like a new task of that name, and not like the job's.
		gone, err := rt.takeAway(a.Task)
		if err == nil && !gone {
			err = rt.Tie(ctx, a.Task, id)
		}
		if err != nil {
			return a, r, err
		}
	}
	err = rt.g.Patiently(ctx, func() (err error) {
		r, err = rt.operate(ctx, o)
		return err
	})
	return a, r, err
}
