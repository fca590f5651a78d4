package worker_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// BenchmarkRound has workers look once at each of 100,000 jobs that wait in a queue that none
// of them serves, or for a minute, with the default interval. It prints how long a round is,
// which is reckoned from the looks of a minute where it is longer, how many looks at a job all
// workers take in it, and the share of Redis's time, beside that of the idle workers.
func BenchmarkRound(b *testing.B) {
	const jobs = 100_000
	s := redistest.Server(b)
	e := open(b, s.URL())
	multiply(b, e, jobs)
	for _, workers := range []int{1, 4} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			o := brief(e)
			o.HeartbeatInterval, o.Lease, o.SweepInterval, o.ReconcileInterval = 0, 0, 0, 0 // the defaults
			all := make([]*worker.Worker, workers)
			for i := range all {
				all[i] = build(b, o)
				if err := all[i].Start(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			looks := func() int { return statistic(b, s, "commandstats", "cmdstat_hmget:calls=") }
			busy := func() time.Duration {
				return time.Duration(statistic(b, s, "cpu", "used_cpu_user:")+statistic(b, s, "cpu", "used_cpu_sys:")) * time.Microsecond
			}
			idle, at, before := busy(), time.Now(), looks()
			for looks() == before {
				<-time.After(10 * time.Millisecond) // INFO has no signal
			}
			rest := float64(busy()-idle) / float64(time.Since(at))
			began, used, first := time.Now(), busy(), looks()
			for looks()-first < jobs*999/1000 && time.Since(began) < time.Minute {
				<-time.After(10 * time.Millisecond) // INFO has no signal
			}
			took, n := time.Since(began), looks()-first
			share := float64(busy()-used) / float64(took)
			each := n
			if n < jobs*999/1000 {
				took = took * time.Duration(jobs*workers) / time.Duration(n)
				each = jobs * workers
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took.Seconds(), "s/round")
			b.ReportMetric(float64(each), "looks/round")
			b.ReportMetric(100*share, "%-of-redis")
			b.ReportMetric(100*rest, "%-idle")
			for _, w := range all {
				stop(b, w)
			}
		})
	}
}

// statistic is a number out of Redis's INFO; one with a fraction is in millionths.
func statistic(b *testing.B, s *redistest.Redis, section, name string) int {
	b.Helper()
	info, err := s.Client(b).Info(context.Background(), section).Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, name)
	number := strings.FieldsFunc(rest, func(c rune) bool { return c == ',' || c == '\r' })[0]
	whole, fraction, found := strings.Cut(number, ".")
	n, _ := strconv.Atoi(whole)
	if found {
		part, _ := strconv.Atoi((fraction + "000000")[:6])
		n = n*1_000_000 + part
	}
	return n
}

// multiply writes jobs that wait, with their tasks, as the engine and asynq would have.
func multiply(b *testing.B, e *engine.Engine, n int) {
	b.Helper()
	ctx, c := context.Background(), e.Redis()
	for shard := range 40 {
		topic := engine.Topic(fmt.Sprint("team:", shard))
		made, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "elsewhere"})
		if err != nil {
			b.Fatal(err)
		}
		awaitDispatch(b, e, made.ID)
		key := jobKey(e, made.ID)
		prefix, _, _ := strings.Cut(key, "j:")
		fields, err := c.HGetAll(ctx, key).Result()
		if err != nil {
			b.Fatal(err)
		}
		for from := 0; from < n/40; from += 500 {
			pipe := c.Pipeline()
			for i := from; i < from+500; i++ {
				id := string(made.ID[:12]) + fmt.Sprintf("%02d%014d", shard, i)
				pipe.HSet(ctx, prefix+"j:"+id, fields)
				pipe.ZAdd(ctx, prefix+"live", redis.Z{Score: float64(1_700_000_000_000 + i), Member: id})
				pipe.HSet(ctx, asynqKey(e, "elsewhere", "t:"+runtime.TaskID(engine.JobID(id), 1)), "state", "pending")
			}
			if _, err := pipe.Exec(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
}
