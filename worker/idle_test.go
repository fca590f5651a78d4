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
			l := idle(t, nodes, clockTicks*c.calls, clockTicks*c.sweeps)
			if l.busy() {
				var list []string
				for what, n := range l.calls {
					list = append(list, fmt.Sprintf("%4d %s", n, what))
				}
				slices.Sort(list)
				t.Errorf("an idle worker made %d calls in %d ticks, at most %d are expected, and swept %d times, at most %d are expected\n%s",
					l.total, clockTicks, l.mostCalls, l.sweeps, l.mostSweeps, strings.Join(list, "\n"))
			}
		})
	}
}

// clockTicks is how many ticks of the clock a look takes, and mostLooks how many there are at most: while a
// worker still starts on a busy machine it is not idle.
const clockTicks, mostLooks = 2, 5

// An idleLook is what came to the nodes within clockTicks.
type idleLook struct {
	calls         map[string]int
	total, sweeps int

	mostCalls, mostSweeps int
}

func (l *idleLook) busy() bool { return l.total > l.mostCalls || l.sweeps > l.mostSweeps }

// idle mostLooks until the worker asks as little as it may, or for the last time.
func idle(t *testing.T, nodes []*redistest.Redis, mostCalls, mostSweeps int) *idleLook {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex // of what follows: nodes are watched at once
	clock, ticks, all, over := "", 0, 0, false
	l := &idleLook{calls: map[string]int{}, mostCalls: mostCalls, mostSweeps: mostSweeps}
	see := func(c redistest.Call) bool {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return false
		}
		if c.Command == "EVALSHA" && strings.HasPrefix(c.Key, "asynq:servers:") && (clock == "" || c.Key == clock) {
			clock = c.Key
			ticks++
			if ticks > clockTicks {
				if all++; !l.busy() || all == mostLooks {
					over = true
					cancel()
					return false
				}
				ticks, l.calls, l.total, l.sweeps = 1, map[string]int{}, 0, 0
			}
		}
		switch {
		case ticks == 0:
		case c.InScript && c.Command == "ZRANGE" && strings.HasSuffix(c.Key, ":{00}:beats"):
			l.sweeps++
		case !c.InScript:
			l.calls[c.Command+" "+c.Key]++
			l.total++
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
	if all == 0 {
		t.Fatal("the clock stands still")
	}
	return l
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
