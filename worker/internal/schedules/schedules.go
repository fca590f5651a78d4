// Package schedules makes the jobs of schedules when they tick.
package schedules

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// tickJitter spreads the workers over a tick: the first makes its job, and the others mostly find
// it made.
const tickJitter = 25 * time.Millisecond

// retryAfter is the wait after Redis did not answer, or an interval if that is shorter.
const retryAfter = time.Second

// Options say which schedules tick, and when.
type Options struct {
	Engine *engine.Engine
	// Schedules tick beside those that are stored in Redis.
	Schedules []engine.Schedule
	// Interval is how often the stored ones are read.
	Interval time.Duration
	// Grace is how late a tick may be and still have its job in any case.
	Grace  time.Duration
	Logger *slog.Logger
}

// Run makes the jobs of ticks until ctx ends. Every worker does, and the engine makes one job a
// tick. While Redis is away no tick is marked as handled, so none is lost by it.
func Run(ctx context.Context, o Options) {
	c := &calendar{opts: o, warned: map[string]string{}}
	away := false
	for {
		wait, err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			o.Logger.Warn("cannot read schedules; their ticks are delayed", "error", err)
		case err == nil && away:
			o.Logger.Info("schedules can be read again")
		}
		if away = err != nil; away {
			wait = min(retryAfter, o.Interval)
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

// A calendar holds when each schedule is due, by the process's monotonic clock.
type calendar struct {
	opts    Options
	entries []*entry
	// expires is when the schedules are read again.
	expires time.Time
	// warned is the last complaint about each schedule.
	warned map[string]string
}

type entry struct {
	schedule engine.Scheduled
	due      time.Time // zero: not before the schedules are read again
}

// round reads the schedules when that is due, makes the jobs of those that are due, and returns
// the time until the next. Its error is about Redis, not about a schedule.
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
	o := &c.opts
	agenda, err := runtime.Of(o.Engine).AllSchedules(ctx, o.Schedules)
	if err != nil {
		return err
	}
	now := time.Now()
	c.expires = now.Add(o.Interval)
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
	c.warned = warned // without those of deleted schedules
	for _, e := range c.entries {
		if e.schedule.Err != nil && !errors.Is(e.schedule.Err, engine.ErrAhead) { // what another is warned of holds until it has fired
			c.complain(e.schedule, e.schedule.Err)
		}
	}
	return nil
}

// fire makes the jobs of one schedule's ticks.
func (c *calendar) fire(ctx context.Context, e *entry) error {
	began := time.Now()
	fired, err := runtime.Of(c.opts.Engine).Fire(ctx, e.schedule, c.opts.Grace)
	switch {
	case ctx.Err() != nil, errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrOutOfMemory), errors.Is(err, engine.ErrClosed),
		errors.Is(err, runtime.ErrClock):
		return err
	case err != nil:
		// The error is about this schedule; the others go on.
		c.complain(e.schedule, err)
		e.due = time.Time{}
		return nil
	}
	c.complain(e.schedule, fired.Held)
	if !fired.Mended.IsZero() {
		c.opts.Logger.Warn("ticks of a schedule were handled up to a time in the future, since Redis's clock was ahead; it goes on from now",
			"schedule", e.schedule.Name, "topic", e.schedule.Topic, "up_to", fired.Mended)
	}
	if fired.Passed > 0 {
		c.opts.Logger.Warn("ticks of a schedule were missed and have no job", "schedule", e.schedule.Name,
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
			c.opts.Logger.Warn("a schedule's ticks are skipped", "schedule", s.Name, "topic", s.Topic, "error", err)
			return
		}
		c.opts.Logger.Error("a schedule does not tick", "schedule", s.Name, "topic", s.Topic, "error", err)
	}
}

func title(s engine.Scheduled) string { return string(s.Topic) + "|" + s.Name }
