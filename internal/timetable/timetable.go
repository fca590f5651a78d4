// Package timetable reads cron expressions and says when they tick. The parser is
// robfig/cron's. The search for the next tick is ours, since the clocks of a place move.
package timetable

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// A Timetable says when a schedule ticks. It depends on the expression, the zone and the time
// alone, so all processes get the same ticks. It may be used concurrently.
type Timetable interface {
	// Next returns the first tick after t, on a whole second; the zero time when none comes
	// within five years.
	Next(t time.Time) time.Time
}

const cronForm = "want five fields (minute, hour, day of month, month, day of week), such as \"30 2 * * 1-5\", " +
	"or @hourly, @daily, @weekly, @monthly, @yearly, or @every with a duration, such as @every 30s"

var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Parse reads a cron expression whose times are those of the clocks of a zone, "" for UTC. Its
// error wraps option.ErrInvalid and names Cron or TimeZone.
func Parse(expression, zone string) (Timetable, error) {
	loc, err := loadZone(zone)
	if err != nil {
		return nil, err
	}
	refuse := func(why string) error {
		return fmt.Errorf("%w Cron %q: %s; %s", option.ErrInvalid, excerpt.Of(expression, 80), why, cronForm)
	}
	switch {
	case len(expression) > 256:
		return nil, refuse(fmt.Sprintf("it has %d bytes, at most 256", len(expression)))
	case strings.Contains(expression, "="):
		// The parser would take a zone here, and panic if nothing follows it.
		return nil, refuse("a zone goes into TimeZone")
	}
	if text, ok := strings.CutPrefix(expression, "@every "); ok {
		return parseEvery(strings.TrimSpace(text), refuse)
	}
	parsed, err := cronParser.Parse(weekdays(expression))
	if err != nil {
		return nil, refuse(err.Error())
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, refuse("not of that form")
	}
	w := wallClock{spec, loc}
	// The parser takes a lone comma for a field. Minutes that never come would be looked for in
	// each hour of the five years.
	if spec.Minute == 0 || spec.Hour == 0 || spec.Dom == 0 || spec.Month == 0 || spec.Dow == 0 {
		return nil, refuse("a field names no value")
	}
	if w.Next(time.Now()).IsZero() { // 30 February
		return nil, refuse("no such time comes within five years")
	}
	return w, nil
}

func loadZone(name string) (*time.Location, error) {
	const form = "want a name of the IANA database, such as Europe/Berlin, or UTC"
	if name == "" {
		return time.UTC, nil
	}
	// "Local" would be another zone in each process. A name is a path, and has one spelling
	// here: the zones that are kept are no more than there are.
	if name == "Local" || len(name) > 64 || path.Clean(name) != name {
		return nil, fmt.Errorf("%w TimeZone %q: %s", option.ErrInvalid, excerpt.Of(name, 80), form)
	}
	if loc, known := zones.Load(name); known {
		return loc.(*time.Location), nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%w TimeZone %q: %s", option.ErrInvalid, name, form)
	}
	zones.Store(name, loc)
	return loc, nil
}

// zones keeps what was loaded, which reads a file each time: a worker asks for that of every
// schedule every few seconds. There are a few hundred names.
var zones sync.Map

// every ticks at the multiples of a duration since 1970-01-01 UTC, so that processes
// agree on the ticks without having met.
type every struct{ seconds int64 }

func parseEvery(text string, refuse func(string) error) (Timetable, error) {
	const most = 366 * 24 * time.Hour
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return nil, refuse("no duration")
	case d < time.Second || d > most || d%time.Second != 0:
		return nil, refuse("want whole seconds, 1s to " + most.String())
	}
	return every{int64(d / time.Second)}, nil
}

func (e every) Next(t time.Time) time.Time {
	return time.Unix((t.Unix()/e.seconds+1)*e.seconds, 0).UTC()
}

// A skipper is a timetable that can count ticks without looking at each.
type skipper interface {
	skip(after, before time.Time) (time.Time, int)
}

