package ground

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClock says that Redis's clock has jumped. The engine does not act on it until it has kept its
// new course for a while, or is back on the old one.
var ErrClock = errors.New("the clock of Redis has jumped")

const (
	// clockTolerance is how far Redis's clock may be from where this process expects it: clocks are
	// adjusted, and answers take time.
	clockTolerance = 5 * time.Second
	// clockPatience is how long a clock that jumped must keep its new course before the engine
	// judges deadlines by it.
	clockPatience = time.Minute
	// clockFresh bounds the age of a reading from which Now computes a time.
	clockFresh = 10 * time.Second
)

// A Clock follows Redis's clock on this process's monotonic clock. Redis's clock may be wrong for a
// moment, by a fault of its machine or a failover to another; comparing it with the monotonic clock
// shows that. The Clock trusts the first reading.
type Clock struct {
	mu    sync.Mutex
	epoch time.Time // the zero of the monotonic clock
	known bool
	last  time.Time // the time of the last reading
	// course is Redis's time at the epoch, as a duration since 1970.
	course time.Duration
	// other is the course since a jump, and since the time of its first reading; since is zero if
	// there was no jump.
	other time.Duration
	since time.Time
}

func newClock() *Clock { return &Clock{epoch: time.Now()} }

// near reports whether two courses are the same, given that the answer took this long.
func near(a, b, took time.Duration) bool { return (a - b).Abs() <= clockTolerance+took }

// Look takes a reading of Redis's clock; the caller waited for it from began to ended.
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

// Steady returns ErrClock while Redis's clock has jumped and not kept its new course for patience.
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

// Now is Redis's time, which all times in records are: the last reading plus the time since on the
// monotonic clock. Workers take a reading every few seconds. Now makes no call to Redis.
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

// Past reports whether a time has passed by Redis's clock; false while the clock has just jumped.
func (g *Ground) Past(t time.Time) bool {
	return g.Clock.Steady(clockPatience) == nil && !g.Now().Before(t)
}

// ReadNow is Now for a process whose last reading may be old: the machine may have been suspended,
// and its monotonic clock with it.
func (g *Ground) ReadNow(ctx context.Context) time.Time {
	began := time.Now()
	g.Clock.mu.Lock()
	fresh := g.Clock.known && began.Sub(g.Clock.last) < clockFresh && began.Round(0).Sub(g.Clock.last.Round(0)).Abs() < clockFresh
	g.Clock.mu.Unlock()
	if !fresh {
		if now, err := g.Redis.Time(ctx).Result(); err == nil { // if it fails, the commit that follows reports the fault
			g.Clock.Look(now, began, time.Now())
		}
	}
	return g.Now()
}
