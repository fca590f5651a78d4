package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// Workers are started and stopped by several at once, also by callers who do not
// wait, while they run jobs: they end, and the jobs go on in the next ones.
func TestStartAndStopUnderLoad(t *testing.T) {
	t.Parallel()
	d := draws(t)
	e := openWith(t, engine.Options{URL: redistest.Server(t).URL()})
	work := tally{Steps: 100}
	var jobs []engine.JobID
	next := func() *worker.Worker {
		o := brief(e)
		shortLeases.set(&o)
		w := build(t, o)
		worker.Handle(w, "tally", countUp(nil))
		return w
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range scale(10, 300) {
		w := next()
		for range 4 {
			jobs = append(jobs, enqueue(t, e, "tally", func(s *engine.Spec) {
				s.Topic, s.Payload, s.MaxAttempts = engine.Topic(fmt.Sprint("user:", len(jobs))), work, 1
			}))
		}
		if d.below(3) > 0 {
			if err := w.Start(soon(t)); err != nil {
				t.Fatal(err)
			}
			awaitRecord(t, e, jobs[len(jobs)-1], func(r engine.Record) bool { return r.Type == engine.JobStarted })
		}
		var all sync.WaitGroup
		call := func(what string, do func(context.Context) error, ctx context.Context, allowed ...error) {
			after := d.within(100 * time.Millisecond)
			all.Go(func() {
				pause(t.Context(), after)
				err := do(ctx)
				for _, a := range allowed {
					if errors.Is(err, a) {
						return
					}
				}
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		for range 2 {
			call("start", w.Start, soon(t), worker.ErrStopped)
			// Whoever does not wait leaves handlers behind, as the others then hear.
			call("stop", w.Stop, soon(t), worker.ErrAbandoned)
			call("stop, and not wait", w.Stop, ended, worker.ErrAbandoned, context.Canceled)
			call("start, and not wait", w.Start, ended, worker.ErrStopped, context.Canceled)
		}
		all.Wait()
		if err := w.Start(soon(t)); !errors.Is(err, worker.ErrStopped) {
			t.Errorf("start after stop: %v", err)
		}
		if err := w.Stop(soon(t)); err != nil && !errors.Is(err, worker.ErrAbandoned) {
			t.Errorf("stop after stop: %v", err)
		}
	}
	start(t, next())
	again := 0
	for _, job := range jobs {
		all := history(t, e, job, nil)
		if end := last(all); end.State != engine.Succeeded || string(end.Result) != fmt.Sprint(work.sum()) || count(all, engine.JobRetrying) > 0 {
			t.Errorf("it ended so:\n%s", tell(all))
		}
		if last(all).Attempt > 1 {
			again++
		}
	}
	if again == 0 {
		t.Error("no job was interrupted")
	}
	t.Logf("%d of %d jobs were interrupted", again, len(jobs))
}
