// Package reconcile walks over the live jobs of all shards, in rounds that the workers share, and
// mends what no other part of a worker notices.
//
// It compares waiting jobs with asynq:
//
//	asynq never got the task: its producer died before             dispatched
//	the task is gone, and only a deletion explains it              job.canceled, "task_deleted"
//	an admin archived the task                                     job.failed, "task_archived"
//	asynq gave the task up, or its whole queue is gone,
//	or Redis may have lost the attempt's outcome                   job.queued, "task_lost", dispatched
//
// A failover or a restart of Redis may lose that an attempt began, or ended, while its worker
// continues, ends the run and acknowledges the task. The task's absence alone then looks like a
// deletion. So the reconciler concludes a deletion only on the history of Redis on which the attempt
// began to wait, which is older than its task: see runtime.Attempt.History. On Redis Cluster, where asynq's node and the job's
// may lose writes apart from each other, it concludes none.
//
// In the same walk it ends waiting jobs whose deadline has passed, children whose parent has ended,
// and receiving jobs whose receiver is lost. A running job without a heartbeat gets one, so that
// sweeps watch it.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// Options say which jobs a Reconciler looks at, and how often. All fields are required.
type Options struct {
	Engine *engine.Engine
	// Adopted limits it to adopted jobs. The settings of workers decide about the others.
	Adopted bool
	// Interval is the time between two passes.
	Interval time.Duration
	// UnknownTypeWait is how long a parked job waits for a worker that knows its type.
	UnknownTypeWait time.Duration
	Logger          *slog.Logger
}

// A Reconciler makes passes, one at a time. Its methods may not be called concurrently.
type Reconciler struct {
	opts    Options
	runtime *runtime.Runtime

	walk     *runtime.Walk
	suspects map[engine.JobID]suspect
	history  string                // the history of Redis that it stored last
	tended   map[engine.JobID]bool // the parents whose children this pass has updated
}

// New makes a Reconciler.
func New(o Options) *Reconciler {
	who := "w"
	if o.Adopted {
		who = "a" // it looks at fewer jobs, so its rounds are its own
	}
	e := runtime.Of(o.Engine)
	return &Reconciler{
		opts: o, runtime: e, walk: e.Walk(who, o.Interval*3/4), // passes do not come on time
		suspects: map[engine.JobID]suspect{}, tended: map[engine.JobID]bool{},
	}
}

// Run makes a pass each Interval until ctx ends. It begins a pass up to a tenth of the interval
// early, at random, so that workers that started together do not all look at once.
func (r *Reconciler) Run(ctx context.Context) {
	for next := time.Now(); ; {
		d := r.opts.Interval
		if next = next.Add(d - d/10 + rand.N(d/10+1)); next.Before(time.Now()) {
			next = time.Now() // the last pass took longer
		}
		if !backoff.Sleep(ctx, time.Until(next)) {
			return
		}
		if err := r.Pass(ctx); err != nil && ctx.Err() == nil {
			r.opts.Logger.Debug("the reconciler ended a pass early", "error", err)
		}
	}
}

// Pass ends jobs whose deadline has passed, looks at the suspects, and continues the round until
// that is over or an interval has passed. It looks at jobs whose task is gone a second time before
// it concludes anything. Its error joins those for which it left jobs out.
func (r *Reconciler) Pass(ctx context.Context) error {
	until := time.Now().Add(r.opts.Interval)
	clear(r.tended)
	var gone []engine.JobID
	var problem error
	look := func(jobs []engine.JobID, again bool) error {
		found, err := r.lookAt(ctx, jobs, again)
		gone = append(gone, found...)
		return err
	}
	for _, part := range []func() error{
		func() error { return r.keepHistory(ctx) },
		func() error { return r.overdue(ctx, until) },
		func() error { return look(slices.Sorted(maps.Keys(r.suspects)), false) },
		func() error { return r.walkOn(ctx, until, func() bool { return len(gone) < goneMax }, look) },
		func() error {
			if len(gone) == 0 || !backoff.Sleep(ctx, settling) {
				return nil
			}
			return look(gone, true)
		},
	} {
		err := part()
		problem = errors.Join(problem, err)
		if r.ends(err) {
			if errors.Is(err, engine.ErrUnreachable) {
				clear(r.suspects) // no reconciler could have mended them meanwhile
			}
			break
		}
	}
	return problem
}

// ends reports whether an error ends a pass. On a Cluster it does not: it is one node's, and the
// pass continues with the jobs of the others.
func (r *Reconciler) ends(err error) bool { return err != nil && !r.runtime.Cluster() }

// passing returns err if it ends the pass. It logs an error that concerns one job, and the pass
// continues with the others.
func (r *Reconciler) passing(job engine.JobID, err error) error {
	switch {
	case err == nil, runtime.Stale(err):
		return nil
	case errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrOutOfMemory), errors.Is(err, engine.ErrClosed):
		return err
	}
	r.opts.Logger.Warn("the reconciler cannot check a job; it tries again in the next round", "job", job, "error", err)
	return nil
}

// keepHistory stores which history Redis has when that has changed. Attempts that asynq gets from
// then on name it.
func (r *Reconciler) keepHistory(ctx context.Context) error {
	history, err := r.runtime.History(ctx)
	if err != nil || history == "" || history == r.history {
		return err
	}
	if err := r.runtime.KeepHistory(ctx, history); err != nil {
		return err
	}
	r.history = history
	return nil
}

// deleted reports whether only a deletion explains that an attempt's task is gone. It asks Redis
// for its history after the caller has looked for the task, so the answer holds for that look.
func (r *Reconciler) deleted(ctx context.Context, a runtime.Attempt) (bool, error) {
	history, err := r.runtime.History(ctx)
	if err != nil || history == "" {
		return false, err
	}
	if history != a.History {
		r.history = "" // Redis may have lost what keepHistory stored
	}
	return history == a.History, nil
}
