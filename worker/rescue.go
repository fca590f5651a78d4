package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark-dev/tidemark/engine"
)

// watch is what a sweeper has seen of other workers' runs. Silence is observed, not
// computed from anybody's clock: a beat counts as silent from when it was first read
// until it is read again unchanged, on this process's monotonic clock, and only
// while every read in between succeeded, in time, from the same Redis. After a
// restart or a freeze of Redis everybody alive has a whole lease to beat.
type watch struct {
	lease time.Duration
	seen  map[engine.JobID]sighting
	redis string    // the Redis behind
	last  time.Time // the last good read
}

type sighting struct {
	beat  string
	since time.Time
}

// failed forgets everything: between two reads anything may have happened.
func (h *watch) failed() { h.seen, h.last = nil, time.Time{} }

// read takes a reading that began and ended at the times given, and returns the jobs
// whose beat has not changed for a whole lease, with that beat.
func (h *watch) read(beats map[engine.JobID]string, redis string, began, ended time.Time) map[engine.JobID]string {
	if redis != h.redis || ended.Sub(h.last) > h.lease/2 {
		h.seen = nil
	}
	h.redis, h.last = redis, ended
	next := make(map[engine.JobID]sighting, len(beats))
	var silent map[engine.JobID]string
	for job, beat := range beats {
		s, known := h.seen[job]
		if !known || s.beat != beat {
			next[job] = sighting{beat, ended}
			continue
		}
		next[job] = s
		if began.Sub(s.since) >= h.lease {
			if silent == nil {
				silent = map[engine.JobID]string{}
			}
			silent[job] = beat
		}
	}
	h.seen = next // what is gone from Redis is gone from here
	return silent
}

// sweep claims the jobs of workers that have fallen silent.
func (w *Worker) sweep(ctx context.Context) {
	t := time.NewTicker(w.opts.SweepInterval)
	defer t.Stop()
	h := &watch{lease: w.opts.Lease}
	limit := rate.NewLimiter(rate.Limit(w.opts.RescuesPerSecond), max(1, int(w.opts.RescuesPerSecond)))
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		began := time.Now()
		beats, identity, err := w.readBeats(ctx)
		if err != nil {
			h.failed()
			continue
		}
		silent := h.read(beats, identity, began, time.Now())
		// A run of one's own is known to be alive: its beats are late, no more.
		for _, r := range w.present() {
			if strings.HasPrefix(silent[r.job], strconv.Itoa(r.Attempt())+".") {
				delete(silent, r.job)
			}
		}
		for job, beat := range silent {
			// The rest waits for the next sweep, so that reads stay close together.
			if ctx.Err() != nil || time.Since(began) > w.opts.SweepInterval {
				break
			}
			if err := w.rescue(ctx, job, beat, limit); err != nil {
				// A Redis that takes no claim takes no heartbeats either, for want of
				// memory or an answer: what looked like silence may have been that.
				h.failed()
				break
			}
		}
	}
}

// readBeats reads all heartbeats, and then which Redis they are from: a change
// between this reading and the last one shows.
func (w *Worker) readBeats(ctx context.Context) (map[engine.JobID]string, string, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.Lease/2)
	defer cancel()
	beats, err := w.opts.Engine.Beats(ctx)
	if err != nil || len(beats) == 0 {
		return nil, "", err
	}
	identity, err := w.opts.Engine.Identity(ctx)
	return beats, identity, err
}

// rescue claims a silent run's job and hands its next attempt to asynq, unless its
// workers were lost too often. Its error says that Redis did not take the claim.
func (w *Worker) rescue(ctx context.Context, job engine.JobID, beat string, limit *rate.Limiter) error {
	e, log := w.opts.Engine, w.opts.Logger.With("job", job)
	a, err := e.Current(ctx, job)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return refusedClaim(e.Forget(ctx, job))
	case err != nil:
		return refusedClaim(err) // it has ended, or the next sweep finds it again
	case !limit.Allow():
		return nil // a later sweep's
	}
	if a.Crashes+1 >= w.opts.CrashLimit {
		err = e.Abandon(ctx, job, beat, engine.JobError{
			Code: codeLost, Message: fmt.Sprintf("the worker was lost %d times in a row, without a checkpoint between", a.Crashes+1),
		})
		if err == nil {
			log.Error("the job lost its worker too often and has failed", "attempt", a.Attempt, "crashes", a.Crashes+1)
		}
		return refusedClaim(err)
	}
	next, err := e.Stall(ctx, job, beat)
	switch {
	case stale(err):
		return nil // it lives, or another worker was first
	case err != nil:
		log.Warn("a silent worker's job could not be claimed; the next sweep tries again", "error", err)
		return refusedClaim(err)
	case !next.Waiting:
		return nil // it was being canceled, and has ended
	}
	log.Warn("the job's worker fell silent; its next attempt is on its way", "attempt", next.Attempt, "crashes", next.Crashes)
	if err := w.opts.Engine.Dispatch(ctx, next, engine.RescueQueue(next.Queue)); err != nil {
		log.Warn("the next attempt is not yet handed to asynq; a reconciler will do it", "error", err)
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
