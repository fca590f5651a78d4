package gateway_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
)

// heap is what is reachable.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// flood writes ticks, and a stage every 256 of them; it returns the stages' IDs and
// the head.
func flood(p *pen, ticks int) (stages []engine.Cursor, head engine.Cursor) {
	p.t.Helper()
	for n := 0; n < ticks; n += 64 {
		head = p.tick(64)
		if n%256 == 192 {
			head = p.stage(fmt.Sprintf("stage %d", n/256))
			stages = append(stages, head)
		}
	}
	return stages, head
}

// wantNewest checks that a client holds the newest state of its job and all stages
// that it was not given a snapshot for.
func wantNewest(t *testing.T, h *held, job engine.JobID, stages []engine.Cursor, head engine.Cursor) {
	t.Helper()
	if h.cursor.N() < head.N() || h.jobs[job].Rev < head.N() {
		t.Errorf("it is at %s with revision %d, the head is %s", h.cursor, h.jobs[job].Rev, head)
	}
	told := slices.Contains(h.snapshots, "trimmed")
	ids := h.ids()
	missing := 0
	for _, s := range stages {
		if _, ok := slices.BinarySearchFunc(ids, s, func(a, b engine.Cursor) int { return int(a.N()) - int(b.N()) }); !ok {
			missing++
		}
	}
	if missing > 0 && !told {
		t.Errorf("%d of %d stages are missing, and it was not told", missing, len(stages))
	}
	t.Logf("%d records, %d of %d stages, snapshots %v", len(ids), len(stages)-missing, len(stages), h.snapshots)
}

// manyTicks are what a topic takes while its client does not read.
const manyTicks = 100_000

// scale gives a count of the test run, or of the soak (task soak).
func scale(test, full int) int {
	if os.Getenv("TIDEMARK_SOAK") == "1" {
		return full
	}
	return test
}

// A client that reads nothing costs neither memory nor reads of Redis, and holds up no neighbour: the
// topics that it follows go on until a client of another topic has had its records.
func TestClientThatStopsReading(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries int
		ticks   int
	}{
		{"the stream holds all", 2 * manyTicks, manyTicks},
		{"the stream is trimmed", 2000, scale(20_000, manyTicks)},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t, redisURL(t), func(o *engine.Options) { o.TopicEntries, o.TopicBytes = c.entries, 128<<20 })
			metrics := prometheus.NewRegistry()
			s := serve(t, e, func(o *gateway.Options) {
				o.PongTimeout, o.StallTimeout, o.Registry = time.Minute, time.Minute, metrics
			})
			p := start(t, e, topic)
			slow := newClient(t, s.dial(t, dialer(32<<10), nil))
			h := slow.subscribe("a", topic, "", "")
			slow.untilLive("a")
			var others []*pen // a topic for each of the hub's workers
			for i := range runtime.GOMAXPROCS(0) {
				other := start(t, e, engine.Topic(fmt.Sprintf("user:slow-%d", i)))
				sid := fmt.Sprintf("b%d", i)
				slow.subscribe(sid, engine.Topic(fmt.Sprintf("user:slow-%d", i)), "", "")
				slow.untilLive(sid)
				others = append(others, other)
			}
			near := newNeighbour(t, e, s)
			// What the connections and pools cost, before the measure.
			flood(p, 512)
			widen(t, e, p.job)
			before, readBefore := heap(), pagesRead(t, metrics)

			served := make(chan struct{})
			go func() {
				defer close(served)
				near.follow(50)
			}()
			var stages []engine.Cursor
			var head engine.Cursor
			for n, over := 0, false; n < c.ticks || !over; n += 512 {
				some, at := flood(p, 512)
				stages, head = append(stages, some...), at
				for _, other := range others {
					other.tick(1)
				}
				select {
				case <-served:
					over = true
				default:
				}
			}
			near.follow(8) // each takes a read of the tail: then the topic's inbox is empty
			frames, bytes := s.Held()
			grown, read := heap()-before, pagesRead(t, metrics)-readBefore
			t.Logf("%d ticks unread: %d frames of %d bytes held, heap %+d bytes, %v pages read", c.ticks, frames, bytes, grown, read)
			if frames == 0 || bytes > 192<<10 || grown > 512<<10 {
				t.Errorf("a client that does not read holds %d frames of %d bytes, the heap grew by %d", frames, bytes, grown)
			}
			if most := float64(2 * (1 + len(others))); read > most {
				t.Errorf("%v pages were read for a client that does not read, want at most %v", read, most)
			}
			hurry(t, slow.conn)
			slow.untilCursor("a", head)
			wantNewest(t, h, p.job, stages, head)
			if trimmed := c.entries < c.ticks; trimmed != slices.Contains(h.snapshots, "trimmed") {
				t.Errorf("snapshots %v", h.snapshots)
			}
			slow.untilCursor("a", p.succeed())
			if h.jobs[p.job].State != engine.Succeeded {
				t.Errorf("the job is %+v", h.jobs[p.job])
			}
		})
	}
}

