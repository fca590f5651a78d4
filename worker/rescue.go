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
// computed from anybody's clock: it is the time between good reads that this process,
// on its monotonic clock, has watched a beat stand still, and a claim needs a whole
// lease of it.
//
// Good reads follow each other closely. What lies between them is watched time, and
// whoever is alive beats in it: beats are at most half a lease apart. There are two
// ways for it to be otherwise.
//
//   - A read failed, or another Redis answered: nobody knows what happened to beats, so
//     all is forgotten, and everybody alive has a whole lease.
//   - Two good reads are more than half a lease apart, a gap. Either this process was
//     held up and all others went on, or Redis was, or all of them were: from here they
//     look alike. So a gap is no silence, but what was seen before it stays true, since
//     the same Redis answers.
//
// Is that enough for whoever is alive? With beats H apart, no more than H was watched of
// its silence before the gap, so L-H is left to watch. Where that is short, as with an H
// of half a lease, it is not long enough to tell, for the gap may have taken a beat with
// it. Hence the second condition: after a gap, the time of two beats and at least half a
// lease must be watched, without another gap. So whoever is alive has
// max(L-H, 2H, L/2) after Redis answers again, needs H, and has at least L/3 to spare.
// Whoever is dead is claimed after the lease and the gap, or max(2H, L/2) after the gap,
// whichever is later, where it used to be a whole lease after it.
//
// A Redis that answers reads may refuse writes: it is short of memory or of replicas, it
// cannot save, or it is a replica for a while. Then nobody beats. So once a beat has stood
// still for so long that only max(2H, L/2) of its lease is left, its shard must take a write
// of the sweeper's after each reading until the claim. A refusal begins the lease anew.
// With beats at most a third of a lease apart, nobody alive and able to write gets there, so
// it costs a write only where somebody is silent.
type watch struct {
	lease time.Duration
	beats time.Duration // between two of a worker's heartbeats

	seen    map[engine.JobID]sighting
	redis   string        // the Redis behind
	last    time.Time     // the last good read; zero: there is nothing to go on from
	watched time.Duration // in all, up to last
	settled time.Duration // the watched time at which claims may follow the last gap
}

// sighting is a beat, and the watched time at which it was first seen.
type sighting struct {
	beat  string
	since time.Duration
	// written is the watched time from which on its shard is known to take writes.
	// Zero: it is not known.
	written time.Duration
}

// enough is the least time for which a Redis must have been well before a claim.
func (h *watch) enough() time.Duration { return max(h.lease/2, 2*h.beats) }

// failed forgets everything: between two reads anything may have happened.
func (h *watch) failed() { h.seen, h.last = nil, time.Time{} }

