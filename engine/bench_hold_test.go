package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// BenchmarkLongestHold prints the longest time, by Redis's slow log, that one call of each
// way to read holds Redis while a topic has 100,000 live jobs, and 100,000 that have ended.
func BenchmarkLongestHold(b *testing.B) {
	const jobs, rounds = 100_000, 5
	s := redistest.Server(b)
	e := open(b, s.URL(), nil)
	ctx, c := context.Background(), s.Client(b)
	const topic = engine.Topic("user:42")
	first := enqueue(b, e)
	ids := fill(b, e, c, topic, first, jobs)
	list := func(after string, pages int) {
		q := engine.JobsQuery{After: after, Limit: 500}
		for range pages {
			page, err := e.Jobs(ctx, topic, q)
			must(b, err)
			q.After = page.Next
		}
	}
	for _, read := range []struct {
		name string
		do   func()
	}{
		{"snapshot", func() {
			_, err := e.Snapshot(ctx, topic, "")
			must(b, err)
		}},
		{"snapshot-since", func() {
			_, err := e.Snapshot(ctx, topic, engine.Beginning)
			must(b, err)
		}},
		{"jobs", func() { list("", 20); list("live:"+string(ids[jobs/2]), 20); list("ended:50000", 20) }},
		{"jobs-none-matches", func() {
			for _, f := range []engine.Filter{
				{Type: "nothing"},
				{Parent: ids[0]},
				{Labels: map[string]string{"team": "sales", "region": "eu"}},
				{Type: "export", CreatedTo: time.Unix(0, 0)},
			} {
				for _, after := range []string{"", "live:" + string(ids[jobs/2]), "ended:50000"} {
					page, err := e.Jobs(ctx, topic, engine.JobsQuery{Filter: f, After: after, Limit: 500})
					must(b, err)
					if len(page.Jobs) > 0 {
						b.Fatalf("%s lists %d jobs", f, len(page.Jobs))
					}
				}
			}
		}},
		{"states", func() {
			_, err := e.States(ctx, ids[:2000])
			must(b, err)
		}},
		{"walk", func() {
			for range 20 {
				_, _, err := paged(e.Walk("test", 0), 250, 0, 0).Next(ctx)
				must(b, err)
			}
		}},
		{"replay", func() {
			_, err := e.Replay(ctx, topic, engine.Beginning)
			must(b, err)
		}},
		{"enqueue-cancel", func() {
			for range 20 {
				must(b, e.Cancel(ctx, enqueue(b, e)))
			}
		}},
	} {
		b.Run(read.name, func(b *testing.B) {
			read.do() // scripts are loaded, memory is touched
			// What a script calls is logged as well, which would cost time of its own.
			must(b, c.ConfigSet(ctx, "slowlog-log-slower-than", "20").Err(), c.ConfigSet(ctx, "slowlog-max-len", "100000").Err())
			// Redis itself may be put aside by the machine in the middle of a call. The calls
			// are the same in every round: of each that is slow in all, the shortest counts.
			calls, seen := map[string]time.Duration{}, map[string]int{}
			for range rounds {
				must(b, c.Do(ctx, "SLOWLOG", "RESET").Err())
				read.do()
				slow, err := c.SlowLogGet(ctx, -1).Result()
				must(b, err)
				for _, call := range slow {
					name := strings.Join(call.Args, " ")
					seen[name]++
					if before, again := calls[name]; !again || call.Duration < before {
						calls[name] = call.Duration
					}
				}
			}
			longest := time.Duration(0)
			for name, took := range calls {
				if seen[name] >= rounds && !strings.HasPrefix(strings.ToUpper(name), "SLOWLOG") {
					longest = max(longest, took)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest-call")
		})
	}
}

// fill writes jobs that live, and as many that have ended, beside one that was enqueued,
// as the engine would have, and returns the IDs of those that live.
func fill(b *testing.B, e *engine.Rig, c *redis.Client, topic engine.Topic, like engine.JobID, n int) []engine.JobID {
	b.Helper()
	ctx := context.Background()
	prefix, _, _ := strings.Cut(e.StreamKey(topic), "s:"+string(topic))
	fields, err := c.HGetAll(ctx, prefix+"j:"+string(like)).Result()
	must(b, err)
	ids := make([]engine.JobID, 0, n)
	for from := 0; from < n; from += 1000 {
		pipe := c.Pipeline()
		for i := from; i < from+1000; i++ {
			id, over := fmt.Sprintf("%s%018d", like[:10], i), fmt.Sprintf("%s9%017d", like[:10], i)
			ids = append(ids, engine.JobID(id))
			pipe.HSet(ctx, prefix+"j:"+id, fields)
			pipe.HSet(ctx, prefix+"j:"+over, fields)
			pipe.HSet(ctx, prefix+"j:"+over, "st", "succeeded")
			pipe.ZAdd(ctx, prefix+"live", redis.Z{Score: float64(i), Member: id})
			pipe.Do(ctx, "ZADD", prefix+"x:"+string(topic), "+inf", id, i+1, over)
		}
		_, err := pipe.Exec(ctx)
		must(b, err)
	}
	return ids
}
