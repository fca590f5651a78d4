package gateway_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Every gateway shows the same of every queue, and says so where Redis does not answer.
func TestQueueMetrics(t *testing.T) {
	proxy := redistest.NewProxy(t, redistest.Server(t).Addr())
	e := open(t, proxy.URL(), nil)
	a, b := serve(t, e, nil), serve(t, e, nil)
	for _, queue := range []string{"q0", "q1", "q1", "q1"} {
		if _, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:42", Type: "count", Queue: queue}); err != nil {
			t.Fatal(err)
		}
	}
	of := func(s *server) []string {
		t.Helper()
		got := s.ask(t, http.MethodGet, "/metrics", "", nil)
		if got.status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
		var lines []string
		for line := range strings.Lines(got.body) {
			if strings.HasPrefix(line, "tidemark_queue") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	eventually(t, "the queues to be shown", func() bool { // which are up to a second old
		return slices.Contains(of(a), `tidemark_queue_jobs{queue="q1",state="waiting"} 3`)
	})
	for _, s := range []*server{a, b} {
		lines := of(s)
		for _, want := range []string{
			"tidemark_queues_known 1", `tidemark_queue_jobs{queue="q0",state="waiting"} 1`, `tidemark_queue_jobs{queue="q1",state="waiting"} 3`,
			`tidemark_queue_jobs{queue="q1",state="running"} 0`,
			`tidemark_queue_workers{queue="q1"} 0`, `tidemark_queue_paused{queue="q1"} 0`,
		} {
			if !slices.Contains(lines, want) {
				t.Errorf("metrics lack %s", want)
			}
		}
		if n := len(lines); n != 1+2*6 {
			t.Errorf("%d metrics of queues, want six for each of two: %q", n, lines)
		}
	}
	proxy.Refuse()
	proxy.CutAll()
	eventually(t, "Redis's silence to be shown", func() bool { return slices.Equal(of(a), []string{"tidemark_queues_known 0"}) })
}

// More than 100 queues have no more labels. What is in the others is shown as one.
func TestQueueMetricsAreBounded(t *testing.T) {
	var all []engine.Queue
	for i := range 104 {
		all = append(all, engine.Queue{
			Name: fmt.Sprintf("q%03d", i), Workers: i, Paused: i == 102,
			Counts: &engine.QueueCounts{Waiting: 1, Running: 2, Delayed: int64(i), OldestSeconds: int64(104 - i)},
		})
	}
	all = slices.Insert(all, 50, engine.Queue{Name: "theirs", Foreign: true, Counts: &engine.QueueCounts{Waiting: 1000}})
	all[0].Counts = nil
	got := gateway.LabeledQueues(all)
	want := engine.Queue{Name: "other", Workers: 100, Paused: true, Counts: &engine.QueueCounts{Waiting: 4, Running: 8, Delayed: 406, OldestSeconds: 4}}
	if len(got) != 101 || got[0].Counts == nil || got[99].Name != "q099" || !reflect.DeepEqual(got[100], want) {
		t.Errorf("%d, of which the last is %+v, %+v; want %+v", len(got), got[len(got)-1], got[len(got)-1].Counts, want)
	}
	if all[101].Counts.Waiting != 1 {
		t.Error("it changes what it was given")
	}
	if one := gateway.LabeledQueues(all[:102]); len(one) != 101 || one[100].Name != "other" {
		t.Errorf("of one more it makes %+v", one[len(one)-1])
	}
}
