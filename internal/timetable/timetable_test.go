package timetable_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/internal/timetable"
)

const stamp = "2006-01-02 15:04"

func TestTicks(t *testing.T) {
	for _, c := range []struct{ cron, zone, after, want string }{
		{"*/15 * * * *", "", "2026-11-26 21:16", "2026-11-26 21:30, 2026-11-26 21:45, 2026-11-26 22:00"},
		{"0 9-10 * * 1-5", "UTC", "2026-11-27 09:30", "2026-11-27 10:00, 2026-11-30 09:00, 2026-11-30 10:00"}, // a Friday
		{"30 2 1 jan,jul *", "", "2026-11-26 00:00", "2027-01-01 02:30, 2027-07-01 02:30"},
		{"0 0 29 2 *", "", "2026-11-26 00:00", "2028-02-29 00:00, 2032-02-29 00:00"},
		{"0 12 13 * fri", "", "2026-11-10 00:00", "2026-11-13 12:00, 2026-11-20 12:00"}, // of both, one is enough
		{"@hourly", "", "2026-11-26 21:00", "2026-11-26 22:00, 2026-11-26 23:00"},
		{"@daily", "Asia/Kolkata", "2026-11-26 00:00", "2026-11-26 18:30, 2026-11-27 18:30"},
		{"@weekly", "America/New_York", "2026-11-26 00:00", "2026-11-29 05:00"},
		{"@every 90m", "Asia/Kolkata", "2026-11-26 00:01", "2026-11-26 01:30, 2026-11-26 03:00"}, // of 1970, in UTC
	} {
		want := strings.Split(c.want, ", ")
		if got := ticks(t, c.cron, c.zone, c.after, time.UTC, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s in %q after %s: %v, want %v", c.cron, c.zone, c.after, got, want)
		}
	}
}

// Sunday is 0 and 7, and both "sun", wherever a day of the week stands.
func TestSundayIsZeroAndSeven(t *testing.T) {
	for _, c := range []struct{ field, days string }{
		{"0", "sun"},
		{"7", "sun"},
		{"sun", "sun"},
		{"5-7", "fri sat sun"},
		{"fri-sun", "fri sat sun"},
		{"Fri-7", "fri sat sun"},
		{"1,7", "mon sun"},
		{"3,6-7", "wed sat sun"},
		{"1-7", "mon tue wed thu fri sat sun"},
		{"0-7", "mon tue wed thu fri sat sun"},
		{"0-7/2", "tue thu sat sun"},
		{"1-7/3", "mon thu sun"},
		{"5-7/2", "fri sun"},
		{"7/2", "sun"},
		{"sun-tue", "mon tue sun"},
		{"*/7", "sun"},
	} {
		// From the Sunday at the end of November 2026, midday: a week later all have ticked.
		found, err := timetable.TicksAfter("0 12 * * "+c.field, "UTC", time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), 8)
		if err != nil {
			t.Errorf("%s: %v", c.field, err)
			continue
		}
		var days []string
		for _, at := range found {
			if !at.After(time.Date(2026, 12, 6, 12, 0, 0, 0, time.UTC)) {
				days = append(days, strings.ToLower(at.Weekday().String()[:3]))
			}
		}
		if got := strings.Join(days, " "); got != c.days {
			t.Errorf("%s ticks on %s, want %s", c.field, got, c.days)
		}
	}
	for _, field := range []string{"8", "5-8", "7-2", "-7", "7-", "07", "0-7/0", "7-7-7", "6-5"} {
		if _, err := timetable.TicksAfter("0 12 * * "+field, "UTC", time.Now(), 1); !errors.Is(err, option.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", field, err)
		}
	}
}

// ticks are the first n after a time, which like them is of a place.
func ticks(t *testing.T, cron, zone, after string, place *time.Location, n int) []string {
	t.Helper()
	from, err := time.ParseInLocation(stamp, after, place)
	if err != nil {
		t.Fatal(err)
	}
	found, err := timetable.TicksAfter(cron, zone, from, n)
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, n)
	for i, at := range found {
		texts[i] = at.In(place).Format(stamp)
	}
	return texts
}

