package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A topic takes as many live jobs as it may have and not one more, from any producer; what
// was accepted elsewhere is not refused.
func TestATopicHasABoundOfLiveJobs(t *testing.T) {
	const most = 100
	onEachRedis(t, func(t *testing.T, url string) {
		e := with(t, url, engine.Options{TopicJobs: most})
		ctx := minutes(t)
		export := engine.Spec{Topic: "user:42", Type: "export", Key: "one"}
		first, err := e.Enqueue(ctx, export)
		must(t, err)
		var taken, full atomic.Int32
		var all sync.WaitGroup
		for range most + 50 {
			all.Go(func() {
				switch _, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export"}); {
				case err == nil:
					taken.Add(1)
				case errors.Is(err, engine.ErrLimit) && strings.Contains(err.Error(), fmt.Sprintf("%d live jobs", most)):
					full.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if taken.Load() != most-1 || full.Load() != 51 {
			t.Fatalf("%d were taken beside the first, %d refused", taken.Load(), full.Load())
		}
		if again, err := e.Enqueue(ctx, export); err != nil || again.ID != first.ID {
			t.Errorf("a call again: %+v, %v", again, err)
		}
		if _, err := e.Enqueue(ctx, engine.Spec{Topic: "user:43", Type: "export"}); err != nil {
			t.Errorf("in another topic: %v", err)
		}
		id, err := e.NewJobID("user:42")
		must(t, err)
		if _, _, err := e.Receive(ctx, id, engine.Spec{Topic: "user:42", Type: "export"}, 50, 0, runtime.Shown{}); !errors.Is(err, engine.ErrLimit) {
			t.Errorf("an upload: %v", err)
		}
		// A run of the topic makes no children.
		d := &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: first.ID}}, topic: "user:42", job: first.ID, held: engine.Beginning}
		d.start(1)
		children, plan, err := runtime.PlanFanOut("all", "user:42", engine.DefaultQueue, []engine.Child{{Name: "a", Spec: engine.Spec{Type: "export"}}})
		must(t, err, d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
		if err := e.Spawn(ctx, d.job, d.r.Fence, 0, "all", children); !errors.Is(err, engine.ErrLimit) {
			t.Errorf("a child: %v", err)
		}
		// asynq has accepted this one, and Redis had that one.
		if _, err := e.Adopt(ctx, runtime.Adoption{Topic: "user:42", Type: "mail", Task: runtime.Task{Queue: "mails", ID: "1"}}, runtime.Attempt{}); err != nil {
			t.Errorf("an adopted task: %v", err)
		}
		gone, err := e.NewJobID("user:42")
		must(t, err)
		if err := e.FailLost(ctx, runtime.TaskPayload{Job: gone, Attempt: 1, Topic: "user:42"}, "export", lost); err != nil {
			t.Errorf("a job without a record: %v", err)
		}
		// There is room once one has ended.
		must(t, d.write(runtime.Report{Type: engine.JobSucceeded}).Err)
		if _, err := e.Retry(ctx, first.ID, engine.RetryQuery{}); !errors.Is(err, engine.ErrLimit) {
			t.Errorf("with the adopted one it is still full: %v", err)
		}
		page, err := e.Jobs(ctx, "user:42", engine.JobsQuery{})
		must(t, err)
		for _, v := range page.Jobs[:2] {
			if err := e.Cancel(ctx, v.ID); err != nil && !errors.Is(err, engine.ErrEnded) {
				t.Error(err)
			}
		}
		if _, err := e.Retry(ctx, first.ID, engine.RetryQuery{}); err != nil {
			t.Errorf("once others have ended: %v", err)
		}
	})
}

// asynq keeps every queue's name for ever, so there are only so many that no worker serves.
func TestQueueNamesHaveABound(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		const most = 3
		e := with(t, url, engine.Options{QueueNames: most})
		ctx := minutes(t)
		into := func(e *engine.Rig, queue string) error {
			_, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export", Queue: queue})
			return err
		}
		var mu sync.Mutex
		var taken []string
		var all sync.WaitGroup
		for i := range 10 * most {
			all.Go(func() {
				queue := fmt.Sprint("queue-", i)
				switch err := into(e, queue); {
				case err == nil:
					mu.Lock()
					taken = append(taken, queue)
					mu.Unlock()
				case !errors.Is(err, engine.ErrLimit) || !strings.Contains(err.Error(), queue):
					t.Errorf("%s: %v", queue, err)
				}
			})
		}
		all.Wait()
		if len(taken) != most {
			t.Fatalf("queues %v were taken, want %d", taken, most)
		}
		other := with(t, url, engine.Options{QueueNames: most}) // another process asks Redis
		must(t, into(other, taken[0]))
		if err := into(other, "new"); !errors.Is(err, engine.ErrLimit) {
			t.Errorf("a name too many: %v", err)
		}
		id, err := e.NewJobID("user:42")
		must(t, err)
		if _, _, err := e.Receive(ctx, id, engine.Spec{Topic: "user:42", Type: "export", Queue: "new"}, 50, 0, runtime.Shown{}); !errors.Is(err, engine.ErrLimit) {
			t.Errorf("an upload: %v", err)
		}
		d := newDeskIn(t, e, taken[0])
		d.start(1)
		children, plan, err := runtime.PlanFanOut("all", d.topic, "new", []engine.Child{{Name: "a", Spec: engine.Spec{Type: "export"}}})
		must(t, err, d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
		if err := e.Spawn(ctx, d.job, d.r.Fence, 0, "all", children); !errors.Is(err, engine.ErrLimit) {
			t.Errorf("a child: %v", err)
		}
		must(t, other.ServeQueues(ctx, "new"), into(e, "new"))
	})
}

