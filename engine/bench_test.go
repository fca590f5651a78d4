package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// leanScript is the least that a commit could do: check the fence, append to the
// topic and the log, move the job and the head. The record comes ready-made.
const leanScript = `
local j = redis.call("HMGET", KEYS[1], "at", "tk", "sq")
if j[1] and (j[1] ~= ARGV[1] or j[2] ~= ARGV[2]) then return "superseded" end
local n = redis.call("HINCRBY", KEYS[2], "n", 1)
local id = ARGV[5] .. "-" .. string.format("%.0f", n)
redis.call("XADD", KEYS[3], "MAXLEN", "~", 1000, id, "p", id, "r", ARGV[4])
redis.call("XADD", KEYS[4], "MAXLEN", "~", 20000, "*", "t", KEYS[3], "i", id, "p", id, "r", ARGV[4])
redis.call("HSET", KEYS[1], "at", ARGV[1], "tk", ARGV[2], "sq", ARGV[3], "g", ARGV[6], "p", "614", "r", id)
return id`

const benchRuns = 64

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// meter reports a rate, and the processor time of this process and of Redis for
// each unit of it.
type meter struct {
	b          *testing.B
	s          *redistest.Redis
	cpu, redis time.Duration
}

func newMeter(b *testing.B, s *redistest.Redis) *meter {
	m := &meter{b: b, s: s}
	m.cpu, m.redis = cpu(), m.redisCPU()
	b.ResetTimer()
	return m
}

func (m *meter) report(what string) {
	m.b.StopTimer()
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(m.b.N) }
	m.b.ReportMetric(float64(m.b.N)/m.b.Elapsed().Seconds(), what+"/s")
	m.b.ReportMetric(each(cpu()-m.cpu), "cpu-µs/"+what)
	m.b.ReportMetric(each(m.redisCPU()-m.redis), "redis-cpu-µs/"+what)
}

func (m *meter) redisCPU() time.Duration {
	info, err := m.s.Client(m.b).Info(context.Background(), "cpu").Result()
	if err != nil {
		m.b.Fatal(err)
	}
	var total float64
	for line := range strings.SplitSeq(info, "\r\n") {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if v, ok := strings.CutPrefix(line, name); ok {
				f, _ := strconv.ParseFloat(v, 64)
				total += f
			}
		}
	}
	return time.Duration(total * float64(time.Second))
}

// BenchmarkCommit: 64 runs report their progress, each as soon as the report before
// it is answered, beside a lean script whose calls are pipelined 64 at a time.
func BenchmarkCommit(b *testing.B) {
	s := redistest.Server(b)
	b.Run("baseline=lean-script-pipelined", func(b *testing.B) {
		c := s.Client(b)
		ctx := context.Background()
		if err := c.FlushAll(ctx).Err(); err != nil {
			b.Fatal(err)
		}
		sha, err := c.ScriptLoad(ctx, leanScript).Result()
		if err != nil {
			b.Fatal(err)
		}
		record := `{"id":"1795196553479-57","type":"job.progress","time":"2026-11-20T18:02:33.479Z","topic":"user:42","job":{"id":"0701JD00000000000000000000","rev":57,"type":"export","title":"Orders 2025","state":"running","percent":61.4,"progress":{"done":614000,"total":1000000,"unit":"rows"},"attempt":2,"stage":{"name":"read","index":1,"count":3},"message":"reading orders","eta_seconds":41,"created_at":"2026-11-20T18:02:33.479Z","started_at":"2026-11-20T18:02:33.479Z"}}`
		shown := record[240:360]
		m := newMeter(b, s)
		for done := 0; done < b.N; {
			pipe := c.Pipeline()
			for i := 0; i < benchRuns && done < b.N; i++ {
				key := fmt.Sprintf("lean:{%02d}:", i%16)
				run := fmt.Sprint(i)
				pipe.EvalSha(ctx, sha, []string{key + "j" + run, key + "m" + run, key + "s" + run, key + "log"}, 1, "token", done, record, "1795196553479", shown)
				done++
			}
			if _, err := pipe.Exec(ctx); err != nil {
				b.Fatal(err)
			}
		}
		m.report("commit")
	})
	for _, topics := range []int{64, 8} {
		b.Run(fmt.Sprintf("tidemark/topics=%d", topics), func(b *testing.B) { benchmarkCommit(b, s, topics) })
	}
}

func benchmarkCommit(b *testing.B, s *redistest.Redis, topics int) {
	e := open(b, s.URL(), nil)
	runs := make([]runtime.Report, benchRuns)
	for i := range runs {
		runs[i] = begin(b, e, engine.Topic(fmt.Sprintf("user:%d", i%topics)))
	}
	var next atomic.Int64
	m := newMeter(b, s)
	var all sync.WaitGroup
	for i := range runs {
		all.Go(func() {
			r := runs[i]
			r.Type = engine.JobProgress
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				r.Fence.Seq++
				r.Tenths = int(n * 999 / int64(b.N))
				r.Shown = benchShown(n, int64(b.N))
				acks, err := e.Commit(context.Background(), r)
				if err != nil || acks[0].Err != nil {
					b.Error(err, acks)
					return
				}
			}
		})
	}
	all.Wait()
	m.report("commit")
}
