package timetable

import "time"

// TicksAfter are the first n ticks of an expression after a time.
func TicksAfter(cron, zone string, after time.Time, n int) ([]time.Time, error) {
	t, err := Parse(cron, zone)
	if err != nil {
		return nil, err
	}
	var ticks []time.Time
	for range n {
		after = t.Next(after)
		ticks = append(ticks, after)
	}
	return ticks, nil
}

// CountDue is Due for an expression in UTC, and how many ticks it looks at for that.
func CountDue(cron string, after, now time.Time, keep int, grace time.Duration) (ticks []time.Time, last time.Time, passed, asked int, err error) {
	t, err := Parse(cron, "")
	if err != nil {
		return nil, time.Time{}, 0, 0, err
	}
	watched := asking{t, &asked}
	t = watched
	if often, ok := watched.Timetable.(every); ok {
		t = askingEvery{watched, often}
	}
	r := Due(t, after, now, keep, grace)
	return r.Ticks, r.Last, r.Passed, asked, nil
}

// asking counts how often a timetable is asked for its next tick.
type asking struct {
	Timetable
	n *int
}

func (a asking) Next(t time.Time) time.Time {
	*a.n++
	return a.Timetable.Next(t)
}

type askingEvery struct {
	asking
	skipper
}
