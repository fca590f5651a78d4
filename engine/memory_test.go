package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// BenchmarkRedisMemory: what 100,000 ended jobs and 1,000 full topics hold in Redis.
// Its time says nothing.
func BenchmarkRedisMemory(b *testing.B) {
	b.Run("ended-jobs=100000", func(b *testing.B) {
		const jobs = 100_000
		s := redistest.Server(b)
		// Streams and logs are bounded, so a cost of topics and of the last minute, not
		// of jobs: they are made as small as they can be.
		e := open(b, s.URL(), func(o *engine.Options) { o.TopicEntries, o.LogEntries = 10, 100 })
		before := usedMemory(b, s)
		for b.Loop() {
			each(jobs, func(i int) {
				r := begin(b, e, engine.Topic(fmt.Sprintf("user:%d", i%1000)))
				r.Type, r.Fence.Seq = engine.JobSucceeded, r.Fence.Seq+1
				r.Shown = benchShown(1000, 1000)
				r.Result = []byte(`{"rows":1000000,"artifact":"artifacts/` + string(r.Job) + `/profile.json"}`)
				commit(b, e, r)
			})
		}
		// No worker took the tasks: they are asynq's, and would be gone.
		inspector := asynq.NewInspectorFromRedisClient(e.Redis())
		if _, err := inspector.DeleteAllPendingTasks(e.QueueName(engine.DefaultQueue)); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(usedMemory(b, s)-before)/jobs, "redis-B/job")
	})
	b.Run("full-topics=1000", func(b *testing.B) {
		const topics = 1000
		s := redistest.Server(b)
		e := open(b, s.URL(), func(o *engine.Options) { o.LogEntries = 100 })
		var records atomic.Int64
		for b.Loop() {
			each(topics, func(i int) {
				topic := engine.Topic(fmt.Sprintf("user:%d", i))
				r := begin(b, e, topic)
				r.Type, r.Shown = engine.JobProgress, benchShown(0, 1000)
				for written := 0; written <= 1<<20; {
					batch := make([]runtime.Report, 64)
					for k := range batch {
						r.Fence.Seq++
						r.Tenths = written * 999 / (2 << 20)
						batch[k] = r
					}
					if _, err := e.Commit(context.Background(), batch...); err != nil {
						b.Error(err)
						return
					}
					written += 64 * 500
				}
			})
		}
		for i := range topics {
			n, err := e.Redis().XLen(b.Context(), e.StreamKey(engine.Topic(fmt.Sprintf("user:%d", i)))).Result()
			if err != nil {
				b.Fatal(err)
			}
			records.Add(n)
		}
		b.ReportMetric(float64(usedMemory(b, s))/topics, "redis-B/topic")
		b.ReportMetric(float64(records.Load())/topics, "records/topic")
	})
}

// each calls do with 0 to n-1, from 64 goroutines.
func each(n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range benchRuns {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	all.Wait()
}

// begin enqueues a job and starts its attempt.
func begin(b *testing.B, e *engine.Rig, topic engine.Topic) runtime.Report {
	job, err := e.Enqueue(context.Background(), engine.Spec{Topic: topic, Type: "export", Title: "Orders 2025"})
	if err != nil {
		b.Fatal(err)
	}
	r := runtime.Report{
		Type: engine.JobStarted, Job: job.ID,
		Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1},
	}
	commit(b, e, r)
	return r
}

func commit(b *testing.B, e *engine.Rig, r runtime.Report) {
	acks, err := e.Commit(context.Background(), r)
	if err != nil || acks[0].Err != nil {
		b.Error(err, acks)
	}
}

func benchShown(done, total int64) *runtime.Shown {
	return &runtime.Shown{
		Progress: engine.Progress{Done: done, Total: total, Unit: "rows"},
		Stage:    engine.Stage{Name: "read", Index: 1, Count: 3}, Message: "reading orders", ETA: 41 * time.Second,
	}
}

func usedMemory(b *testing.B, s *redistest.Redis) int64 {
	info, err := s.Client(b).InfoMap(context.Background(), "memory").Result()
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
