package upload

import (
	"context"
	"errors"
	"testing"
)

// paused is a job that is paused once it was asked a few times whether a checkpoint is due, which one is from then on.
type paused struct {
	*job
	ctx   context.Context //nolint:containedctx // the run's, whose end makes a checkpoint due
	after int
	pause func()
}

func (p *paused) CheckpointDue() bool {
	due := p.ctx.Err() != nil
	if p.asked++; p.asked == p.after {
		p.pause()
	}
	return due
}

// A paused or drained run keeps what it has read, although no checkpoint was due before.
func TestAnUploadCheckpointsWhereItIsPaused(t *testing.T) {
	t.Parallel()
	for store, bucket := range stores(t) {
		p := put(t, bucket, "orders", orders(1<<20))
		for after := range 10 { // at an end of what was read ahead, too
			why := errors.New("paused")
			ctx, cancel := context.WithCancelCause(t.Context())
			j := &paused{job: &job{t: t, id: jobID}, ctx: ctx, after: after + 1, pause: func() { cancel(why) }}
			if err := Run(ctx, j, bucket, p, Options{}); !errors.Is(err, why) || j.saved == nil {
				t.Errorf("%s, asked %d times: %v, and a checkpoint of %d bytes", store, after+1, err, len(j.saved))
			}
		}
	}
}
