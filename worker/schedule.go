package worker

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// tickJitter spreads the workers over a tick: the first of them makes its job, and those
// that come later mostly find it seen to.
const tickJitter = 25 * time.Millisecond

// scheduleRetry is the wait after a Redis that did not answer, or an interval if that is
// shorter.
const scheduleRetry = time.Second

// schedule sees to the ticks of schedules until the intake ends. Every worker does, and
// the engine keeps them from making a tick's job twice. While Redis is away nothing is
// noted as seen to, so that nothing is lost by it.
func (w *Worker) schedule(ctx context.Context) {
	c := &calendar{w: w, warned: map[string]string{}}
	away := false
	for {
		wait, err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			w.opts.Logger.Warn("schedules cannot be seen to; their ticks wait", "error", err)
		case err == nil && away:
			w.opts.Logger.Info("schedules are seen to again")
		}
		if away = err != nil; away {
			wait = min(scheduleRetry, w.opts.ScheduleInterval)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// calendar is when which schedule is to be seen to, by the process's monotonic clock.
type calendar struct {
	w       *Worker
	entries []*entry
	// expires is when the schedules are to be read again.
	expires time.Time
	// warned has what was last complained about of each schedule.
	warned map[string]string
}

type entry struct {
	schedule engine.Scheduled
	due      time.Time // zero: not before the schedules are read again
}

// round reads the schedules when they are to be read again, sees to what is due, and
// says when there is something to do again. Its error is of Redis, not of a schedule.
func (c *calendar) round(ctx context.Context) (time.Duration, error) {
	if !time.Now().Before(c.expires) {
		if err := c.read(ctx); err != nil {
			return 0, err
		}
	}
	// In an order of this worker's own, so that not all begin with the same.
	rand.Shuffle(len(c.entries), func(i, j int) { c.entries[i], c.entries[j] = c.entries[j], c.entries[i] })
	slices.SortStableFunc(c.entries, func(a, b *entry) int { return cmp.Compare(a.due.UnixMilli(), b.due.UnixMilli()) })
	next := c.expires
	for _, e := range c.entries {
		if !e.due.IsZero() && !e.due.After(time.Now()) {
			if err := c.fire(ctx, e); err != nil {
				return 0, err
			}
		}
		if !e.due.IsZero() && e.due.Before(next) {
			next = e.due
		}
	}
	return max(0, time.Until(next)) + rand.N(tickJitter), nil
}

func (c *calendar) read(ctx context.Context) error {
	o := &c.w.opts
	agenda, err := c.w.runtime.AllSchedules(ctx, o.Schedules)
	if err != nil {
		return err
	}
	now := time.Now()
	c.expires = now.Add(o.ScheduleInterval)
	c.entries = c.entries[:0]
	warned := map[string]string{}
	for _, s := range agenda.Schedules {
		if text, was := c.warned[title(s)]; was {
			warned[title(s)] = text
		}
		e := &entry{schedule: s}
		switch {
		case errors.Is(s.Err, engine.ErrAhead):
			e.due = now // which mends it
		case !s.NextAt.IsZero():
			e.due = now.Add(s.NextAt.Sub(agenda.Now))
		}
		c.entries = append(c.entries, e)
	}
	c.warned = warned // without those that are gone
	for _, e := range c.entries {
		if e.schedule.Err != nil && !errors.Is(e.schedule.Err, engine.ErrAhead) { // what another is warned of holds until it has fired
			c.complain(e.schedule, e.schedule.Err)
		}
	}
	return nil
}

// fire sees to one schedule.
func (c *calendar) fire(ctx context.Context, e *entry) error {
	began := time.Now()
	fired, err := c.w.runtime.Fire(ctx, e.schedule, c.w.opts.ScheduleGrace)
	switch {
	case ctx.Err() != nil, errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrOutOfMemory), errors.Is(err, engine.ErrClosed),
		errors.Is(err, runtime.ErrClock):
		return err
	case err != nil:
		// Its own trouble: the others are seen to all the same.
		c.complain(e.schedule, err)
		e.due = time.Time{}
		return nil
	}
	c.complain(e.schedule, fired.Held)
	if !fired.Mended.IsZero() {
		c.w.opts.Logger.Warn("ticks of a schedule had been seen to up to a time that is still to come, since Redis's clock was ahead; it goes on from now",
			"schedule", e.schedule.Name, "topic", e.schedule.Topic, "up_to", fired.Mended)
	}
	if fired.Passed > 0 {
		c.w.opts.Logger.Warn("ticks of a schedule were missed and have no job", "schedule", e.schedule.Name,
			"topic", e.schedule.Topic, "missed", fired.Passed)
	}
	e.due = time.Time{}
	if fired.Wait >= 0 {
		e.due = began.Add(fired.Wait)
	}
	return nil
}

// complain logs what is wrong with a schedule, once.
func (c *calendar) complain(s engine.Scheduled, err error) {
	if err == nil {
		if s.Err == nil {
			delete(c.warned, title(s))
		}
		return
	}
	if c.warned[title(s)] != err.Error() {
		c.warned[title(s)] = err.Error()
		if errors.Is(err, engine.ErrLimit) {
			c.w.opts.Logger.Warn("a schedule's ticks are skipped", "schedule", s.Name, "topic", s.Topic, "error", err)
			return
		}
		c.w.opts.Logger.Error("a schedule does not tick", "schedule", s.Name, "topic", s.Topic, "error", err)
	}
}

func title(s engine.Scheduled) string { return string(s.Topic) + "|" + s.Name }