// newDeskIn is newDesk for a job in a queue.
func newDeskIn(t testing.TB, e *engine.Rig, queue string) *desk {
	t.Helper()
	got, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:44", Type: "export", Queue: queue})
	must(t, err)
	return &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: got.ID}}, topic: "user:44", job: got.ID, held: engine.Beginning}
}

// A schedule whose jobs are left waiting skips its ticks and says so, until fewer wait. Whoever
// handles the same ticks as well does not take the jobs that the first has made for a backlog.
func TestAScheduleSkipsTicksWhileItsJobsWait(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e, ctx := with(t, url, engine.Options{ScheduleJobs: 5}), minutes(t)
		s := engine.Schedule{Topic: "user:42", Name: "often", Cron: "@every 1s", Type: "export", Queue: "unserved", Missed: engine.MissedAll}
		_, _, err := e.PutSchedule(ctx, s)
		must(t, err)
		fire := func() runtime.Fired {
			t.Helper()
			f, err := e.Fire(ctx, scheduled(t, e, s), time.Hour)
			must(t, err)
			return f
		}
		next := func() runtime.Fired { // of the next tick
			t.Helper()
			for {
				if f := fire(); len(f.Jobs) > 0 || f.Skipped > 0 {
					return f
				}
				if ctx.Err() != nil {
					t.Fatal("it does not tick")
				}
			}
		}
		said := func() error {
			t.Helper()
			list, err := e.Schedules(ctx, s.Topic)
			must(t, err)
			return list[0].Err
		}
		before := time.Now().Add(-20 * time.Second)
		rewind(t, e, s, before)
		first := fire() // all that are due, since none waited before
		rewind(t, e, s, before)
		second := fire()
		if len(first.Jobs) < 19 || len(second.Jobs) < len(first.Jobs) || first.Held != nil || second.Held != nil || said() != nil {
			t.Fatalf("first %+v, second %+v", first, second)
		}
		held := next()
		if len(held.Jobs) > 0 || held.Skipped == 0 || !errors.Is(held.Held, engine.ErrLimit) || !strings.Contains(held.Held.Error(), "5 of the schedule's jobs wait in queue unserved") {
			t.Fatalf("while its jobs wait: %+v", held)
		}
		if err := said(); err == nil || err.Error() != held.Held.Error() {
			t.Errorf("its list says %v", err)
		}
		for _, job := range second.Jobs[4:] { // four are left
			must(t, e.Cancel(ctx, job))
		}
		if f := next(); len(f.Jobs) == 0 || f.Held != nil || said() != nil {
			t.Errorf("with four waiting: %+v, and its list says %v", f, said())
		}
		if f := next(); f.Held == nil {
			t.Errorf("with five waiting again: %+v", f)
		}
		// Deleted and put again it begins without the word.
		must(t, e.DeleteSchedule(ctx, s.Topic, s.Name))
		if _, _, err := e.PutSchedule(ctx, s); err != nil || said() != nil {
			t.Errorf("put again: %v, and its list says %v", err, said())
		}
	})
}
