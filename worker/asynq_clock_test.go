package worker_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// Delayed jobs begin when Redis's clock says so, whichever way the clock of the machine
// differs that enqueues them and runs them, and their tasks are leased by it.
func TestDelayedJobsGoByRedisClock(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"behind": -time.Hour, "ahead": time.Hour} {
		t.Run("Redis is "+name, func(t *testing.T) {
			t.Parallel()
			clock := redistest.NewClock(t)
			clock.Shift(by)
			e := open(t, redistest.Server(t, redistest.WithClock(clock)).URL())
			late := enqueue(t, e, "export", func(s *engine.Spec) { s.Delay = 30 * time.Minute })
			soonDue := enqueue(t, e, "export", func(s *engine.Spec) { s.Delay = time.Second })
			queue := e.QueueName(engine.DefaultQueue)
			lease := "asynq:{" + queue + "}:lease"
			leased := make(chan float64, 10)
			w := build(t, brief(e))
			worker.Handle(w, "export", func(ctx context.Context, run *worker.Run, _ []byte) error {
				at, err := e.Redis().ZScore(ctx, lease, runtime.TaskID(run.ID(), 1)).Result()
				leased <- at
				return err
			})
			start(t, w)
			if end := last(history(t, e, soonDue, nil)); end.State != engine.Succeeded {
				t.Fatalf("the job that was due ended as %s, %+v", end.State, end.Error)
			}
			// asynq moves all that is due at once: had the other one been, it would be gone.
			info, err := inspect(e).GetTaskInfo(queue, runtime.TaskID(late, 1))
			if err != nil {
				t.Error(err)
			} else if info.State != asynq.TaskStateScheduled {
				t.Errorf("the task of a job that is due in half an hour is %s", info.State)
			}
			now := redisTime(t, e)
			if at := time.Unix(int64(<-leased), 0).Sub(now); at < -10*time.Minute || at > 10*time.Minute {
				t.Errorf("the lease ends %s from now by Redis's clock", at)
			}
		})
	}
}

func redisTime(t *testing.T, e *engine.Engine) time.Time {
	t.Helper()
	now, err := e.Redis().Time(soon(t)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// What asynq's servers send of their machine's time is Redis's when it arrives.
func TestAsynqSendsRedisTime(t *testing.T) {
	t.Parallel()
	clock := redistest.NewClock(t)
	clock.Shift(-time.Hour)
	e := open(t, redistest.Server(t, redistest.WithClock(clock)).URL())
	ctx, c := soon(t), worker.AsynqClient(e)
	say := redis.NewScript("return ARGV")
	near := func(what string, got string, want time.Time, unit time.Duration) {
		t.Helper()
		n, err := strconv.ParseInt(got, 10, 64)
		if off := time.Duration(n)*unit - time.Duration(want.UnixNano()); err != nil || off.Abs() > 10*time.Minute {
			t.Errorf("%s: %q is %s off: %v", what, got, off, err)
		}
	}
	here := time.Now()
	for kind, after := range map[string]time.Duration{
		"pending": 0, "scheduled": 0, "retry": 0, "completed": 0, "lease": -30 * time.Second,
	} {
		keys := []string{"asynq:{default}:" + kind, "another"}
		for _, way := range []string{"Eval, as after a restart of Redis", "EvalSha"} {
			got, err := say.Run(ctx, c, keys, here.Add(after).Unix(), "prefix", here.UnixNano()).StringSlice()
			if err != nil || len(got) != 3 || got[1] != "prefix" {
				t.Fatalf("%s, %s: %q, %v", kind, way, got, err)
			}
			near(kind+", "+way, got[0], redisTime(t, e), time.Second)
			if kind == "scheduled" || kind == "retry" {
				near(kind+" in nanoseconds", got[2], redisTime(t, e), time.Nanosecond)
			}
		}
	}
	if got, err := say.Run(ctx, c, []string{"asynq:{default}:t:a", "another"}, here.Unix()).StringSlice(); err != nil || got[0] != strconv.FormatInt(here.Unix(), 10) {
		t.Errorf("what is no time became %q: %v", got, err)
	}
	lease := redis.Z{Score: float64(here.Unix()), Member: "a"}
	if err := e.Redis().ZAdd(ctx, "asynq:{default}:lease", redis.Z{Score: 1, Member: "a"}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.ZAddXX(ctx, "asynq:{default}:lease", lease).Err(); err != nil {
		t.Fatal(err)
	}
	got, err := e.Redis().ZScore(ctx, "asynq:{default}:lease", "a").Result()
	if err != nil {
		t.Fatal(err)
	}
	near("a lease that is extended", strconv.Itoa(int(got)), redisTime(t, e), time.Second)
}

// While Redis's clock has jumped, no delayed task is due.
func TestDelayedTasksWaitWhileRedisClockHasJumped(t *testing.T) {
	t.Parallel()
	clock := redistest.NewClock(t)
	e := open(t, redistest.Server(t, redistest.WithClock(clock)).URL())
	var log logbook
	o := brief(e)
	o.Logger = log.logger()
	putSchedule(t, e, everySecond())
	start(t, pulsing(t, o, make(chan engine.JobID, 1000)))
	ask := func() (any, error) {
		return redis.NewScript("return 1").Run(soon(t), worker.AsynqClient(e), []string{"asynq:{default}:scheduled"}, time.Now().Unix()).Result()
	}
	if got, err := ask(); err != nil || got != int64(1) {
		t.Errorf("Redis is asked for what is due, and answers %v, %v", got, err)
	}
	clock.Shift(24 * time.Hour)
	eventually(t, "the jump to be noticed", func() bool { return strings.Contains(log.String(), runtime.ErrClock.Error()) })
	if got, err := ask(); err != nil || got != int64(0) {
		t.Errorf("Redis is asked for what is due after its clock has jumped, and answers %v, %v", got, err)
	}
}
