package worker

import (
	"context"
	"sync"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
	"github.com/tidemark-dev/tidemark/worker/internal/gate"
	"github.com/tidemark-dev/tidemark/worker/internal/reconcile"
	"github.com/tidemark-dev/tidemark/worker/internal/rescue"
	"github.com/tidemark-dev/tidemark/worker/internal/wheel"
)

// A supervisor holds the runs of one owner, a Worker or an Adopter. It sends their heartbeats,
// claims the jobs of other workers that fell silent, and compares live jobs with asynq. Its
// methods may be called concurrently. The owner starts and ends its loops.
type supervisor struct {
	opts    Options
	runtime *runtime.Runtime
	// adopting limits sweep and reconciler to adopted jobs. The settings of workers decide about the
	// others.
	adopting bool
	wheel    *wheel.Wheel // of all runs; fixed before the first one
	gate     *gate.Gate
	metrics  *metrics
	// eager has each run report every change at once, and find a checkpoint due whenever it asks:
	// in tests of handlers.
	eager bool

	roll    sync.Mutex
	runs    map[*Run]struct{}
	leaving bool
}

func newSupervisor(o Options, adopting bool, m *metrics) supervisor {
	return supervisor{opts: o, runtime: runtime.Of(o.Engine), adopting: adopting, gate: gate.Process, metrics: m, runs: map[*Run]struct{}{}}
}

// register adds a run to those that heartbeats and drains reach.
func (c *supervisor) register(r *Run) {
	c.roll.Lock()
	c.runs[r] = struct{}{}
	c.metrics.running.WithLabelValues(r.jobType).Inc()
	late := c.leaving
	c.roll.Unlock()
	if late {
		r.end(ErrDraining)
	}
}

// sweep makes the sweep that claims the jobs of silent runs.
func (c *supervisor) sweep() *rescue.Sweep {
	return rescue.NewSweep(rescue.Options{
		Engine: c.opts.Engine, Adopted: c.adopting, Holds: c.holds,
		Lease: c.opts.Lease, HeartbeatInterval: c.opts.HeartbeatInterval, Interval: c.opts.SweepInterval,
		PerSecond: c.opts.RescuesPerSecond, CrashLimit: c.opts.CrashLimit, Logger: c.opts.Logger,
	})
}

// reconciler makes the reconciler that compares live jobs with asynq.
func (c *supervisor) reconciler() *reconcile.Reconciler {
	return reconcile.New(reconcile.Options{
		Engine: c.opts.Engine, Adopted: c.adopting, Interval: c.opts.ReconcileInterval,
		UnknownTypeWait: c.opts.UnknownTypeWait, Logger: c.opts.Logger,
	})
}

// persist calls do again until Redis is there and has memory; see backoff.Persist.
func (c *supervisor) persist(ctx context.Context, do func() error) error {
	return backoff.Persist(ctx, c.opts.Logger, do)
}

func (c *supervisor) forget(r *Run) {
	c.roll.Lock()
	delete(c.runs, r)
	c.metrics.running.WithLabelValues(r.jobType).Dec()
	c.roll.Unlock()
}

// present returns the runs that there are now.
func (c *supervisor) present() []*Run {
	c.roll.Lock()
	defer c.roll.Unlock()
	all := make([]*Run, 0, len(c.runs))
	for r := range c.runs {
		all = append(all, r)
	}
	return all
}

// holds reports whether there is a run of the attempt now.
func (c *supervisor) holds(job engine.JobID, attempt int) bool {
	c.roll.Lock()
	defer c.roll.Unlock()
	for r := range c.runs {
		if r.job == job && r.Attempt() == attempt {
			return true
		}
	}
	return false
}

// leave ends the contexts of all runs, also of those that are registered later.
func (c *supervisor) leave() {
	c.roll.Lock()
	c.leaving = true
	c.roll.Unlock()
	for _, r := range c.present() {
		r.end(ErrDraining)
	}
}
