package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
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

// undisturbed is about how long the work takes when nothing happens to it: the moments
// of kills are drawn from it.
const undisturbed = 2500 * time.Millisecond

// kill kills a worker process with SIGKILL at a moment that is drawn, has another one
// go on, and holds what became of the jobs to result, that of an undisturbed run. A
// kill that came too late is drawn again.
func (s scene) kill(t testing.TB, url string, l leases, d *drawer, result json.RawMessage, all *recovery) error {
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

func (s scene) killOnce(ctx context.Context, t testing.TB, url string, l leases, after time.Duration, result json.RawMessage, all *recovery) (hit bool, err error) {
	r := role{URL: url, Namespace: fmt.Sprintf("t%d", namespaces.Add(1)), Slots: s.slots, Leases: l}
	e, err := engine.Open(ctx, engine.Options{URL: url, Namespace: r.Namespace, Logger: quiet()})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	survivor, release, err := s.survivor(ctx, t, e, r)
	if err != nil {
		return false, err
	}
	defer func() { _, _ = survivor.kill() }()

	jobs, err := enqueueAll(ctx, e, s.jobs, engine.Spec{Topic: "user:killed", Type: "tally", Payload: killed, MaxAttempts: 1})
	if err != nil {
		return false, err
	}
	if _, err := enqueueAll(ctx, e, s.backlog, engine.Spec{Topic: "team:backlog", Type: "brief", Payload: 50 * time.Millisecond}); err != nil {
		return false, err
	}
	p, err := spawn(ctx, t, r)
	if err != nil {
		return false, err
	}
	if _, err := p.say(ctx, saysRunning, s.jobs); err != nil {
		return false, err
	}
	if !s.full {
		if err := release(); err != nil {
			return false, err
		}
	}
	watched := make([]victim, s.jobs)
	var watching sync.WaitGroup
	for i, job := range jobs {
		watched[i].job = job
		watching.Go(func() { watched[i].watch(ctx, e) })
	}
	pause(ctx, after)
	at, err := p.kill()
	if err != nil {
		return false, err
	}
	watching.Wait()
	return all.take(at, fmt.Sprintf("%s, %s after the start", s.name, after), watched, result)
}

// survivor starts the worker that will go on, all of whose slots are taken by jobs of
// a queue of their own, so that it takes no other before release.
func (s scene) survivor(ctx context.Context, t testing.TB, e *engine.Engine, r role) (p *process, release func() error, err error) {
	const queue = "holds"
	r.Queues = []string{engine.DefaultQueue, queue}
	if p, err = spawn(ctx, t, r); err != nil {
		return nil, nil, err
	}
	held, err := enqueueAll(ctx, e, s.slots, engine.Spec{Topic: "team:holds", Type: "hold", Queue: queue})
	if err == nil {
		_, err = p.say(ctx, saysRunning, s.slots)
	}
	return p, func() error {
		var errs []error
		for _, job := range held {
			errs = append(errs, e.Cancel(ctx, job))
		}
		return errors.Join(errs...)
	}, err
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
	var defaults, short recovery
	var running sync.WaitGroup
	for _, c := range []struct {
		leases       leases
		kills, lanes int
		times        *recovery
	}{
		// At default leases it is mostly waiting, so these go side by side.
		{defaultLeases, scale(3, 80), 3, &defaults},
		{shortLeases, scale(5, 120), 2, &short},
	} {
		running.Go(func() {
			err := each(c.kills, c.lanes, func(i int) error {
				return scenes[i%len(scenes)].kill(t, url, c.leases, d, result, c.times)
			})
			if soak { // on a machine that is busy the times say nothing
				err = errors.Join(err, c.times.late())
			}
			if err != nil {
				t.Error(err)
			}
			t.Logf("%s: %s", c.leases, c.times)
		})
	}
	running.Wait()
	if defaults.counted+short.counted == 0 {
		t.Error("no crash was counted")
	}
}