// Berlin's clocks skip 02:00 to 03:00 on 29 March 2026, and show it twice on 25 October.
func TestTicksWhereClocksChange(t *testing.T) {
	for _, c := range []struct{ name, cron, zone, after, want string }{
		{"a skipped time comes at the change", "30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 01:00, 2026-03-30 00:30"},
		{"several skipped times are one tick", "*/20 2-3 29 3 *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 01:00, 2026-03-29 01:20, 2026-03-29 01:40"},
		{"a repeated time comes once", "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-25 00:30, 2026-10-26 01:30"},
		{"asked in the second of the two hours", "30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", "2026-10-26 01:30"},
		{"every hour that passes, over the skip", "30 * * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 00:30, 2026-03-29 01:30"},
		{"every hour that passes, over both", "30 * * * *", "Europe/Berlin", "2026-10-25 00:00", "2026-10-25 00:30, 2026-10-25 01:30, 2026-10-25 02:30"},
		{"a midnight that is skipped", "@daily", "America/Sao_Paulo", "2018-11-03 12:00", "2018-11-04 03:00, 2018-11-05 02:00"},
		{"half an hour that is skipped", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", "2026-10-03 15:30, 2026-10-04 15:15"},
		{"a day that is skipped", "0 9 * * *", "Pacific/Apia", "2011-12-29 00:00", "2011-12-29 19:00, 2011-12-30 10:00, 2011-12-30 19:00"},
	} {
		want := strings.Split(c.want, ", ")
		if got := ticks(t, c.cron, c.zone, c.after, time.UTC, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: %s in %s after %s: %v, want %v", c.name, c.cron, c.zone, c.after, got, want)
		}
	}
}

// The same promise, held against a clock that is watched minute by minute.
func TestTicksAgainstAWatchedClock(t *testing.T) {
	zones := []string{
		"Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "Atlantic/Azores", "Africa/Cairo",
		"Australia/Lord_Howe", "Pacific/Apia", "Asia/Beirut", "UTC",
	}
	rapid.Check(t, func(rt *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(rt, "zone")
		loc, err := time.LoadLocation(zone)
		if err != nil {
			rt.Fatal(err)
		}
		// A moment near some change of the clocks.
		from := time.Unix(rapid.Int64Range(1262304000, 1798761600).Draw(rt, "around"), 0).In(loc)
		if _, change := from.ZoneBounds(); !change.IsZero() {
			from = change
		}
		from = from.Add(-time.Duration(rapid.IntRange(0, 30*3600).Draw(rt, "before")) * time.Second)
		minute := rapid.SampledFrom([]string{"*", "*/20", "0", "30", "5,59"}).Draw(rt, "minute")
		hour := rapid.SampledFrom([]string{"*", "*/2", "0", "0-3", "2", "23", "1,12"}).Draw(rt, "hour")
		weekday := rapid.SampledFrom([]string{"*", "0", "1-5"}).Draw(rt, "weekday")
		cron := minute + " " + hour + " * * " + weekday

		to := from.Add(60 * time.Hour)
		want := watched(loc, minute, hour, weekday, from, to)
		got, err := timetable.TicksAfter(cron, zone, from, len(want)+1)
		if err != nil {
			rt.Fatal(err)
		}
		for i, at := range want {
			if !got[i].Equal(at) {
				rt.Fatalf("%s in %s after %s: tick %d is %s, want %s", cron, zone, from, i, got[i].In(loc), at.In(loc))
			}
		}
		if beyond := got[len(want)]; !beyond.After(to) {
			rt.Fatalf("%s in %s after %s: there is a tick too many, at %s", cron, zone, from, beyond.In(loc))
		}
	})
}

// watched are the ticks after from, up to to, that somebody would see who watches a
// clock of the place.
func watched(loc *time.Location, minute, hour, weekday string, from, to time.Time) []time.Time {
	// A clock's reading is kept as the same reading in UTC.
	reading := func(at time.Time) time.Time {
		at = at.In(loc)
		return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), 0, 0, time.UTC)
	}
	ticks := func(r time.Time) bool {
		return listed(minute, r.Minute()) && listed(hour, r.Hour()) && listed(weekday, int(r.Weekday()))
	}
	var all []time.Time
	at := from.Add(-72 * time.Hour).Truncate(time.Minute)
	shown := reading(at)
	for at = at.Add(time.Minute); !at.After(to); at = at.Add(time.Minute) {
		r, tick := reading(at), false
		if hour == "*" {
			tick = ticks(r)
		} else {
			// Readings that are new, those that were skipped among them.
			for ; shown.Before(r); tick = tick || ticks(shown) {
				shown = shown.Add(time.Minute)
			}
		}
		if tick && at.After(from) {
			all = append(all, at)
		}
	}
	return all
}

// listed reports whether a field of an expression has a value.
func listed(field string, value int) bool {
	for item := range strings.SplitSeq(field, ",") {
		if step, ok := strings.CutPrefix(item, "*/"); ok {
			n, _ := strconv.Atoi(step)
			if value%n == 0 {
				return true
			}
			continue
		}
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, _ := strconv.Atoi(first)
		to, _ := strconv.Atoi(last)
		if item == "*" || (value >= from && value <= to) {
			return true
		}
	}
	return false
}

func TestExpressionsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ cron, zone, want string }{
		{"", "", "invalid Cron"},
		{"* * * *", "", "invalid Cron"},
		{"0 * * * * *", "", "invalid Cron"}, // with seconds
		{"60 * * * *", "", "invalid Cron"},
		{", * * * *", "", "a field names no value"}, // without a search, which would take long
		{"* , * * *", "", "a field names no value"},
		{"* * , * *", "", "a field names no value"},
		{"* * * , *", "", "a field names no value"},
		{"* * * * ,", "", "a field names no value"},
		{"0 0 30 2 *", "", "no such time comes"},
		{"TZ=UTC", "", "a zone goes into TimeZone"},
		{"CRON_TZ=UTC * * * * *", "", "a zone goes into TimeZone"},
		{"@reboot", "", "invalid Cron"},
		{"@every", "", "invalid Cron"},
		{"@every soon", "", "no duration"},
		{"@every 500ms", "", "want whole seconds, 1s to "},
		{"@every 1500ms", "", "want whole seconds, 1s to "},
		{"@every 9000h", "", "want whole seconds, 1s to "},
		{"0 " + strings.Repeat("1,", 200) + "1 * * *", "", "at most 256"},
		{"@daily", "Local", "invalid TimeZone"},
		{"@daily", "CEST", "invalid TimeZone"},
		{"@daily", "../etc/passwd", "invalid TimeZone"},
		{"@daily", "Europe/./Berlin", "invalid TimeZone"},
		{"@daily", strings.Repeat("x", 65), "invalid TimeZone"},
	} {
		_, err := timetable.TicksAfter(c.cron, c.zone, time.Now(), 1)
		if !errors.Is(err, option.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q in %q: %v, want an ErrInvalid with %q", c.cron, c.zone, err, c.want)
		}
	}
}

func TestMissedTicks(t *testing.T) {
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	hours := func(from, to int) []time.Time { // ago, oldest first
		var all []time.Time
		for h := from; h >= to; h-- {
			all = append(all, ago(time.Duration(h)*time.Hour))
		}
		return all
	}
	seconds := func(from, to int) []time.Time {
		var all []time.Time
		for s := from; s >= to; s-- {
			all = append(all, ago(time.Duration(s)*time.Second))
		}
		return all
	}
	const hourly = "0 * * * *"
	for _, c := range []struct {
		name   string
		cron   string
		after  time.Time
		now    time.Time
		keep   int
		want   []time.Time
		last   time.Time
		passed int
	}{
		{"nothing is due", hourly, noon, noon.Add(time.Hour - 1), timetable.MaxDue, nil, time.Time{}, 0},
		{"at its time", hourly, ago(time.Hour), noon, 0, hours(0, 0), noon, 0},
		{"late, within the grace", hourly, ago(time.Hour), noon.Add(time.Minute), 0, hours(0, 0), noon, 0},
		{"a moment later", hourly, ago(time.Hour), noon.Add(time.Minute + 1), 0, nil, noon, 1},
		{"skip", hourly, ago(5 * time.Hour), noon.Add(time.Minute + 1), 0, nil, noon, 5},
		{"latest", hourly, ago(5 * time.Hour), noon.Add(time.Minute + 1), 1, hours(0, 0), noon, 4},
		{"all", hourly, ago(5 * time.Hour), noon.Add(time.Minute + 1), timetable.MaxDue, hours(4, 0), noon, 0},
		{"skip, and one at its time", hourly, ago(5 * time.Hour), noon, 0, hours(0, 0), noon, 4},
		{"latest, and one at its time", hourly, ago(5 * time.Hour), noon, 1, hours(1, 0), noon, 3},
		{"at most 100", hourly, ago(150 * time.Hour), noon.Add(time.Minute + 1), timetable.MaxDue, hours(99, 0), noon, 50},
		{"100 beside those at their time", hourly, ago(150 * time.Hour), noon, timetable.MaxDue, hours(100, 0), noon, 49},
		{"no further back than 366 days", "@daily", ago(4000 * 24 * time.Hour), noon, 0, nil, ago(12 * time.Hour), 366},
		{"every second of a year", "@every 1s", ago(366 * 24 * time.Hour), noon, 1, seconds(61, 0), noon, 366*24*3600 - 62},
		{"every second of an hour", "@every 1s", ago(time.Hour), noon, timetable.MaxDue, seconds(160, 0), noon, 3600 - 161},
		{"as many as there may be", "@every 1s", ago(161 * time.Second), noon, timetable.MaxDue, seconds(160, 0), noon, 0},
		{"every week of a year", "@every 168h", ago(366 * 24 * time.Hour), noon, 0, nil, ago(12 * time.Hour), 53},
		{"a clock that went back", hourly, noon.Add(time.Hour), noon, timetable.MaxDue, nil, time.Time{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			ticks, last, passed, asked, err := timetable.CountDue(c.cron, c.after, c.now, c.keep, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if asked > 400 { // of the 31 million seconds of a year
				t.Errorf("all other schedules wait while %d ticks are looked at", asked)
			}
			if !slices.EqualFunc(ticks, c.want, time.Time.Equal) || !last.Equal(c.last) || passed != c.passed {
				t.Errorf("%s, up to %s, %d passed over;\nwant %s, up to %s, %d", fmt.Sprint(ticks), last, passed, fmt.Sprint(c.want), c.last, c.passed)
			}
		})
	}
}
