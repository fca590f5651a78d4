// Package gate lets the handlers of a process run beside each other, or one of them alone.
package gate

import (
	"context"
	"sync"
	"time"
)

// A Gate lets handlers run beside each other, or one of them alone. A job that has lost its
// worker twice may be what kills the process, and the others' workers with it; alone it harms
// no other job, and a crash then is its own. All workers of a process share a gate.
//
// A suspect waits until the others have ended, and nothing else begins meanwhile. That is
// bounded: what runs for longer than the gate's patience sends the suspect away, which goes
// back to its queue, where another process may take it. The gate then rests for nine times as
// long, so that waiting in vain costs the others a tenth of their time, and its patience
// doubles, up to an hour, so that a suspect finds a moment in which nothing runs.
type Gate struct {
	mu       sync.Mutex
	inside   int           // handlers that run
	taken    bool          // one of them runs alone, or a suspect waits for them
	changed  chan struct{} // closed and replaced with each change
	patience time.Duration
	rest     time.Time // no suspect is waited for before
}

const (
	minPatience = 10 * time.Second
	maxPatience = time.Hour
	restTimes   = 9
)

// New makes a gate of its own, as tests want it.
func New() *Gate { return &Gate{changed: make(chan struct{}), patience: minPatience} }

// Process is the gate of the process.
var Process = New()

// change makes a change under the lock and wakes those who wait for one.
func (g *Gate) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
	close(g.changed)
	g.changed = make(chan struct{})
}

// when waits until take, which is called under the lock, has taken what it wants. It reports
// false when ctx ended first.
func (g *Gate) when(ctx context.Context, take func() bool) bool {
	for {
		g.mu.Lock()
		taken, changed := ctx.Err() == nil && take(), g.changed
		g.mu.Unlock()
		if taken {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Enter begins a handler beside others; it waits for one that runs alone.
func (g *Gate) Enter(ctx context.Context) (*Seat, bool) {
	ok := g.when(ctx, func() bool {
		if !g.taken {
			g.inside++
		}
		return !g.taken
	})
	return &Seat{gate: g}, ok
}

// Join begins a handler that does not wait.
func (g *Gate) Join() *Seat {
	g.change(func() { g.inside++ })
	return &Seat{gate: g}
}

// Alone begins a handler beside none. It reports false when ctx ended first, or when others
// run for too long.
func (g *Gate) Alone(ctx context.Context) (*Seat, bool) {
	claimed, patience := false, time.Duration(0)
	g.when(ctx, func() bool {
		if g.taken {
			return false // another suspect is first
		}
		if claimed = g.inside == 0 || !time.Now().Before(g.rest); claimed {
			g.taken, patience = true, g.patience
		}
		return true
	})
	if !claimed {
		return nil, false
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if g.when(waiting, func() bool { return g.inside == 0 }) {
		g.change(func() { g.inside, g.patience = g.inside+1, minPatience })
		return &Seat{gate: g, alone: true}, true
	}
	g.change(func() {
		g.taken = false
		if ctx.Err() == nil {
			g.rest, g.patience = time.Now().Add(restTimes*patience), min(2*patience, maxPatience)
		}
	})
	return nil, false
}

// A Seat is one handler's place in a gate.
type Seat struct {
	gate  *Gate
	alone bool // under gate.mu, once the handler runs
	left  bool // under gate.mu
}

// IsAlone reports whether the handler runs beside none.
func (s *Seat) IsAlone() bool {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	return s.alone
}

// Share lets others run beside the handler from here on.
func (s *Seat) Share() {
	s.gate.change(func() {
		if s.alone {
			s.alone, s.gate.taken = false, false
		}
	})
}

// Leave ends the handler.
func (s *Seat) Leave() {
	s.Share()
	s.gate.change(func() {
		if !s.left {
			s.left = true
			s.gate.inside--
		}
	})
}
