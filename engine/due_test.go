package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// waitingAre wants jobs to be listed by their deadlines, and no other.
func waitingAre(ctx context.Context, e *engine.Rig, want ...engine.JobID) error {
	got, err := e.Redis().ZRange(ctx, shardKey(e, "due"), 0, -1).Result()
	if err != nil {
		return err
	}
	var jobs []string
	for _, job := range want {
		jobs = append(jobs, string(job))
	}
	slices.Sort(jobs)
	if slices.Sort(got); !slices.Equal(got, jobs) {
		return fmt.Errorf("listed are %v, want %v", got, jobs)
	}
	return nil
}

// dueLife goes through the states of jobs with a deadline. Each is listed while it is in no
// worker's hands.
func dueLife(t testing.TB, e *engine.Rig) error {
	ctx := soon(t)
	deadline := time.Now().Add(time.Hour)
	make := func(change func(*engine.Spec)) engine.JobID {
		s := engine.Spec{Topic: "user:42", Type: "export", Deadline: deadline, MaxAttempts: 4}
		if change != nil {
			change(&s)
		}
		made, err := e.Enqueue(ctx, s)
		must(t, err)
		return made.ID
	}
	make(func(s *engine.Spec) { s.Deadline = time.Time{} })
	job, other := make(nil), make(func(s *engine.Spec) { s.Deadline = deadline.Add(time.Minute) })
	if err := waitingAre(ctx, e, job, other); err != nil {
		return fmt.Errorf("queued: %w", err)
	}
	scores, err := e.Redis().ZRangeWithScores(ctx, shardKey(e, "due"), 0, -1).Result()
	must(t, err)
	if int64(scores[0].Score) != deadline.UnixMilli() {
		return fmt.Errorf("it is listed by %v, want %d", scores[0].Score, deadline.UnixMilli())
	}
	p, _ := start(t, e, job, 1)
	if err := waitingAre(ctx, e, other); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	p.write(runtime.Report{Type: engine.JobProgress, Tenths: 10, Shown: &runtime.Shown{}})
	if err := waitingAre(ctx, e, other); err != nil {
		return fmt.Errorf("running on: %w", err)
	}
	p.write(runtime.Report{Type: engine.JobRetrying, Error: &engine.JobError{Code: "x", Message: "x"}})
	if err := waitingAre(ctx, e, job, other); err != nil {
		return fmt.Errorf("retrying: %w", err)
	}
	for _, do := range []func(context.Context, engine.JobID) error{e.Pause, e.Resume} {
		must(t, do(ctx, job))
		if err := waitingAre(ctx, e, job, other); err != nil {
			return fmt.Errorf("paused and resumed: %w", err)
		}
	}
	start(t, e, job, 2)
	must(t, e.Cancel(ctx, other))
	if err := waitingAre(ctx, e); err != nil {
		return fmt.Errorf("one runs, one was canceled: %w", err)
	}
	_, err = e.Stall(ctx, job, lastBeat(t, e, job))
	must(t, err)
	if err := waitingAre(ctx, e, job); err != nil {
		return fmt.Errorf("its worker was lost: %w", err)
	}
	// What is listed wrongly is put right.
	running, gone := make(nil), engine.JobID("00"+strings.Repeat("0", 26))
	start(t, e, running, 1)
	must(t, e.Redis().ZRem(ctx, shardKey(e, "due"), string(job)).Err())
	for _, id := range []engine.JobID{other, running, gone} {
		must(t, e.Redis().ZAdd(ctx, shardKey(e, "due"), redis.Z{Score: 1, Member: string(id)}).Err())
	}
	for _, id := range []engine.JobID{job, other, running, gone} {
		must(t, e.Tidy(ctx, id))
	}
	if err := waitingAre(ctx, e, job); err != nil {
		return fmt.Errorf("tidied: %w", err)
	}
	must(t, e.Fail(ctx, job, 3, engine.JobError{Code: "deadline", Message: "x"}))
	must(t, e.Cancel(ctx, running))
	// A parent that a child fails.
	parent := make(nil)
	p, _ = start(t, e, parent, 1)
	children, plan, err := runtime.PlanFanOut("all", "user:42", engine.DefaultQueue, []engine.Child{{Name: "a", Spec: engine.Spec{Type: "export"}}})
	must(t, err, p.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
	must(t, e.Spawn(ctx, parent, p.r.Fence, 0, "all", children))
	must(t, p.write(runtime.Report{Type: engine.JobAwaiting}).Err)
	if err := waitingAre(ctx, e, parent); err != nil {
		return fmt.Errorf("awaiting: %w", err)
	}
	child, err := e.Redis().ZRange(ctx, shardKey(e, "k:"+string(parent)), 0, 0).Result()
	must(t, err)
	must(t, e.Cancel(ctx, engine.JobID(child[0])))
	if err := waitingAre(ctx, e); err != nil {
		return fmt.Errorf("all have ended: %w", err)
	}
	return nil
}

func TestJobsAreListedByTheirDeadlineWhileTheyWait(t *testing.T) {
	if err := dueLife(t, open(t, redistest.Server(t).URL(), oneShard)); err != nil {
		t.Error(err)
	}
}

// Each mistake in the list turns the test above red.
func TestListsOfDeadlinesSeeMistakes(t *testing.T) {
	for _, m := range []struct{ promise, from, to string }{
		{"a job with a deadline is known by a flag", `(j.dated and "d" or "")`, `""`},
		{"the flag is read", `dated = flags and flagged(flags, "d")`, `dated = false`},
		{"from its beginning", `with.ai ~= nil, with.dl ~= nil`, `with.ai ~= nil, false`},
		{"a deadline alone has flags", `or j.adopted or j.dated then`, `or j.adopted then`},
		{"a change of state is noted", `j.state, j.turned = state, true`, `j.state = state`},
		{"what runs is not listed", `if j.ended or running(j.state) then`, `if j.ended then`},
		{"what has ended is not listed", `if j.ended or running(j.state) then`, `if running(j.state) then`},
		{"nor what another's end ended", `(j.turned or j.ended)`, `j.turned`},
		{"what waits is listed", `call("ZADD", prefix .. "due", get(j, "dl"), j.id)`, ``},
		{"a job that waits is listed again", `call("ZADD", prefix .. "due", deadline, ARGV[1])`, ``},
		{"a job that runs is not", `if deadline and state ~= "running" then`, `if deadline then`},
		{"nor one that is gone", `call("ZREM", prefix .. "due", ARGV[1])`, ``},
	} {
		t.Run(m.promise, func(t *testing.T) {
			e := open(t, redistest.Server(t).URL(), oneShard)
			if n := e.Rewrite(m.from, m.to); n != 1 {
				t.Fatalf("the scripts have it %d times, want once", n)
			}
			if err := dueLife(t, e); err == nil {
				t.Error("it went unseen")
			}
		})
	}
}

// Deadlines that have passed are found, the oldest first and as many as are wanted.
func TestDueJobsAreFound(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		ctx := soon(t)
		none, err := e.Due(ctx, 10)
		if err != nil || len(none) != 0 {
			t.Fatal(none, err)
		}
		past := e.Now().Add(-time.Minute).UnixMilli()
		for shard, ms := range map[int]int64{3: past, 5: past - 1, 7: past + time.Hour.Milliseconds()} {
			for i := range 3 {
				id := fmt.Sprintf("%02d%026d", shard, i)
				must(t, e.Redis().ZAdd(ctx, fmt.Sprintf("%s:{%02d}:due", e.Namespace(), shard), redis.Z{Score: float64(ms) + float64(i), Member: id}).Err())
			}
		}
		for limit, want := range map[int]int{2: 2, 4: 4, 10: 6} {
			got, err := e.Due(ctx, limit)
			if err != nil || len(got) != want || got[0] != engine.JobID(fmt.Sprintf("03%026d", 0)) {
				t.Errorf("of at most %d came %v: %v", limit, got, err)
			}
		}
	})
}