// doubted are the jobs whose shards must take writes from now on, for a claim to follow.
func (h *watch) doubted() (jobs []engine.JobID) {
	for job, s := range h.seen {
		if h.watched-s.since >= h.lease-h.enough() {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// wrote notes whether the shard of a job took a write that was answered at a time.
func (h *watch) wrote(job engine.JobID, taken bool, at time.Time) {
	s := h.seen[job]
	now := h.watched + at.Sub(h.last)
	switch {
	case !taken:
		s.since, s.written = now, 0
	case s.written == 0:
		s.written = now
	}
	h.seen[job] = s
}

// read takes a reading that began and ended at the times given. It returns the jobs whose
// beat has not changed for a whole lease, with that beat, and how long the gap before
// the reading was, 0 if there was none.
func (h *watch) read(beats map[engine.JobID]string, redis string, began, ended time.Time) (silent map[engine.JobID]string, gap time.Duration) {
	apart := ended.Sub(h.last)
	switch {
	case h.last.IsZero() || redis != h.redis:
		h.seen, h.settled = nil, 0
		apart = 0
	case apart > h.lease/2:
		h.settled = h.watched + h.enough()
		apart, gap = 0, apart
	}
	h.redis, h.last = redis, ended
	h.watched += apart
	// What the answer says was so when the reading began, or later.
	sure := h.watched - ended.Sub(began)
	next := make(map[engine.JobID]sighting, len(beats))
	for job, beat := range beats {
		s, known := h.seen[job]
		if !known || s.beat != beat {
			next[job] = sighting{beat: beat, since: h.watched}
			continue
		}
		next[job] = s
		if sure-s.since >= h.lease && sure >= h.settled && s.written > 0 && sure-s.written >= h.enough() {
			if silent == nil {
				silent = map[engine.JobID]string{}
			}
			silent[job] = beat
		}
	}
	h.seen = next // what is gone from Redis is gone from here
	return silent, gap
}

// wait is how long after a reading the next one is due: an interval, or less where a
// beat comes into doubt before that, or a whole lease of silence may be seen, which a
// reading just too early would put off by an interval.
func (h *watch) wait(interval time.Duration) time.Duration {
	wait := interval
	for _, s := range h.seen {
		next := s.since + h.lease - h.enough()
		if s.written > 0 {
			next = max(s.since+h.lease, s.written+h.enough())
		}
		if left := next - h.watched; left > 0 {
			wait = min(wait, left)
		}
	}
	return max(wait, interval/4)
}

// sweep claims the jobs of workers that have fallen silent.
func (c *crew) sweep(ctx context.Context) {
	h := &watch{lease: c.opts.Lease, beats: c.opts.HeartbeatInterval}
	limit := rate.NewLimiter(rate.Limit(c.opts.RescuesPerSecond), max(1, int(c.opts.RescuesPerSecond)))
	for sleep(ctx, h.wait(c.opts.SweepInterval)) {
		began := time.Now()
		beats, identity, err := c.readBeats(ctx)
		if err != nil {
			h.failed()
			continue
		}
		silent, gap := h.read(beats, identity, began, time.Now())
		if gap > 0 {
			c.opts.Logger.Warn("the sweep of heartbeats was held up; silent workers are noticed later", "for", gap, "lease", c.opts.Lease)
		}
		// A run of one's own is known to be alive: its beats are late, no more.
		for _, r := range c.present() {
			if strings.HasPrefix(silent[r.job], strconv.Itoa(r.Attempt())+".") {
				delete(silent, r.job)
			}
		}
		for job, beat := range silent {
			// The rest waits for the next sweep, so that reads stay close together.
			if ctx.Err() != nil || time.Since(began) > c.opts.SweepInterval {
				break
			}
			if err := c.rescue(ctx, job, beat, limit); err != nil {
				// A Redis that takes no claim takes no heartbeats either, for want of
				// memory or an answer: what looked like silence may have been that.
				h.failed()
				break
			}
		}
		c.tryWrites(ctx, h)
	}
}

// tryWrites finds out whether the shards of beats in doubt take writes.
func (c *crew) tryWrites(ctx context.Context, h *watch) {
	jobs := h.doubted()
	if len(jobs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Lease/2)
	defer cancel()
	for i, err := range c.opts.Engine.TryWrites(ctx, jobs) {
		h.wrote(jobs[i], err == nil, time.Now())
	}
}

// readBeats reads all heartbeats, and then which Redis they are from: a change
// between this reading and the last one shows.
func (c *crew) readBeats(ctx context.Context) (map[engine.JobID]string, string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Lease/2)
	defer cancel()
	beats, err := c.opts.Engine.Beats(ctx)
	if err != nil || len(beats) == 0 {
		return nil, "", err
	}
	identity, err := c.opts.Engine.Identity(ctx)
	return beats, identity, err
}

// rescue claims a silent run's job and hands its next attempt to asynq, unless its
// workers were lost too often. Who runs an adopted job next is asynq's business. Its error says that Redis did not take the claim.
func (c *crew) rescue(ctx context.Context, job engine.JobID, beat string, limit *rate.Limiter) error {
	e, log := c.opts.Engine, c.opts.Logger.With("job", job)
	a, err := e.Current(ctx, job)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return refusedClaim(e.Forget(ctx, job))
	case err != nil:
		return refusedClaim(err) // it has ended, or the next sweep finds it again
	case c.adopting && !a.Adopted():
		return nil // a worker's
	case !limit.Allow():
		return nil // a later sweep's
	}
	// Of adopted jobs asynq counts the crashes: each costs its task a retry.
	if a.Crashes+1 >= c.opts.CrashLimit && !a.Adopted() {
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
	if next.Adopted() {
		log.Warn("the worker of an adopted job fell silent; the next attempt begins when asynq has noticed too", "attempt", next.Attempt, "queue", next.Task.Queue, "task", next.Task.ID)
		return nil
	}
	log.Warn("the job's worker fell silent; its next attempt is on its way", "attempt", next.Attempt, "crashes", next.Crashes)
	if err := c.opts.Engine.Dispatch(ctx, next, engine.RescueQueue(next.Queue)); err != nil {
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
