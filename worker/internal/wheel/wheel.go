// Package wheel is a timing wheel: it lets many runs tick at common moments.
package wheel

import (
	"sync"
	"time"
)

// A Wheel has the ticks of many runs go to Redis together. Time is
// cut into slots, a run that has something to tell waits in the slot that is due a
// TickInterval after its last tick, and all runs of a slot tick in one go.
//
// Its owner makes one for all of its runs with New, and stops it when they have
// ended. It has no goroutine while nothing is due, and no timer while no member waits.
// Methods may be called concurrently, and while the caller holds its own lock: the
// wheel calls no member under its.
type Wheel struct {
	grain    time.Duration // a slot's length
	interval int64         // slots between two ticks of a run
	together func(submit func())
	began    time.Time // of slot 0

	mu      sync.Mutex
	wheel   [][]Ticker // who waits, by slot modulo length
	passed  int64      // the slot up to which the wheel is empty
	due     []Ticker   // those of slots that have passed, in order
	spare   []Ticker   // the array of the beat before
	timer   *time.Timer
	armed   int64 // the slot that timer is set for; 0: it is not
	beating bool
	stopped bool

	running sync.WaitGroup // a timer that is set, or what it calls
}

// A Ticker is who waits in a slot. Tick must not block, and may add again.
type Ticker interface{ Tick() }

// Slots of an interval, and the least that one lasts: shorter ones would leave too few
// runs in each.
const (
	slots    = 10
	minGrain = 5 * time.Millisecond
)

// New makes a wheel for ticks an interval apart. together calls what submits them,
// so that they travel as one; it is the engine's.
func New(interval time.Duration, together func(submit func())) *Wheel {
	p := &Wheel{grain: max(interval/slots, minGrain), together: together, began: time.Now()}
	p.interval = int64((interval + p.grain - 1) / p.grain)
	p.wheel = make([][]Ticker, p.interval+1)
	return p
}

// Now is the slot of the moment.
func (p *Wheel) Now() int64 { return int64(time.Since(p.began) / p.grain) }

// Add has t.Tick called once: in the slot that is an interval after last, t's last
// one, or in the next one if that has passed. Two ticks are an interval apart, give or
// take what is left of a slot. After Stop it does nothing.
func (p *Wheel) Add(t Ticker, last int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	now := p.Now()
	p.advance(now)
	slot := max(now+1, last+p.interval)
	cell := &p.wheel[slot%int64(len(p.wheel))]
	*cell = append(*cell, t)
	if p.beating {
		return // its end looks for the next slot
	}
	switch {
	case p.armed == 0:
		p.set(slot)
	case slot < p.armed && p.timer.Stop():
		// One that has fired already finds the slot by itself.
		p.running.Done()
		p.set(slot)
	}
}

// advance empties the slots up to now into due, so that the wheel never holds two slots
// in one place, however late the timer is.
func (p *Wheel) advance(now int64) {
	for s := max(p.passed+1, now-int64(len(p.wheel))+1); s <= now; s++ {
		cell := &p.wheel[s%int64(len(p.wheel))]
		p.due = append(p.due, *cell...)
		clear(*cell)
		*cell = (*cell)[:0]
	}
	p.passed = max(p.passed, now)
}

// set sets the timer for a slot.
func (p *Wheel) set(slot int64) {
	p.armed = slot
	p.running.Add(1)
	d := time.Until(p.began.Add(time.Duration(slot) * p.grain))
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.beat)
		return
	}
	p.timer.Reset(d)
}

// beat lets all that are due tick, and sets the timer for the next slot in which
// anybody waits.
func (p *Wheel) beat() {
	defer p.running.Done()
	p.mu.Lock()
	p.armed = 0
	if p.stopped {
		p.mu.Unlock()
		return
	}
	p.advance(p.Now())
	due := p.due
	p.due, p.spare = p.spare, nil
	p.beating = true
	p.mu.Unlock()

	p.together(func() {
		for _, t := range due {
			t.Tick()
		}
	})

	clear(due)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare, p.beating = due[:0], false
	if p.stopped {
		return
	}
	if len(p.due) > 0 { // their slot passed meanwhile
		p.set(p.passed)
		return
	}
	for s := p.passed + 1; s <= p.passed+int64(len(p.wheel)); s++ {
		if len(p.wheel[s%int64(len(p.wheel))]) > 0 {
			p.set(s)
			return
		}
	}
}

// Stop forgets who waits, and returns when no member is called any more. It must not be
// called by Tick.
func (p *Wheel) Stop() {
	p.mu.Lock()
	p.stopped = true
	if p.armed != 0 && p.timer.Stop() {
		p.armed = 0
		p.running.Done()
	}
	p.wheel, p.due = nil, nil
	p.mu.Unlock()
	p.running.Wait()
}
