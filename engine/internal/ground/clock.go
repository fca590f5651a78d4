package ground

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClock says that Redis's clock has jumped, and that nothing is done by it until it has
// kept its new course for a while, or is back on the old one.
var ErrClock = errors.New("the clock of Redis has jumped")

const (
	// clockTolerance is by how much Redis's clock may differ from where this process expects
	// it and count as on its course: clocks are adjusted, and answers take time.
	clockTolerance = 5 * time.Second
	// clockPatience is how long a clock that jumped must keep its new course before deadlines
	// are judged by it.
	clockPatience = time.Minute
	// clockFresh is how old a reading may be for a time that is computed from it.
	clockFresh = 10 * time.Second
)

// A Clock follows Redis's on this process's monotonic clock. Redis's may be wrong for a
// moment, by a mistake of its machine's or by a failover to another; the monotonic one runs
// on, and shows it. What Redis said first is taken as right.
type Clock struct {
	mu    sync.Mutex
	epoch time.Time // of the monotonic clock
	known bool
	last  time.Time // of the last reading
	// course is Redis's time at the epoch, as a duration since 1970.
	course time.Duration
	// other is the course since a jump, whose first reading was at the time given; zero
	// since: there was none.
	other time.Duration
	since time.Time
}

func newClock() *Clock { return &Clock{epoch: time.Now()} }

// near tells whether two courses are the same, where answers take so long.
func near(a, b, took time.Duration) bool { return (a - b).Abs() <= clockTolerance+took }

// look takes a reading of Redis's clock, from an answer that was waited for between two
// moments.
func (c *Clock) Look(now, began, ended time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	course, took := time.Duration(now.UnixNano())-ended.Sub(c.epoch), ended.Sub(began)
	c.last = ended
	switch {
	case !c.known || near(course, c.course, took):
		c.known, c.course, c.since = true, course, time.Time{}
	case c.since.IsZero() || !near(course, c.other, took):
		c.other, c.since = course, began
	default:
		c.other = course
	}
}

// steady is ErrClock while Redis's clock has jumped and not kept its course for so long.
func (c *Clock) Steady(patience time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return nil
	}
	if time.Since(c.since) >= patience {
		c.course, c.since = c.other, time.Time{}
		return nil
	}
	by, word := (c.other - c.course).Round(time.Second), "ahead"
	if by < 0 {
		by, word = -by, "back"
	}
	return fmt.Errorf("%w: it went %s by %s; what goes by it waits until that has lasted for %s, or is over", ErrClock, word, by, patience)
}

// Now is Redis's clock, by which all times are that records show: as this process last read
// it, with its own monotonic clock for the time since. Workers read it every few seconds. No
// call to Redis is made.
func (g *Ground) Now() time.Time {
	c := g.Clock
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.known:
		return time.Now()
	case c.since.IsZero():
		return time.Unix(0, int64(c.course+time.Since(c.epoch)))
	}
	return time.Unix(0, int64(c.other+time.Since(c.epoch)))
}

// Past tells whether a time has passed by Redis's clock, where that has not just jumped.
func (g *Ground) Past(t time.Time) bool {
	return g.Clock.Steady(clockPatience) == nil && !g.Now().Before(t)
}

// readNow is Now for a process that may not have read Redis's clock for long: it may have
// been suspended since, and its monotonic clock with it.
func (g *Ground) ReadNow(ctx context.Context) time.Time {
	began := time.Now()
	g.Clock.mu.Lock()
	fresh := g.Clock.known && began.Sub(g.Clock.last) < clockFresh && began.Round(0).Sub(g.Clock.last.Round(0)).Abs() < clockFresh
	g.Clock.mu.Unlock()
	if !fresh {
		if now, err := g.Redis.Time(ctx).Result(); err == nil { // otherwise the commit that follows says what is wrong
			g.Clock.Look(now, began, time.Now())
		}
	}
	return g.Now()
}