// skip passes over ticks after a moment, but for the last MaxDue of those before another
// one, and says how many: of a year of seconds there are 31 million.
func (e every) skip(after, before time.Time) (time.Time, int) {
	n := before.Add(-1).Unix()/e.seconds - after.Unix()/e.seconds - MaxDue
	if n <= 0 {
		return after, 0
	}
	return after.Add(time.Duration(n*e.seconds) * time.Second), int(n)
}

// wallClock ticks when the clocks of a place show certain times. Where they are put
// forward or back, it depends on the field of the hour:
//
//   - "*" is every hour that passes: a skipped hour has no ticks, one that comes twice
//     has them twice.
//   - Anything else names hours of the day, and each tick comes once a day: one that is
//     skipped comes at the moment of the change, one that would come twice comes the
//     first time.
type wallClock struct {
	spec *cron.SpecSchedule
	loc  *time.Location
}

// starBit is how the parser marks a field that is "*".
const starBit = 1 << 63

func has(field uint64, value int) bool { return field&(1<<uint(value)) != 0 }

func (w wallClock) Next(t time.Time) time.Time {
	if w.spec.Hour&starBit != 0 {
		return w.nextPassing(t)
	}
	return w.nextNamed(t)
}

// onDay reports whether there are ticks on a day of the calendar. As in every cron, of
// a day of the month and a day of the week, both given, one is enough.
func (w wallClock) onDay(day time.Time) bool {
	ofMonth, ofWeek := has(w.spec.Dom, day.Day()), has(w.spec.Dow, int(day.Weekday()))
	if !has(w.spec.Month, int(day.Month())) {
		return false
	}
	if w.spec.Dom&starBit != 0 || w.spec.Dow&starBit != 0 {
		return ofMonth && ofWeek
	}
	return ofMonth || ofWeek
}

// horizon is where the search for the next tick ends.
func horizon(t time.Time) time.Time { return t.AddDate(5, 0, 0) }

// nextPassing walks through time, minute by minute at the finest.
func (w wallClock) nextPassing(t time.Time) time.Time {
	end := horizon(t)
	at := t.In(w.loc).Truncate(time.Minute).Add(time.Minute)
	for at.Before(end) {
		switch {
		case !w.onDay(at):
			tomorrow := time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, time.UTC)
			at = w.shown(tomorrow, 0, 0)
		case !has(w.spec.Minute, at.Minute()):
			at = at.Add(time.Minute)
		default:
			return at.UTC()
		}
	}
	return time.Time{}
}

// nextNamed walks through the calendar. Later times of the clock never come earlier,
// so that nothing before the time that t shows needs to be looked at.
func (w wallClock) nextNamed(t time.Time) time.Time {
	local, end := t.In(w.loc), horizon(t)
	hour, minute := local.Hour(), local.Minute()
	// Days of the calendar have no zone.
	day := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
	for ; day.Before(end); day = day.AddDate(0, 0, 1) {
		if w.onDay(day) {
			for ; hour < 24; hour, minute = hour+1, 0 {
				if !has(w.spec.Hour, hour) {
					continue
				}
				for ; minute < 60; minute++ {
					if !has(w.spec.Minute, minute) {
						continue
					}
					if at := w.shown(day, hour, minute); at.After(t) {
						return at.UTC()
					}
				}
			}
		}
		hour, minute = 0, 0
	}
	return time.Time{}
}

// shown is when the clocks of the place first show a time of a day, or, if they skip
// it, when they do.
func (w wallClock) shown(day time.Time, hour, minute int) time.Time {
	at := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, w.loc)
	from, to := at.ZoneBounds()
	want := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, time.UTC)
	_, offset := at.Zone()
	switch got := at.Add(time.Duration(offset) * time.Second).UTC(); {
	case got.Before(want):
		return to
	case got.After(want):
		return from
	case from.IsZero():
		return at
	}
	// The clocks may have shown it before they were put back.
	_, before := from.Add(-time.Second).Zone()
	if first := at.Add(time.Duration(offset-before) * time.Second); before > offset && first.Before(from) {
		return first
	}
	return at
}
