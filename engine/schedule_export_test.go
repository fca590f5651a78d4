package engine

import "time"

// TicksAfter are the first n ticks of an expression after a time.
func TicksAfter(cron, zone string, after time.Time, n int) ([]time.Time, error) {
	t, err := parseTimetable(cron, zone)
	if err != nil {
		return nil, err
	}
	var ticks []time.Time
	for range n {
		after = t.next(after)
		ticks = append(ticks, after)
	}
	return ticks, nil
}

// Due is what a schedule that ticks like cron, in UTC, would do at now, and how many ticks it
// looks at for that.
func Due(cron string, after, now time.Time, p MissedPolicy, grace time.Duration) (ticks []time.Time, last time.Time, passed, asked int, err error) {
	t, err := parseTimetable(cron, "")
	if err != nil {
		return nil, time.Time{}, 0, 0, err
	}
	watched := asking{t, &asked}
	t = watched
	if often, ok := watched.timetable.(every); ok {
		t = askingEvery{watched, often}
	}
	r := due(t, after, now, p, grace)
	return r.ticks, r.last, r.passed, asked, nil
}

// asking counts how often a timetable is asked for its next tick.
type asking struct {
	timetable
	n *int
}

func (a asking) next(t time.Time) time.Time {
	*a.n++
	return a.timetable.next(t)
}

type askingEvery struct {
	asking
	skipper
}

// TicksKey is the hash in which the engine notes how far ticks were seen to.
func (e *Engine) TicksKey() string { return e.keys.ticks() }

// SchedulesKey is the hash of the schedules.
func (e *Engine) SchedulesKey() string { return e.keys.schedules() }

// TimesKey is the hash of when they tick.
func (e *Engine) TimesKey() string { return e.keys.times() }
