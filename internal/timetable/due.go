package timetable

import "time"

// MaxDue is the most missed ticks that Due keeps.
const MaxDue = 100

// memory is how far back missed ticks are looked for.
const memory = 366 * 24 * time.Hour

// Ripe are the ticks that a schedule has come to.
type Ripe struct {
	// Ticks are to become jobs, in this order.
	Ticks []time.Time
	// Last is the newest tick that was come to; zero if there was none.
	Last time.Time
	// Passed counts missed ticks that get no job.
	Passed int
}

// Due says which ticks after a moment are to become jobs at now. Those that are older than
// grace were missed: of these the newest are kept, at most keep and MaxDue.
func Due(t Timetable, after, now time.Time, keep int, grace time.Duration) Ripe {
	var r Ripe
	if oldest := now.Add(-memory); after.Before(oldest) {
		after = oldest
	}
	missedBefore := now.Add(-grace)
	if often, ok := t.(skipper); ok {
		after, r.Passed = often.skip(after, missedBefore)
	}
	for at := t.Next(after); !at.IsZero() && !at.After(now); at = t.Next(at) {
		r.Last = at
		r.Ticks = append(r.Ticks, at)
		if at.Before(missedBefore) && len(r.Ticks) > keep {
			r.Ticks = r.Ticks[1:]
			r.Passed++
		}
	}
	return r
}
