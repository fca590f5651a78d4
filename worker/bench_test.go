package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// BenchmarkProgressNotDue is what a handler's loop pays for reporting at every turn:
// at most 25 ns and no allocation.
func BenchmarkProgressNotDue(b *testing.B) {
	e := open(b, redistest.Server(b).URL())
	w := build(b, worker.Options{Engine: e, Logger: quiet()})
	done := make(chan struct{})
	worker.Handle(w, "bench", func(_ context.Context, run *worker.Run, _ []byte) error {
		run.Unit("rows")
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			run.Progress(int64(i), int64(b.N))
		}
		b.StopTimer()
		close(done)
		return nil
	})
	start(b, w)
	enqueue(b, e, "bench")
	<-done
}

// BenchmarkCheckpointDue is what asking costs at every turn.
func BenchmarkCheckpointDue(b *testing.B) {
	e := open(b, redistest.Server(b).URL())
	w := build(b, worker.Options{Engine: e, Logger: quiet()})
	done := make(chan int, 1)
	worker.Handle(w, "bench", func(_ context.Context, run *worker.Run, _ []byte) error {
		due := 0
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			if run.CheckpointDue() {
				due++
			}
		}
		b.StopTimer()
		done <- due
		return nil
	})
	start(b, w)
	enqueue(b, e, "bench")
	<-done
}

// BenchmarkJobs measures jobs a second, from a queue that was filled before: bare
// asynq, and Tidemark on the same Redis with the same concurrency. The goal is 0.6
// of bare asynq.
func BenchmarkJobs(b *testing.B) {
	url := redistest.Server(b).URL()
	for _, concurrency := range []int{10, 64} {
		b.Run(fmt.Sprintf("concurrency=%d/baseline=asynq", concurrency), func(b *testing.B) { bareJobs(b, url, concurrency) })
		b.Run(fmt.Sprintf("concurrency=%d/tidemark", concurrency), func(b *testing.B) { tidemarkJobs(b, url, concurrency) })
	}
}

// fanOut calls do n times from 32 goroutines.
func fanOut(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	if err := each(n, 32, do); err != nil {
		b.Fatal(err)
	}
}

func bareJobs(b *testing.B, url string, concurrency int) {
	e := open(b, url)
	client := asynq.NewClientFromRedisClient(e.Redis())
	queue := e.QueueName("bare")
	fanOut(b, b.N, func(int) error {
		_, err := client.Enqueue(asynq.NewTask("bench", []byte(`{"job":"0001JD3Z4K5V6W7X8Y9Z0A1B2C","attempt":1}`)), asynq.Queue(queue), asynq.MaxRetry(0))
		return err
	})
	var handled atomic.Int64
	all := make(chan struct{})
	s := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{
		Concurrency: concurrency, Queues: map[string]int{queue: 1}, LogLevel: asynq.FatalLevel,
	})
	b.ResetTimer()
	err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		if handled.Add(1) == int64(b.N) {
			close(all)
		}
		return nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	<-all
	b.StopTimer()
	s.Shutdown()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

func tidemarkJobs(b *testing.B, url string, concurrency int) {
	e := open(b, url)
	fanOut(b, b.N, func(i int) error {
		_, err := e.Enqueue(context.Background(), engine.Spec{Topic: engine.Topic(fmt.Sprint("user:", i%1000)), Type: "bench"})
		return err
	})
	var handled atomic.Int64
	all := make(chan struct{})
	w := build(b, worker.Options{Engine: e, Concurrency: concurrency, Logger: quiet()})
	worker.Handle(w, "bench", func(context.Context, *worker.Run, []byte) error {
		if handled.Add(1) == int64(b.N) {
			close(all)
		}
		return nil
	})
	b.ResetTimer()
	start(b, w)
	<-all
	b.StopTimer()
	stop(b, w)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}