// pagesRead is how many pages the gateway has read for subscriptions that were behind.
func pagesRead(t *testing.T, r *prometheus.Registry) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tidemark_gateway_pages_read_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("there is no metric of pages")
	return 0
}

// widen has the engine open as many connections to Redis as it ever will at a time.
func widen(t *testing.T, e *engine.Engine, job engine.JobID) {
	t.Helper()
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range 8 {
				if _, err := e.Job(t.Context(), job); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// A neighbour is a client of another topic, and the job that it follows.
type neighbour struct {
	*client
	pen *pen
}

func newNeighbour(t *testing.T, e *engine.Engine, s *server) *neighbour {
	t.Helper()
	n := &neighbour{client: s.client(t), pen: start(t, e, "user:43")}
	n.subscribe("n", "user:43", "", "")
	n.untilLive("n")
	return n
}

// follow writes ticks, each once the client has the one before.
func (n *neighbour) follow(ticks int) {
	n.t.Helper()
	for range ticks {
		n.untilCursor("n", n.pen.tick(1))
		n.subs["n"].records = nil // the test's own, in the same heap
	}
}

func TestClientThatStopsForTooLongIsEndedAndResumes(t *testing.T) {
	e := open(t, redisURL(t), func(o *engine.Options) { o.TopicEntries, o.TopicBytes = 2*manyTicks, 128<<20 })
	s := serve(t, e, func(o *gateway.Options) { o.PongTimeout, o.StallTimeout = time.Minute, 200*time.Millisecond })
	p := start(t, e, topic)
	slow := newClient(t, s.dial(t, dialer(32<<10), nil))
	h := slow.subscribe("a", topic, "", "")
	slow.untilLive("a")
	stages, head := flood(p, scale(3072, manyTicks))
	ctx := soon(t)
	for s.Sessions() > 0 {
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			t.Fatal("it is not ended")
		}
	}
	hurry(t, slow.conn)
	for { // what the kernels had taken
		if _, err := slow.next(5 * time.Second); err != nil {
			break
		}
	}
	if h.cursor.N() >= head.N() {
		t.Fatalf("it got everything: the test stops nobody")
	}
	again := s.client(t)
	again.subs["a"] = h
	again.send(fmt.Sprintf(`{"type":"subscribe","sid":"a","topic":%q,"after":%q}`, topic, h.cursor))
	again.untilCursor("a", head)
	wantNewest(t, h, p.job, stages, head)
}

// wait lets a moment pass between two looks.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// TestClientThatAsksWithoutReading: answers are bounded too.
func TestClientThatAsksWithoutReading(t *testing.T) {
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) {
		o.MessagesPerSecond, o.MessageBurst = 10_000, 100_000
		o.PongTimeout, o.StallTimeout = time.Minute, 200*time.Millisecond
	})
	for range 1000 {
		enqueue(t, e, topic)
	}
	c := newClient(t, s.dial(t, dialer(32<<10), nil))
	for i := range 2000 { // each answer is some 200 KiB
		if err := c.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`{"type":"subscribe","sid":"%d","topic":"user:42"}`, i)
		if err := c.conn.WriteMessage(1, []byte(text)); err != nil {
			break
		}
		if _, bytes := s.Held(); bytes > 256<<10 {
			t.Fatalf("%d bytes are held after %d messages", bytes, i)
		}
	}
	ctx := soon(t)
	for s.Sessions() > 0 {
		if _, bytes := s.Held(); bytes > 256<<10 {
			t.Fatalf("%d bytes are held", bytes)
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			t.Fatal("it is not ended")
		}
	}
}
