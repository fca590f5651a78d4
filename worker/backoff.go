package worker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// backoff is the wait before retry n, counted from 0: least doubled n times, at
// most most, of which the upper half is random, so that jobs that failed together
// do not return together.
func backoff(n int, least, most time.Duration) time.Duration {
	d := most
	if n < 62 && least <= most>>n {
		d = least << n
	}
	return d/2 + rand.N(d/2+1)
}

// Bounds of the wait before Redis is asked again.
const (
	resendMin = 50 * time.Millisecond
	resendMax = 2 * time.Second
)

// passing reports whether err may go away while one waits.
func passing(err error) bool {
	return errors.Is(err, engine.ErrUnreachable) || errors.Is(err, engine.ErrOutOfMemory)
}

// persist calls do until its error is not one that passes, or ctx ends.
func (c *supervisor) persist(ctx context.Context, do func() error) error {
	return persist(ctx, c.opts.Logger, do)
}

func (r *Run) persist(ctx context.Context, do func() error) error {
	return persist(ctx, r.out.logger, do)
}

func persist(ctx context.Context, log *slog.Logger, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, engine.ErrOutOfMemory) {
			log.Error("Redis is out of memory; waiting for it to take writes again", "error", err)
		}
		t := time.NewTimer(backoff(n, resendMin, resendMax))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}
