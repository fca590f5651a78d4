package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// healthy starts two workers, each with connections of its own, and n jobs, and
// returns when all of them run. They run until they are released, and their results
// are twice their numbers. step is called at each of their steps.
func healthy(t *testing.T, s *redistest.Redis, l leases, n int, step func()) (e *engine.Engine, jobs []engine.JobID, release func()) {
	t.Helper()
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	// What makes the jobs has the time that the disk takes, which keeps each of their records.
	e = openWith(t, engine.Options{URL: s.URL(), Namespace: namespace})
	free := make(chan struct{})
	for range 2 {
		o := brief(openIn(t, s.URL(), namespace))
		l.set(&o)
		o.Concurrency = n / 2
		w := build(t, o)
		worker.Handle(w, "hold", func(ctx context.Context, run *worker.Run, number int) error {
			for i := int64(0); ; i++ {
				run.Progress(i, 1_000_000)
				step()
				select {
				case <-free:
					if err := run.Checkpoint(i); err != nil {
						return err
					}
					return run.Result(2 * number)
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(500 * time.Millisecond):
				}
			}
		})
		start(t, w)
	}
	jobs = make([]engine.JobID, n)
	err := each(n, 16, func(i int) error {
		got, err := e.Enqueue(t.Context(), engine.Spec{Topic: engine.Topic(fmt.Sprint("user:", i)), Type: "hold", Payload: i, MaxAttempts: 1})
		jobs[i] = got.ID
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs {
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobProgress })
	}
	return e, jobs, func() { close(free) }
}

func TestNoLivingRunIsRescuedWhenRedisComesBack(t *testing.T) {
	restarted := func(_ *testing.T, s *redistest.Redis) { s.Restart() }
	killed := func(away time.Duration) func(*testing.T, *redistest.Redis) {
		return func(t *testing.T, s *redistest.Redis) {
			s.Kill()
			pause(t.Context(), away)
			s.Restart()
		}
	}
	frozen := func(d time.Duration) func(*testing.T, *redistest.Redis) {
		return func(t *testing.T, s *redistest.Redis) {
			s.Pause()
			pause(t.Context(), d)
			s.Resume()
		}
	}
	// Reads go on. Each outage is over when a claim of who has been silent for a lease would
	// come before most of the beats.
	refusing := func(why redistest.Refusal) func(*testing.T, *redistest.Redis) {
		return func(t *testing.T, s *redistest.Redis) {
			for i := range scale(4, 20) {
				s.RefuseWrites(why)
				pause(t.Context(), 1050*time.Millisecond+time.Duration(i%4)*100*time.Millisecond)
				s.TakeWrites()
				pause(t.Context(), 700*time.Millisecond)
			}
		}
	}
	// With slow beats sweeps are much more frequent than they, so that whoever took old
	// readings for silence would claim before the first beat after an outage.
	for _, c := range []struct {
		name   string
		leases leases
		runs   int
		harm   func(*testing.T, *redistest.Redis)
	}{
		{"restarted", defaultLeases, 200, restarted},
		{"killed", defaultLeases, 200, killed(0)},
		{"frozen for 10 seconds", defaultLeases, 200, frozen(10 * time.Second)},
		{"restarted", slowBeats, 20, restarted},
		{"killed and away for longer than a lease", slowBeats, 20, killed(2 * time.Second)},
		{"frozen for longer than a lease", slowBeats, 20, frozen(2 * time.Second)},
		{"refusing writes: out of memory", slowBeats, 20, refusing(redistest.OutOfMemory)},
		{"refusing writes: few replicas", slowBeats, 20, refusing(redistest.FewReplicas)},
		{"refusing writes: cannot save", slowBeats, 20, refusing(redistest.CannotSave)},
		{"refusing writes: demoted", slowBeats, 20, refusing(redistest.Demoted)},
	} {
		t.Run(c.leases.String()+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Server(t, redistest.WithAOF())
			var steps atomic.Int64
			e, jobs, release := healthy(t, s, c.leases, c.runs, func() { steps.Add(1) })
			c.harm(t, s)
			// A lease, and the sweeps before and after it: a rescue would have come.
			var o worker.Options
			c.leases.set(&o)
			o = o.Defaults()
			before := steps.Load()
			pause(t.Context(), o.Lease+o.HeartbeatInterval+3*o.SweepInterval)
			if after := steps.Load(); after-before < int64(c.runs) {
				t.Errorf("the %d handlers made only %d steps since the outage", c.runs, after-before)
			}
			for _, job := range jobs {
				a, err := runtime.Of(e).Current(t.Context(), job)
				if err != nil || a.Waiting || a.Attempt != 1 || a.Crashes != 0 {
					t.Errorf("the job stands at %+v, %v", a, err)
				}
			}
			release()
			for i, job := range jobs {
				all := history(t, e, job, nil)
				if found := survival(all, 0, fmt.Append(nil, 2*i)); len(found) > 0 {
					t.Errorf("%q\n%s", found, tell(all))
				}
			}
		})
	}
}
