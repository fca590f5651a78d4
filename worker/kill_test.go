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
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// What is promised of a kill -9 at default leases, from the kill on.
const (
	stalledWithin = 6 * time.Second
	runningWithin = 15 * time.Second
)

// A scene is in what a worker is killed, with another one beside it.
type scene struct {
	name    string
	jobs    int  // that the killed one runs
	backlog int  // short jobs that wait behind them in their queue
	full    bool // all slots of the other one are taken until the jobs run again
	slots   int  // of each worker
}

// killed is the work that is interrupted, some seconds of it.
var killed = tally{Steps: 1000}

// A toll is how long jobs waited after their worker was killed.
type toll struct {
	mu               sync.Mutex
	kills, early     int // early: the jobs had ended before the kill
	stalled, running []time.Duration
	counted          int // crashes that were seen to be counted
}

// spread gives the median and the maximum.
func spread(all []time.Duration) (median, most time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}

func (l *toll) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	stalled, lastStalled := spread(l.stalled)
	running, lastRunning := spread(l.running)
	return fmt.Sprintf("%d kills of %d jobs (%d more came too late): job.stalled after median %.2f s, max %.2f s; running again after median %.2f s, max %.2f s",
		l.kills, len(l.stalled), l.early, stalled.Seconds(), lastStalled.Seconds(), running.Seconds(), lastRunning.Seconds())
}

// late says what was not noticed, or not going on, in time.
func (l *toll) late() error {
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

// undisturbed is about how long the work takes when nothing happens to it: the moments
// of kills are drawn from it.
const undisturbed = 2500 * time.Millisecond

// kill kills a worker process with SIGKILL at a moment that is drawn, has another one
// go on, and holds what became of the jobs to result, that of an undisturbed run. A
// kill that came too late is drawn again.
func (s scene) kill(t testing.TB, url string, l leases, d *drawer, result json.RawMessage, all *toll) error {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		after := d.within(undisturbed)
		hit, err := s.killOnce(ctx, t, url, l, after, result, all)
		if err != nil {
			return fmt.Errorf("%s, %s, killed after %s: %w", l, s.name, after, err)
		}
		if hit {
			return nil
		}
	}
}

func (s scene) killOnce(ctx context.Context, t testing.TB, url string, l leases, after time.Duration, result json.RawMessage, all *toll) (hit bool, err error) {
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	e, err := engine.Open(ctx, engine.Options{URL: url, Namespace: namespace, Logger: quiet()})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()

	// The survivor's slots are taken until the other has the jobs.
	const holds = "holds"
	survivor, err := spawn(ctx, t, role{URL: url, Namespace: namespace, Queues: []string{engine.DefaultQueue, holds}, Slots: s.slots, Leases: l})
	if err != nil {
		return false, err
	}
	defer func() { _, _ = survivor.kill() }()
	held, err := enqueueAll(ctx, e, s.slots, engine.Spec{Topic: "team:holds", Type: "hold", Queue: holds})
	if err != nil {
		return false, err
	}
	if _, err := survivor.say(ctx, saysRunning, s.slots); err != nil {
		return false, err
	}

	jobs, err := enqueueAll(ctx, e, s.jobs, engine.Spec{Topic: "user:killed", Type: "tally", Payload: killed, MaxRetries: -1})
	if err != nil {
		return false, err
	}
	if _, err := enqueueAll(ctx, e, s.backlog, engine.Spec{Topic: "team:backlog", Type: "brief", Payload: 50 * time.Millisecond}); err != nil {
		return false, err
	}
	var watching sync.WaitGroup
	watched := make([]victim, s.jobs)
	for i, job := range jobs {
		watched[i].job = job
		watching.Go(func() { watched[i].watch(ctx, e) })
	}
	p, err := spawn(ctx, t, role{URL: url, Namespace: namespace, Slots: s.slots, Leases: l})
	if err != nil {
		return false, err
	}
	if _, err := p.say(ctx, saysRunning, s.jobs); err != nil {
		return false, err
	}
	for _, job := range held {
		if s.full {
			break
		}
		if err := e.Cancel(ctx, job); err != nil {
			return false, err
		}
	}
	pause(ctx, after)
	at, err := p.kill()
	if err != nil {
		return false, err
	}
	watching.Wait()
	return all.take(at, watched, result)
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
			a, err := e.Current(ctx, v.job)
			v.counted = err == nil && a.Waiting && a.Crashes == 1
		case engine.JobResumed:
			v.running = time.Now()
		}
	})
}

// take adds what a kill at a moment came to, and tells whether it hit any of the jobs.
func (l *toll) take(at time.Time, watched []victim, result json.RawMessage) (hit bool, err error) {
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

// without runs the work that kills interrupt in peace, and gives its result.
func without(t testing.TB, url string) json.RawMessage {
	t.Helper()
	e := open(t, url)
	w := build(t, brief(e))
	worker.Handle(w, "tally", countUp(nil))
	start(t, w)
	result := last(history(t, e, enqueue(t, e, "tally", func(s *engine.Spec) { s.Payload = killed }), nil)).Result
	if string(result) != fmt.Sprint(killed.sum()) {
		t.Fatalf("an undisturbed run comes to %s, want %d", result, killed.sum())
	}
	stop(t, w)
	return result
}

func TestKilledWorkersJobGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	url, d := redistest.Server(t).URL(), draws(t)
	result := without(t, url)
	scenes := []scene{
		{name: "all slots full", jobs: 1, slots: 2, full: true},
		{name: "behind a backlog", jobs: 1, slots: 2, backlog: 3000},
		{name: "alone", jobs: 1, slots: 2},
		{name: "eight jobs at once", jobs: 8, slots: 8},
	}
	var defaults, short toll
	var running sync.WaitGroup
	for _, c := range []struct {
		leases       leases
		kills, lanes int
		toll         *toll
	}{
		// At default leases it is mostly waiting, so these go side by side.
		{defaultLeases, scale(3, 80), 3, &defaults},
		{shortLeases, scale(5, 120), 2, &short},
	} {
		running.Go(func() {
			err := each(c.kills, c.lanes, func(i int) error {
				return scenes[i%len(scenes)].kill(t, url, c.leases, d, result, c.toll)
			})
			if err = errors.Join(err, c.toll.late()); err != nil {
				t.Error(err)
			}
			t.Logf("%s: %s", c.leases, c.toll)
		})
	}
	running.Wait()
	if defaults.counted+short.counted == 0 {
		t.Error("no crash was counted")
	}
}

func TestTollSeesWhatIsLate(t *testing.T) {
	t.Parallel()
	in := func(seconds ...float64) (all []time.Duration) {
		for _, s := range seconds {
			all = append(all, time.Duration(s*float64(time.Second)))
		}
		return all
	}
	if err := (&toll{stalled: in(4, 6), running: in(4.5, 15)}).late(); err != nil {
		t.Errorf("in time, and yet: %v", err)
	}
	for what, l := range map[string]*toll{
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
