package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
)

// looks counts how often each job's hash was read.
type looks struct {
	mu   sync.Mutex
	jobs map[string]int
}

func (l *looks) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (l *looks) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (l *looks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		l.mu.Lock()
		for _, cmd := range cmds {
			if key, _ := cmd.Args()[1].(string); cmd.Name() == "hmget" && strings.Contains(key, "}:j:") {
				l.jobs[key]++
			}
		}
		l.mu.Unlock()
		return next(ctx, cmds)
	}
}

// crowd makes jobs that wait in a queue that nobody serves.
func crowd(t *testing.T, e *engine.Engine, n int) {
	t.Helper()
	var all sync.WaitGroup
	for lane := range 20 {
		all.Go(func() {
			for i := lane; i < n; i += 20 {
				s := engine.Spec{Topic: engine.Topic(fmt.Sprint("team:", i%40)), Type: "export", Queue: "elsewhere"}
				if _, err := e.Enqueue(t.Context(), s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if all.Wait(); t.Failed() {
		t.FailNow()
	}
}

// A round is shared: whatever the number of workers, each job is looked at once.
func TestWorkersShareARound(t *testing.T) {
	t.Parallel()
	e, jobs := real(t), scale(2000, 20_000)
	crowd(t, e, jobs)
	l := &looks{jobs: map[string]int{}}
	e.Redis().AddHook(l)
	o := brief(e)
	o.ReconcileInterval = 10 * time.Minute
	var passes sync.WaitGroup
	for range 3 {
		r := worker.Reconciler(build(t, o))
		passes.Go(func() {
			for range 2 { // the second has nothing to do
				if err := r.Pass(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	passes.Wait()
	total, most := 0, 0
	for _, n := range l.jobs {
		total, most = total+n, max(most, n)
	}
	if len(l.jobs) != jobs || most > 1 {
		t.Errorf("%d of %d jobs were looked at, %d times in all, one of them %d times; want each once", len(l.jobs), jobs, total, most)
	}
}

// dated makes a job that waits, and returns when its deadline has passed.
func dated(t *testing.T, e *engine.Engine) engine.JobID {
	t.Helper()
	deadline := runtime.Of(e).Now().Add(500 * time.Millisecond)
	job := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue, s.Deadline = "elsewhere", deadline })
	eventually(t, "the deadline to pass", func() bool { return runtime.Of(e).Past(deadline) })
	return job
}

func failedLate(t *testing.T, e *engine.Engine, job engine.JobID) bool {
	t.Helper()
	v, err := e.Job(soon(t), job)
	if err != nil {
		t.Fatal(err)
	}
	j, err := v.Job()
	if err != nil {
		t.Fatal(err)
	}
	return j.State == engine.Failed && j.Error.Code == "deadline"
}

// walkAll takes a whole round and looks at nothing.
func walkAll(t *testing.T, e *engine.Engine) {
	t.Helper()
	for w := runtime.Of(e).Walk("w", time.Hour); ; {
		pages, wait, err := w.Next(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(pages) == 0 && wait == 0 {
			return
		}
		pause(t.Context(), wait)
	}
}

// A deadline ends a job that waits in the next pass, whether or not the round comes by it.
func TestADeadlineNeedsNoRound(t *testing.T) {
	t.Parallel()
	e := real(t)
	crowd(t, e, scale(1500, 15_000))
	job := dated(t, e)
	walkAll(t, e)
	if err := worker.Reconciler(build(t, brief(e))).Pass(soon(t)); err != nil {
		t.Fatal(err)
	}
	if !failedLate(t, e, job) {
		t.Error("a pass has not ended it")
	}
}

// Where the list of deadlines was lost, the round ends the job.
func TestARoundFindsADeadlineThatIsNotListed(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := dated(t, e)
	keys, err := e.Redis().Keys(soon(t), "*:due").Result()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if err := e.Redis().Del(soon(t), keys...).Err(); err != nil {
		t.Fatal(err)
	}
	if err := worker.Reconciler(build(t, brief(e))).Pass(soon(t)); err != nil {
		t.Fatal(err)
	}
	if !failedLate(t, e, job) {
		t.Error("a round has not ended it")
	}
}

// Many deadlines at once are seen to in one pass, also where some jobs cannot be ended and
// others are listed that should not be.
func TestManyDeadlinesAtOnce(t *testing.T) {
	t.Parallel()
	e := real(t)
	ctx, jobs := soon(t), scale(600, 3000)
	// The machine has a quarter of a minute to make them in, many at a time, and the test waits for what is left of it.
	deadline := runtime.Of(e).Now().Add(15 * time.Second)
	made := make([]engine.JobID, jobs)
	errs := make(chan error, jobs)
	slots := make(chan struct{}, 32)
	for i := range jobs {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			s := engine.Spec{Topic: "team:1", Type: "export", Queue: "elsewhere", Deadline: deadline}
			if i < 300 {
				s.Topic, s.Deadline = "team:2", deadline.Add(-time.Second) // in front
			}
			job, err := e.Enqueue(ctx, s)
			made[i] = job.ID
			errs <- err
		}()
	}
	for range jobs {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	late := made[300:]
	stuck := e.StreamKey("team:2")
	if err := e.Redis().Rename(ctx, stuck, stuck+"x").Err(); err != nil {
		t.Fatal(err)
	}
	if err := e.Redis().Set(ctx, stuck, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deadline to pass", func() bool { return runtime.Of(e).Past(deadline) })
	walkAll(t, e)
	o := brief(e)
	o.ReconcileInterval = 10 * time.Minute
	if err := worker.Reconciler(build(t, o)).Pass(ctx); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(late, func(job engine.JobID) bool { return !failedLate(t, e, job) }); i >= 0 {
		t.Errorf("job %d of %d has not ended", i, len(late))
	}
}

// Who has found a suspect looks at it again, though the round is others'.
func TestASuspectIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	e := real(t)
	job := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = "elsewhere" })
	forgetDispatch(t, e, job, "elsewhere")
	o := brief(e)
	o.ReconcileInterval = time.Second
	finder := worker.Reconciler(build(t, o))
	if err := finder.Pass(soon(t)); err != nil || finder.Suspects() != 1 {
		t.Fatalf("%d suspects: %v", finder.Suspects(), err)
	}
	// The next round is another worker's, who does nothing with it.
	other := runtime.Of(e).Walk("w", 0)
	eventually(t, "the job to be handed over", func() bool {
		if _, _, err := other.Next(soon(t)); err != nil {
			t.Fatal(err)
		}
		if err := finder.Pass(soon(t)); err != nil {
			t.Fatal(err)
		}
		a, err := runtime.Of(e).Current(soon(t), job)
		return err == nil && a.Dispatched
	})
	if finder.Suspects() != 0 {
		eventually(t, "the suspect to be forgotten", func() bool { return finder.Pass(soon(t)) == nil && finder.Suspects() == 0 })
	}
}
