package worker

import (
	"sync"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A crew is the runs of one owner, a Worker or an Adopter, with what keeps them alive and
// watches over those of others: heartbeats, the sweep and the reconciler. Its methods may
// be called concurrently; its loops are the owner's to start and to end.
type crew struct {
	opts    Options
	runtime *runtime.Runtime
	// adopting: it sees to adopted jobs alone. The others are workers', whose settings
	// decide about them.
	adopting bool
	pulse    *pulse // of all runs; fixed before the first one
	gate     *gate

	roll    sync.Mutex
	runs    map[*Run]struct{}
	leaving bool
}

func newCrew(o Options, adopting bool) crew {
	return crew{opts: o, runtime: runtime.Of(o.Engine), adopting: adopting, gate: door, runs: map[*Run]struct{}{}}
}

// register makes a run one that heartbeats and drains know.
func (c *crew) register(r *Run) {
	c.roll.Lock()
	c.runs[r] = struct{}{}
	late := c.leaving
	c.roll.Unlock()
	if late {
		r.end(ErrDraining)
	}
}

func (c *crew) forget(r *Run) {
	c.roll.Lock()
	delete(c.runs, r)
	c.roll.Unlock()
}

// present are the runs of the moment.
func (c *crew) present() []*Run {
	c.roll.Lock()
	defer c.roll.Unlock()
	all := make([]*Run, 0, len(c.runs))
	for r := range c.runs {
		all = append(all, r)
	}
	return all
}

// holds tells whether an attempt is one of the runs of the moment.
func (c *crew) holds(job engine.JobID, attempt int) bool {
	c.roll.Lock()
	defer c.roll.Unlock()
	for r := range c.runs {
		if r.job == job && r.Attempt() == attempt {
			return true
		}
	}
	return false
}

// leave tells all runs to return, also those that are registered from here on.
func (c *crew) leave() {
	c.roll.Lock()
	c.leaving = true
	c.roll.Unlock()
	for _, r := range c.present() {
		r.end(ErrDraining)
	}
}
