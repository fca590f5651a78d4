package worker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

const (
	benchTick   = 200 * time.Millisecond // between two ticks of a run
	benchWindow = 5 * time.Second        // what one iteration watches
)

// BenchmarkTicks is what the ticks of 200 runs of a process cost, five a second each; of
// 1,000 with TIDEMARK_SOAK=1. Beside it as many goroutines commit a tick each, whenever it
// is theirs, as runs with timers of their own would: what the engine does not happen to
// join is a round trip a tick, the more of them the less busy the machine is. Round trips
// are those with reports, without heartbeats and asynq's. Processor time is the whole
// process's, and includes both.
func BenchmarkTicks(b *testing.B) {
	runs := 200
	if os.Getenv("TIDEMARK_SOAK") == "1" {
		runs = 1000
	}
	s := redistest.Server(b)
	b.Run(fmt.Sprintf("runs=%d/baseline=a-tick-each", runs), func(b *testing.B) { tickEach(b, s, runs) })
	b.Run(fmt.Sprintf("runs=%d/tidemark", runs), func(b *testing.B) { tickTogether(b, s, runs) })
}

// reports counts round trips that carry reports: of the engine's client, only commits
// are pipelines of a script.
type reports struct{ trips atomic.Int64 }

func (c *reports) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *reports) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (c *reports) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return strings.HasPrefix(cmd.Name(), "eval") }) {
			c.trips.Add(1)
		}
		return next(ctx, cmds)
	}
}

// records is how many records Redis has taken: each is appended to its topic's stream
// and to its shard's log.
func records(b *testing.B, s *redistest.Redis) int64 {
	b.Helper()
	info, err := s.Client(b).Info(context.Background(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "cmdstat_xadd:calls=")
	calls, _, _ := strings.Cut(rest, ",")
	n, err := strconv.ParseInt(calls, 10, 64)
	if err != nil {
		b.Fatalf("XADD in %q: %v", info, err)
	}
	return n / 2
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the heap that is in use and the stacks of goroutines, in bytes.
func resident() int64 {
	goruntime.GC()
	goruntime.GC() // what the first has freed of pools
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// watchTicks measures while ticks go by.
func watchTicks(b *testing.B, s *redistest.Redis, trips *atomic.Int64) {
	b.Helper()
	ticks, cpu, calls := records(b, s), processorTime(b), trips.Load()
	for b.Loop() {
		<-time.After(benchWindow)
	}
	ticks, cpu, calls = records(b, s)-ticks, processorTime(b)-cpu, trips.Load()-calls
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(ticks)/seconds, "ticks/s")
	b.ReportMetric(float64(calls)/seconds, "round-trips/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(ticks), "cpu-µs/tick")
}

func benchOptions(e *engine.Engine, runs int) worker.Options {
	return worker.Options{Engine: e, Concurrency: runs, TickInterval: benchTick, Logger: quiet()}
}

func benchTopic(i int) engine.Topic { return engine.Topic(fmt.Sprint("user:", i)) }

func tickTogether(b *testing.B, s *redistest.Redis, runs int) {
	e := open(b, s.URL())
	var count reports
	e.Redis().AddHook(&count)
	w := build(b, benchOptions(e, runs))
	begun, release := make(chan *worker.Run, runs), make(chan struct{})
	worker.Handle(w, "tick", func(_ context.Context, run *worker.Run, _ []byte) error {
		run.Unit("rows")
		begun <- run
		<-release
		return nil
	})
	start(b, w)
	none := resident()
	fanOut(b, runs, func(i int) error {
		_, err := e.Enqueue(context.Background(), engine.Spec{Topic: benchTopic(i), Type: "tick"})
		return err
	})
	all := make([]*worker.Run, runs)
	for i := range all {
		all[i] = <-begun
	}
	// One goroutine reports for all runs, so that the handlers' own loops do not count.
	var reporting sync.WaitGroup
	over := make(chan struct{})
	reporting.Go(func() {
		t := time.NewTicker(benchTick / 4)
		defer t.Stop()
		for n := int64(0); ; n++ {
			for _, run := range all {
				run.Progress(n, 1_000_000)
			}
			select {
			case <-over:
				return
			case <-t.C:
			}
		}
	})
	<-time.After(2 * benchTick) // all have had a tick
	watchTicks(b, s, &count.trips)
	b.ReportMetric(float64(resident()-none)/1024/float64(runs), "KiB/run")
	close(over)
	reporting.Wait()
	close(release)
	stop(b, w)
}

func tickEach(b *testing.B, s *redistest.Redis, runs int) {
	e := open(b, s.URL())
	var count reports
	e.Redis().AddHook(&count)
	o := benchOptions(e, runs)
	// It polls, and has nothing to do: nobody beats for these runs.
	o.Queues, o.Lease = []string{"elsewhere"}, 10*time.Minute
	start(b, build(b, o))
	ctx := context.Background()
	fences := make([]runtime.Report, runs)
	fanOut(b, runs, func(i int) error {
		made, err := e.Enqueue(ctx, engine.Spec{Topic: benchTopic(i), Type: "tick"})
		if err != nil {
			return err
		}
		fences[i] = runtime.Report{Type: engine.JobStarted, Job: made.ID, Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}}
		acks, err := runtime.Of(e).Commit(ctx, fences[i])
		if err != nil {
			return err
		}
		return acks[0].Err
	})
	var ticking sync.WaitGroup
	over := make(chan struct{})
	for _, r := range fences {
		ticking.Go(func() {
			<-time.After(rand.N(benchTick)) // handlers begin when they begin
			t := time.NewTicker(benchTick)
			defer t.Stop()
			r.Type = engine.JobProgress
			for {
				select {
				case <-over:
					return
				case <-t.C:
				}
				r.Fence.Seq++
				r.Shown = &runtime.Shown{Progress: engine.Progress{Done: int64(r.Fence.Seq), Total: 1_000_000, Unit: "rows"}}
				acks, err := runtime.Of(e).Commit(ctx, r)
				if err != nil || acks[0].Err != nil {
					b.Error(err, acks)
					return
				}
			}
		})
	}
	<-time.After(2 * benchTick)
	watchTicks(b, s, &count.trips)
	close(over)
	ticking.Wait()
}
