package engine

import (
	"fmt"
	"time"
)

// A MissedPolicy says what becomes of the ticks for which no worker was there.
type MissedPolicy string

// The policies.
const (
	// MissedSkip passes over them.
	MissedSkip MissedPolicy = "skip"
	// MissedLatest makes one job for the newest of them. It is the default.
	MissedLatest MissedPolicy = "latest"
	// MissedAll makes a job for each, for the newest MaxMissed of them.
	MissedAll MissedPolicy = "all"
)

// MaxMissed is for how many missed ticks of a schedule MissedAll makes jobs at a time.
const MaxMissed = 100

// memory is how far back missed ticks are looked for.
const memory = 366 * 24 * time.Hour

func (p MissedPolicy) validate() error {
	switch p {
	case MissedSkip, MissedLatest, MissedAll:
		return nil
	}
	return fmt.Errorf("%w Missed %q: want %s, %s or %s", ErrInvalid, clip(string(p), 40), MissedSkip, MissedLatest, MissedAll)
}

// ripe are the ticks that a schedule has come to.
type ripe struct {
	// ticks are to become jobs, in this order.
	ticks []time.Time
	// last is the newest tick that was come to; zero if there was none.
	last time.Time
	// passed counts missed ticks that get no job.
	passed int
}

// due says which ticks after a moment are to become jobs at now. Those that are older
// than grace have been missed.
func due(t timetable, after, now time.Time, p MissedPolicy, grace time.Duration) ripe {
	var r ripe
	keep := map[MissedPolicy]int{MissedSkip: 0, MissedLatest: 1, MissedAll: MaxMissed}[p]
	if oldest := now.Add(-memory); after.Before(oldest) {
		after = oldest
	}
	missedBefore := now.Add(-grace)
	if often, ok := t.(skipper); ok {
		after, r.passed = often.skip(after, missedBefore)
	}
	for at := t.next(after); !at.IsZero() && !at.After(now); at = t.next(at) {
		r.last = at
		r.ticks = append(r.ticks, at)
		if at.Before(missedBefore) && len(r.ticks) > keep {
			r.ticks = r.ticks[1:]
			r.passed++
		}
	}
	return r
}
