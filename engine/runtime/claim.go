package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Stall claims a running attempt whose worker is silent. beat is its last heartbeat, from Silent;
// the claim holds only if there was none since. Stall raises the fence, so Redis refuses everything
// that the silent worker still sends, and makes the next attempt the present one. The caller
// dispatches the returned attempt, unless the job is adopted: asynq then starts its next try. A job
// that was being canceled ends instead, and Waiting is false. Errors to branch on: ErrSuperseded
// (the attempt is alive, or another caller claimed it), ErrEnded, ErrNotFound, ErrUnreachable;
// after the last, read the heartbeats again.
func (rt *Runtime) Stall(ctx context.Context, id wire.JobID, beat string) (Attempt, error) {
	return rt.claim(ctx, id, beat, nil)
}

// Abandon is Stall for a job that lost its worker too often: the job fails, or is canceled if that
// was requested.
func (rt *Runtime) Abandon(ctx context.Context, id wire.JobID, beat string, why wire.JobError) error {
	_, err := rt.claim(ctx, id, beat, &why)
	return err
}

func (rt *Runtime) claim(ctx context.Context, id wire.JobID, beat string, end *wire.JobError) (Attempt, error) {
	a, err := rt.Current(ctx, id)
	if err != nil {
		return Attempt{}, err
	}
	o := stalling(a)
	o.beat = cmp.Or(beat, "0") // which none has
	if end != nil {
		r := Report{Type: wire.JobFailed, Error: end}
		o.kind, o.outcome = wire.JobFailed, string(r.outcome())
	}
	if _, err := rt.operate(ctx, o); err != nil {
		return Attempt{}, fmt.Errorf("claim job %s from its silent worker: %w", id, err)
	}
	return rt.after(ctx, a)
}

// stalling raises the fence over a running attempt.
func stalling(a Attempt) operation {
	return operation{kind: wire.JobStalled, topic: a.Topic, job: a.Job, key: ground.NewKey(), attempt: a.Attempt, fields: []any{"ra", 0}}
}

// after is where a job stands that was at a; it does not wait once it has ended.
func (rt *Runtime) after(ctx context.Context, a Attempt) (Attempt, error) {
	next, err := rt.Current(ctx, a.Job)
	if errors.Is(err, wire.ErrEnded) || errors.Is(err, wire.ErrNotFound) {
		return Attempt{Job: a.Job, Topic: a.Topic}, nil
	}
	return next, err
}
