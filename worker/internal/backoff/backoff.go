// Package backoff waits: between the attempts of a job, and for a Redis that is away.
package backoff

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// Wait returns the wait before retry n, counted from 0: least doubled n times, at most most. Its
// upper half is random, so that jobs that failed together do not return together.
func Wait(n int, least, most time.Duration) time.Duration {
	d := most
	if n < 62 && least <= most>>n {
		d = least << n
	}
	return d/2 + rand.N(d/2+1)
}

// Bounds of the wait before a call of Redis is repeated.
const (
	resendMin = 50 * time.Millisecond
	resendMax = 2 * time.Second
)

// Resend returns the wait before a call that Redis did not answer is repeated. n counts the
// repetitions from 0.
func Resend(n int) time.Duration { return Wait(n, resendMin, resendMax) }

// Passing reports whether err may go away by waiting: Redis is away or has no memory left.
func Passing(err error) bool {
	return errors.Is(err, engine.ErrUnreachable) || errors.Is(err, engine.ErrOutOfMemory)
}

// Persist calls do until it returns nil or an error that does not pass, or until ctx ends. It
// returns do's last error.
func Persist(ctx context.Context, log *slog.Logger, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		if err == nil || !Passing(err) || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, engine.ErrOutOfMemory) {
			log.Error("Redis is out of memory; waiting for it to take writes again", "error", err)
		}
		if !Sleep(ctx, Resend(n)) {
			return err
		}
	}
}

// Sleep waits for d. It returns false if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
