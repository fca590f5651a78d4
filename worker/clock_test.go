package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
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
			eventually(t, "the jump to be noticed", func() bool { return strings.Contains(log.String(), runtime.ErrClock.Error()) })
			clock.Shift(0)
			runs(t, ran, 3)
			if strings.Contains(log.String(), "a schedule does not tick") {
				t.Error("the log blames the schedule for Redis's clock")
			}
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

// Redis's clock is an hour behind this machine's, which is a worker whose clock is an hour
// ahead: it fails no other worker's job, and tells times by Redis's clock.
func TestAWorkerWhoseClockIsAheadGoesByRedis(t *testing.T) {
	t.Parallel()
	clock := redistest.NewClock(t)
	clock.Shift(-time.Hour)
	e := open(t, redistest.Server(t, redistest.WithClock(clock)).URL())
	soonDue := func(s *engine.Spec) { s.Deadline = time.Now().Add(-30 * time.Minute) } // in half an hour, by Redis's clock
	waiting := enqueue(t, e, "elsewhere", soonDue, func(s *engine.Spec) { s.Queue = "elsewhere" })
	o := brief(e)
	o.BackoffMin, o.BackoffMax = time.Hour, time.Hour
	w := build(t, o)
	worker.Handle(w, "export", func(ctx context.Context, _ *worker.Run, _ []byte) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return nil
	})
	worker.Handle(w, "fails", func(context.Context, *worker.Run, []byte) error { return errors.New("once") })
	start(t, w)
	all := history(t, e, enqueue(t, e, "export", soonDue), nil)
	if end := last(all); end.State != engine.Succeeded {
		t.Errorf("a job with half an hour left ended as %s with %+v", end.State, end.Error)
	}
	failing := enqueue(t, e, "fails")
	eventually(t, "the retry", func() bool {
		v, err := e.Job(soon(t), failing)
		if err != nil {
			t.Fatal(err)
		}
		job, err := v.Job()
		if err != nil || job.State != engine.Retrying {
			return false
		}
		// Half to all of an hour from now, by Redis's clock, which is half an hour ago to now
		// by this machine's.
		if at := time.Until(*job.RetryAt); at < -31*time.Minute || at > 2*time.Minute {
			t.Errorf("the next attempt is said to be due %s from now, by this machine's clock", at)
		}
		return true
	})
	// The reconciler has come by in the meantime.
	before := forgotten(t, e)
	eventually(t, "the reconciler to come by", before)
	if v, err := e.Job(soon(t), waiting); err != nil {
		t.Error(err)
	} else if job, err := v.Job(); err != nil || job.State != engine.Queued {
		t.Errorf("a waiting job with half an hour left is %s, %v", job.State, err)
	}
}

// forgotten makes a job whose maker died on the way to asynq, and tells whether a reconciler
// has handed it over.
func forgotten(t *testing.T, e *engine.Engine) func() bool {
	t.Helper()
	job := enqueue(t, e, "elsewhere", func(s *engine.Spec) { s.Queue = "elsewhere" })
	forgetDispatch(t, e, job, "elsewhere")
	return func() bool {
		a, err := runtime.Of(e).Current(soon(t), job)
		return err == nil && a.Dispatched
	}
}
