package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// The clock is one that a slow machine slows as well: asynq tells each 5 seconds that a
// server of its lives. So 150 calls from one such call to the next are 30 a second. A queue
// more costs next to nothing on one server. On a Cluster, queues and shards stand in slots
// of their own, and each costs calls of its own: the most that is allowed there is for all
// three nodes together. A task that asynq does not hand out, or not yet, costs a call more a look.
func TestAnIdleWorkerAsksLittle(t *testing.T) {
	t.Parallel()
	one := func(t *testing.T) (string, []*redistest.Redis) {
		s := redistest.Server(t)
		return s.URL(), []*redistest.Redis{s}
	}
	for _, c := range []struct {
		name   string
		redis  func(*testing.T) (string, []*redistest.Redis)
		queues int
		types  int
		jobs   bool
		calls  int // between two of the clock's ticks, at most
		sweeps int // of a shard
	}{
		{"one queue", one, 1, 1, false, 150, 7},
		{"20 queues and 20 types", one, 20, 20, false, 150, 7},
		{"20 queues, a job that waits and one in a paused queue", one, 20, 1, true, 240, 7},
		{"Cluster", func(t *testing.T) (string, []*redistest.Redis) {
			nodes := redistest.Cluster(t)
			return nodes.URL(), nodes.Each
		}, 2, 2, false, 350, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, nodes := c.redis(t)
			o := worker.Options{Engine: open(t, url), Logger: quiet()}
			for i := range c.queues {
				o.Queues = append(o.Queues, fmt.Sprint("q", i))
			}
			if c.jobs {
				enqueue(t, o.Engine, "export", func(s *engine.Spec) { s.Queue, s.Delay = "q0", time.Hour })
				enqueue(t, o.Engine, "export", func(s *engine.Spec) { s.Queue = "q1" })
				if err := asynq.NewInspectorFromRedisClient(o.Engine.Redis()).PauseQueue(o.Engine.QueueName("q1")); err != nil {
					t.Fatal(err)
				}
			}
			w := build(t, o)
			for i := range c.types {
				worker.Handle(w, fmt.Sprint("type", i), nothing)
			}
			start(t, w)
			calls, sweeps := idle(t, nodes)
			total, list := 0, []string(nil)
			for what, n := range calls {
				total += n
				list = append(list, fmt.Sprintf("%4d %s", n, what))
			}
			slices.Sort(list)
			if total > clockTicks*c.calls || sweeps > clockTicks*c.sweeps {
				t.Errorf("an idle worker made %d calls in %d ticks, at most %d are expected, and swept %d times, at most %d are expected\n%s",
					total, clockTicks, clockTicks*c.calls, sweeps, clockTicks*c.sweeps, strings.Join(list, "\n"))
			}
		})
	}
}

// clockTicks is how many ticks of the clock idle counts calls for.
const clockTicks = 2

// idle counts the calls that come to the nodes, once all has started, and the sweeps.
func idle(t *testing.T, nodes []*redistest.Redis) (calls map[string]int, sweeps int) {
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	var mu sync.Mutex // of what follows: nodes are watched at once
	clock, ticks := "", 0
	calls = map[string]int{}
	see := func(c redistest.Call) bool {
		mu.Lock()
		defer mu.Unlock()
		if c.Command == "EVALSHA" && strings.HasPrefix(c.Key, "asynq:servers:") && (clock == "" || c.Key == clock) {
			clock = c.Key
			ticks++
		}
		switch {
		case ticks > 2+clockTicks:
			cancel()
			return false
		case ticks < 3: // the first two may come while the worker still starts, on a busy machine
		case c.InScript && c.Command == "ZRANGE" && strings.HasSuffix(c.Key, ":{00}:beats"):
			sweeps++
		case !c.InScript:
			calls[c.Command+" "+c.Key]++
		}
		return true
	}
	var watched sync.WaitGroup
	for _, node := range nodes {
		watched.Go(func() {
			if err := node.Monitor(ctx, see); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	watched.Wait()
	return calls, sweeps
}

// BenchmarkIdleStart is how long a job waits for its start where the worker has nothing
// else to do: the median and the 90th percentile of 200, each put in at a moment of its own.
func BenchmarkIdleStart(b *testing.B) {
	e := real(b)
	w := build(b, worker.Options{Engine: e, Logger: quiet()})
	started := make(chan time.Time, 1)
	worker.Handle(w, "bench", func(context.Context, *worker.Run, []byte) error {
		started <- time.Now()
		return nil
	})
	start(b, w)
	for b.Loop() {
		waits := make([]time.Duration, 200)
		for i := range waits {
			<-time.After(rand.N(300 * time.Millisecond))
			put := time.Now()
			if _, err := e.Enqueue(b.Context(), engine.Spec{Topic: topic, Type: "bench"}); err != nil {
				b.Fatal(err)
			}
			waits[i] = (<-started).Sub(put)
		}
		slices.Sort(waits)
		b.ReportMetric(float64(waits[100].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(waits[180].Microseconds())/1000, "p90-ms")
	}
	b.ReportMetric(0, "ns/op")
}
