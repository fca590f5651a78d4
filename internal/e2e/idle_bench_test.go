package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// BenchmarkIdle counts what an idle process asks of Redis a second, over
// TIDEMARK_BENCH_IDLE (20s), and prints it by command and key. A script is one call; the
// commands in it are counted apart, as inner. On a Cluster it is the sum of three nodes.
// TIDEMARK_BENCH_PROGRAM names another build to measure.
func BenchmarkIdle(b *testing.B) {
	program, span := os.Getenv("TIDEMARK_BENCH_PROGRAM"), 20*time.Second
	var err error
	if program == "" {
		if program, err = build(); err != nil {
			b.Fatal(err)
		}
	}
	if text := os.Getenv("TIDEMARK_BENCH_IDLE"); text != "" {
		if span, err = time.ParseDuration(text); err != nil {
			b.Fatal(err)
		}
	}
	queues := make([]string, 20)
	for i := range queues {
		queues[i] = fmt.Sprintf("q%02d=1", i)
	}
	for _, c := range []struct {
		name    string
		cluster bool
		args    []string
	}{
		{"worker", false, []string{"worker"}},
		{"worker-20-queues", false, []string{"worker", "--queues", strings.Join(queues, ",")}},
		{"worker-cluster", true, []string{"worker"}},
		{"gateway", false, []string{"gateway", "--addr", "127.0.0.1:0"}},
		{"up", false, []string{"up", "--addr", "127.0.0.1:0"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				nodes, url := []*redistest.Redis(nil), ""
				if c.cluster {
					all := redistest.Cluster(b)
					nodes, url = all.Each, all.URL()
				} else {
					one := redistest.Server(b)
					nodes, url = []*redistest.Redis{one}, one.URL()
				}
				idleCalls(b, nodes, span, exec.Command(program, append(c.args, "--redis", url, "--data", b.TempDir())...))
			}
		})
	}
}

// idleCalls runs a program for a while that nothing is asked of.
func idleCalls(b *testing.B, nodes []*redistest.Redis, span time.Duration, program *exec.Cmd) {
	program.Dir, program.Env = b.TempDir(), environment()
	if err := program.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = program.Process.Signal(syscall.SIGTERM)
		_ = program.Wait()
	}()
	from := time.Now().Add(8 * time.Second) // what its start asks is over
	ctx, cancel := context.WithDeadline(b.Context(), from.Add(span))
	defer cancel()
	var mu sync.Mutex // nodes are watched at once
	calls, inner := map[string]int{}, map[string]int{}
	see := func(c redistest.Call) bool {
		mu.Lock()
		defer mu.Unlock()
		what := c.Command + " " + shardKey.ReplaceAllString(keyID.ReplaceAllString(c.Key, "…"), "{NN}")
		switch {
		case time.Now().Before(from):
		case c.InScript:
			inner[what]++
		default:
			calls[what]++
		}
		return true
	}
	var watched sync.WaitGroup
	for _, node := range nodes {
		watched.Go(func() {
			if err := node.Monitor(ctx, see); !errors.Is(err, context.DeadlineExceeded) {
				b.Error(err)
			}
		})
	}
	watched.Wait()
	b.ReportMetric(perSecond(b, "calls", calls, span), "calls/s")
	b.ReportMetric(perSecond(b, "in scripts", inner, span), "inner/s")
	b.ReportMetric(0, "ns/op")
}

// perSecond prints counts by what they count, and returns their sum.
func perSecond(b *testing.B, title string, counts map[string]int, span time.Duration) float64 {
	var what []string
	total := 0
	for k, n := range counts {
		what = append(what, k)
		total += n
	}
	slices.SortFunc(what, func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
	fmt.Printf("\n%s: %s a second\n", b.Name(), title)
	for _, k := range what {
		fmt.Printf("%7.2f  %s\n", float64(counts[k])/span.Seconds(), k)
	}
	return float64(total) / span.Seconds()
}

// shardKey is the part of a key that names its shard.
var shardKey = regexp.MustCompile(`\{[0-9]{2}\}`)

// keyID is what differs in keys from one start to the next.
var keyID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]{3,}`)
