package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
	"github.com/tidemark-dev/tidemark/worker/internal/silence"
)

// sweep claims the jobs of workers that have fallen silent.
func (c *supervisor) sweep(ctx context.Context) {
	h := silence.New(c.opts.Lease, c.opts.HeartbeatInterval)
	limit := rate.NewLimiter(rate.Limit(c.opts.RescuesPerSecond), max(1, int(c.opts.RescuesPerSecond)))
	for backoff.Sleep(ctx, h.Wait(c.opts.SweepInterval)) {
		began := time.Now()
		beats, err := c.readBeats(ctx, h.Since(began))
		if err != nil {
			h.Failed()
			continue
		}
		ended := time.Now()
		silent, gap := h.Read(beats, began, ended)
		if gap > 0 {
			c.opts.Logger.Warn("the sweep of heartbeats was held up; silent workers are noticed later", "for", gap, "lease", c.opts.Lease)
		}
		for job, beat := range silent {
			// The rest waits for the next sweep, so that reads stay close together.
			if ctx.Err() != nil || time.Since(ended) > c.opts.SweepInterval {
				break
			}
			if err := c.rescue(ctx, job, beat, limit); err != nil {
				// A Redis that takes no claim takes no heartbeats either, for want of
				// memory or an answer: what looked like silence may have been that.
				h.Failed()
				break
			}
		}
		c.tryWrites(ctx, h)
	}
}

// tryWrites finds out whether the shards of beats in doubt take writes.
func (c *supervisor) tryWrites(ctx context.Context, h *silence.Watch) {
	shards := h.Doubted()
	if len(shards) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Lease/2)
	defer cancel()
	for i, err := range c.runtime.TryWrites(ctx, shards) {
		h.Wrote(shards[i], err == nil, time.Now())
	}
}

// readBeats reads who is silent, and then which Redis told it: a change between this
// reading and the last one shows. On a Cluster a node that keeps it waiting leaves time for
// the next reading to come within half a lease.
func (c *supervisor) readBeats(ctx context.Context, since []uint64) ([]runtime.Beats, error) {
	e, most := c.runtime, c.opts.Lease/2
	if e.Cluster() {
		most = c.opts.Lease / 8
	}
	reading, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	beats, err := e.Silent(reading, since)
	if err == nil && slices.ContainsFunc(beats, func(b runtime.Beats) bool { return b.Oldest > 0 }) {
		asking, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		e.Identities(asking, beats)
	}
	if err == nil && !slices.ContainsFunc(beats, func(b runtime.Beats) bool { return b.Err == nil }) {
		err = beats[0].Err
	}
	return beats, err
}

// rescue claims a silent run's job and hands its next attempt to asynq, unless its
// workers were lost too often. Who runs an adopted job next is asynq's business. Its error says that Redis did not take the claim.
func (c *supervisor) rescue(ctx context.Context, job engine.JobID, beat string, limit *rate.Limiter) error {
	e, log := c.runtime, c.opts.Logger.With("job", job)
	a, err := e.Current(ctx, job)
	switch {
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrEnded), err == nil && a.State != engine.Running:
		return refusedClaim(e.Tidy(ctx, job)) // what it left behind
	case err != nil:
		return refusedClaim(err) // the next sweep finds it again
	case c.holds(job, a.Attempt):
		return nil // a run of one's own is known to be alive: its beats are late, no more
	case c.adopting && !a.Adopted():
		return nil // a worker's
	case !limit.Allow():
		return nil // a later sweep's
	}
	// Of adopted jobs asynq counts the crashes: each costs its task a retry.
	// The first crashes may be a neighbour's; from then on it ran alone.
	if alone := a.Crashes + 1 - runtime.SuspectAfter; alone >= c.opts.CrashLimit && !a.Adopted() {
		err = e.Abandon(ctx, job, beat, engine.JobError{
			Code: engine.CodeWorkerLost, Message: fmt.Sprintf("the worker was lost %d times in a row while it ran this job alone, without a checkpoint between", alone),
		})
		if err == nil {
			log.Error("the job lost its worker too often and has failed", "attempt", a.Attempt, "crashes", a.Crashes+1, "alone", alone)
		}
		return refusedClaim(err)
	}
	next, err := e.Stall(ctx, job, beat)
	switch {
	case runtime.Stale(err):
		return nil // it lives, or another worker was first
	case err != nil:
		log.Warn("a silent worker's job could not be claimed; the next sweep tries again", "error", err)
		return refusedClaim(err)
	case !next.Waiting:
		return nil // it was being canceled, and has ended
	}
	if next.Adopted() {
		log.Warn("the worker of an adopted job fell silent; the next attempt begins when asynq has noticed too", "attempt", next.Attempt, "queue", next.Task.Queue, "task", next.Task.ID)
		return nil
	}
	log.Warn("the job's worker fell silent; its next attempt is on its way", "attempt", next.Attempt, "crashes", next.Crashes)
	if err := c.runtime.Dispatch(ctx, next, runtime.RescueQueue(next.Queue)); err != nil {
		log.Warn("cannot hand the next attempt to asynq; a reconciler does so later", "error", err)
	}
	return nil
}

// refusedClaim is err if Redis did not take the claim, not if the job did not.
func refusedClaim(err error) error {
	if errors.Is(err, engine.ErrOutOfMemory) || errors.Is(err, engine.ErrUnreachable) {
		return err
	}
	return nil
}
