// Package rescue takes over what a dead process held. A Sweep claims the jobs of workers that have
// fallen silent; Dequeues watches tasks that asynq has handed out and that no worker starts. Both
// observe silence and do not compute it from clocks; package worker's page says how.
package rescue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
	"github.com/tidemark-dev/tidemark/worker/internal/silence"
)

// Options say how long a run may be silent, and how a Sweep claims its job. All fields are
// required. Their bounds are those of worker.Options.
type Options struct {
	Engine *engine.Engine
	// Adopted limits the sweep to adopted jobs. The settings of workers decide about the others.
	Adopted bool
	// Holds reports whether the caller itself runs an attempt. It may be called concurrently.
	Holds func(job engine.JobID, attempt int) bool

	Lease             time.Duration
	HeartbeatInterval time.Duration
	// Interval is the time between two sweeps while jobs run.
	Interval time.Duration
	// PerSecond bounds how many jobs the sweep claims.
	PerSecond float64
	// CrashLimit is how many lost workers in a row end a job that they ran alone.
	CrashLimit int
	Logger     *slog.Logger
}

// A Sweep reads the heartbeats of all shards, and claims the jobs of silent runs. Its methods may
// be called concurrently.
type Sweep struct {
	opts    Options
	runtime *runtime.Runtime
	limit   *rate.Limiter
}

// NewSweep makes a Sweep.
func NewSweep(o Options) *Sweep {
	return &Sweep{
		opts: o, runtime: runtime.Of(o.Engine),
		limit: rate.NewLimiter(rate.Limit(o.PerSecond), max(1, int(o.PerSecond))),
	}
}

// Run sweeps until ctx ends.
func (s *Sweep) Run(ctx context.Context) {
	h := silence.New(s.opts.Lease, s.opts.HeartbeatInterval)
	for backoff.Sleep(ctx, h.Wait(s.opts.Interval)) {
		began := time.Now()
		beats, err := s.read(ctx, h.Since(began))
		if err != nil {
			h.Failed()
			continue
		}
		ended := time.Now()
		silent, gap := h.Read(beats, began, ended)
		if gap > 0 {
			s.opts.Logger.Warn("the sweep of heartbeats was held up; this worker notices silent workers later", "for", gap, "lease", s.opts.Lease)
		}
		for job, beat := range silent {
			// The next sweep claims the rest, so that readings stay close together.
			if ctx.Err() != nil || time.Since(ended) > s.opts.Interval {
				break
			}
			if err := s.Claim(ctx, job, beat); err != nil {
				// A Redis that has no memory or no answer for a claim has none for heartbeats
				// either, so the runs may be alive.
				h.Failed()
				break
			}
		}
		s.tryWrites(ctx, h)
	}
}

// tryWrites tries whether the shards whose heartbeats are in doubt take writes.
func (s *Sweep) tryWrites(ctx context.Context, h *silence.Watch) {
	shards := h.Doubted()
	if len(shards) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Lease/2)
	defer cancel()
	for i, err := range s.runtime.TryWrites(ctx, shards) {
		h.Wrote(shards[i], err == nil, time.Now())
	}
}

// read reads which runs are silent, and then which Redis answered, so that a change of the server
// between the last reading and this one shows. On a Cluster, a node that does not answer leaves
// time for the next reading to come within half a lease.
func (s *Sweep) read(ctx context.Context, since []uint64) ([]runtime.Beats, error) {
	e, most := s.runtime, s.opts.Lease/2
	if e.Cluster() {
		most = s.opts.Lease / 8
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

// Claim claims a silent run's job if its last heartbeat is still beat, and dispatches the next
// attempt. It fails the job if its workers were lost too often. asynq brings an adopted job's next
// attempt. Claim returns an error if Redis did not take the claim, and nil if the job did not.
func (s *Sweep) Claim(ctx context.Context, job engine.JobID, beat string) error {
	e, log := s.runtime, s.opts.Logger.With("job", job)
	a, err := e.Current(ctx, job)
	switch {
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrEnded), err == nil && a.State != engine.Running:
		return unanswered(e.Tidy(ctx, job)) // an entry that its run has left
	case err != nil:
		return unanswered(err) // the next sweep finds it again
	case s.opts.Holds(job, a.Attempt):
		return nil // this process runs it, so it lives: its heartbeats are late
	case s.opts.Adopted && !a.Adopted():
		return nil // a worker claims it
	case !s.limit.Allow():
		return nil // a later sweep claims it
	}
	// asynq counts the crashes of adopted jobs: each costs their task a retry. Another job of the
	// process may have caused the first crashes of this one; after those it ran alone.
	if alone := a.Crashes + 1 - runtime.SuspectAfter; alone >= s.opts.CrashLimit && !a.Adopted() {
		err = e.Abandon(ctx, job, beat, engine.JobError{
			Code: engine.CodeWorkerLost, Message: fmt.Sprintf("the worker was lost %d times in a row while it ran this job alone, without a checkpoint between", alone),
		})
		if err == nil {
			log.Error("the job lost its worker too often and has failed", "attempt", a.Attempt, "crashes", a.Crashes+1, "alone", alone)
		}
		return unanswered(err)
	}
	next, err := e.Stall(ctx, job, beat)
	switch {
	case runtime.Stale(err):
		return nil // the run lives, or another worker has claimed the job
	case err != nil:
		log.Warn("cannot claim a silent worker's job; the next sweep tries again", "error", err)
		return unanswered(err)
	case !next.Waiting:
		return nil // a cancel was under way, and has ended the job
	}
	if next.Adopted() {
		log.Warn("an adopted job's worker fell silent; the next attempt begins when asynq has noticed too", "attempt", next.Attempt, "queue", next.Task.Queue, "task", next.Task.ID)
		return nil
	}
	log.Warn("a job's worker fell silent; the next attempt goes to the rescue queue", "attempt", next.Attempt, "crashes", next.Crashes)
	if err := e.Dispatch(ctx, next, runtime.RescueQueue(next.Queue)); err != nil {
		log.Warn("cannot dispatch the next attempt; a reconciler does so later", "attempt", next.Attempt, "error", err)
	}
	return nil
}

// unanswered returns err if Redis did not take a claim, and nil if the job did not.
func unanswered(err error) error {
	if backoff.Passing(err) {
		return err
	}
	return nil
}
