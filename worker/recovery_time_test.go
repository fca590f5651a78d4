package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// What is promised of a kill -9 at default leases, from the kill on.
const (
	stalledWithin = 6 * time.Second
	runningWithin = 15 * time.Second
)

// recovery is how long jobs waited after their worker was killed.
type recovery struct {
	mu               sync.Mutex
	kills, early     int // early: the jobs had ended before the kill
	stalled, running []time.Duration
	slowest          string // in what the longest silence was
	counted          int    // crashes that were seen to be counted
}

// spread gives the median and the maximum.
func spread(all []time.Duration) (median, most time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}

func (l *recovery) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	stalled, lastStalled := spread(l.stalled)
	running, lastRunning := spread(l.running)
	return fmt.Sprintf("%d kills of %d jobs (%d more came too late): job.stalled after median %.2f s, max %.2f s; running again after median %.2f s, max %.2f s; the longest silence was %s",
		l.kills, len(l.stalled), l.early, stalled.Seconds(), lastStalled.Seconds(), running.Seconds(), lastRunning.Seconds(), l.slowest)
}

// late names the jobs whose stall was noticed, or whose next attempt began, too late.
func (l *recovery) late() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	if _, most := spread(l.stalled); most > stalledWithin {
		errs = append(errs, fmt.Errorf("job.stalled %s after a kill, want at most %s", most, stalledWithin))
	}
	if _, most := spread(l.running); most > runningWithin {
		errs = append(errs, fmt.Errorf("running again %s after a kill, want at most %s", most, runningWithin))
	}
	if len(l.stalled) == 0 || len(l.running) != len(l.stalled) {
		errs = append(errs, fmt.Errorf("%d jobs stalled, %d ran again", len(l.stalled), len(l.running)))
	}
	return errors.Join(errs...)
}

// A victim is a job whose worker is killed, as its watcher saw it.
type victim struct {
	job              engine.JobID
	records          []engine.Record
	err              error
	stalled, running time.Time // when job.stalled and job.resumed arrived
	counted          bool      // the crash was seen to be counted
}

func (v *victim) watch(ctx context.Context, e *engine.Engine) {
	v.records, v.err = trace(ctx, e, v.job, func(r engine.Record) {
		switch r.Type {
		case engine.JobStalled:
			v.stalled = time.Now()
			// Once it runs again, a checkpoint may have set the count back.
			a, err := runtime.Of(e).Current(ctx, v.job)
			v.counted = err == nil && a.Waiting && a.Crashes == 1
		case engine.JobResumed:
			v.running = time.Now()
		}
	})
}

// take adds the times of the jobs that were watched over a kill, and reports whether it hit any of
// them. in names what the worker was doing.
func (l *recovery) take(at time.Time, in string, watched []victim, result json.RawMessage) (hit bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, v := range watched {
		lost := 1
		if v.err == nil && v.stalled.IsZero() {
			lost = 0 // it had ended, or was about to
		}
		if found := survival(v.records, lost, result); v.err != nil || len(found) > 0 {
			errs = append(errs, v.err, fmt.Errorf("job %s: %q\n%s", v.job, found, tell(v.records)))
			continue
		}
		if lost == 0 {
			continue
		}
		hit = true
		if _, most := spread(l.stalled); v.stalled.Sub(at) > most {
			l.slowest = in
		}
		l.stalled, l.running = append(l.stalled, v.stalled.Sub(at)), append(l.running, v.running.Sub(at))
		if v.stalled.Before(at) {
			errs = append(errs, fmt.Errorf("job %s was claimed %s before its worker was killed", v.job, at.Sub(v.stalled)))
		}
		if v.counted {
			l.counted++
		}
	}
	if hit {
		l.kills++
	} else {
		l.early++
	}
	return hit, errors.Join(errs...)
}

func TestRecoveryTimesNameWhatIsLate(t *testing.T) {
	t.Parallel()
	in := func(seconds ...float64) (all []time.Duration) {
		for _, s := range seconds {
			all = append(all, time.Duration(s*float64(time.Second)))
		}
		return all
	}
	if err := (&recovery{stalled: in(4, 6), running: in(4.5, 15)}).late(); err != nil {
		t.Errorf("in time, and yet: %v", err)
	}
	for what, l := range map[string]*recovery{
		"nothing was killed":   {},
		"stalled late":         {stalled: in(4, 6.001), running: in(5, 7)},
		"running late":         {stalled: in(4, 5), running: in(15.001, 6)},
		"one never runs again": {stalled: in(4, 5), running: in(6)},
	} {
		if l.late() == nil {
			t.Errorf("not seen: %s", what)
		}
	}
}
