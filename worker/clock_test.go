package worker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A clock that is wrong for a moment, as by a failover to a machine whose clock is ahead,
// makes no jobs of ticks to come, and keeps no schedule silent after it.
func TestSchedulesOutlastAClockThatIsWrongForAMoment(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"ahead": 24 * time.Hour, "back": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := redistest.NewClock(t)
			e := open(t, redistest.Server(t, redistest.WithClock(clock)).URL())
			var log logbook
			o := brief(e)
			o.Logger = log.logger()
			s := everySecond()
			s.Missed = engine.MissedAll
			putSchedule(t, e, s)
			ran := make(chan engine.JobID, 1000)
			start(t, pulsing(t, o, ran))
			runs(t, ran, 2)
			clock.Shift(by)
			eventually(t, "the jump to be noticed", func() bool { return strings.Contains(log.String(), engine.ErrClock.Error()) })
			clock.Shift(0)
			runs(t, ran, 3)
			for _, job := range queued(t, e) {
				if off := time.Until(job.Time()); off.Abs() > time.Hour {
					t.Errorf("job %s is of a tick %s away", job, off)
				}
			}
		})
	}
}

// A schedule whose ticks were seen to by a clock that was ahead says so, and is brought back.
func TestAScheduleThatIsAheadOfTheClockIsMended(t *testing.T) {
	t.Parallel()
	clock := redistest.NewClock(t)
	s := redistest.Server(t, redistest.WithClock(clock))
	e := open(t, s.URL())
	clock.Shift(24 * time.Hour)
	putSchedule(t, e, everySecond())
	ran := make(chan engine.JobID, 1000)
	var log logbook
	o := brief(direct(t, s, e))
	o.Logger, o.ScheduleGrace = log.logger(), time.Second
	w := pulsing(t, o, ran)
	start(t, w)
	runs(t, ran, 1)
	clock.Shift(0)
	said := func() error {
		all, err := direct(t, s, e).Schedules(soon(t), topic)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Err
	}
	if err := said(); !errors.Is(err, engine.ErrAhead) {
		t.Errorf("the schedule says %v, want ErrAhead", err)
	}
	eventually(t, "a tick of today", func() bool {
		select {
		case job := <-ran:
			return time.Until(job.Time()) < time.Hour
		default:
			return false
		}
	})
	if !strings.Contains(log.String(), "it goes on from now") {
		t.Errorf("the log does not say that the schedule was ahead:\n%s", log.String())
	}
	if err := said(); err != nil {
		t.Errorf("the schedule still says %v", err)
	}
}
