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
			s := serve(t, e, func(o *gateway.Options) { o.PongTimeout, o.StallTimeout = time.Minute, time.Minute })
			p, quietOne := start(t, e, topic), start(t, e, "user:43")
			slow := newClient(t, s.dial(t, dialer(32<<10), nil))
			h := slow.subscribe("a", topic, "", "")
			slow.untilLive("a")
			// The same gateway without the slow client, for what its neighbours wait. They
			// are measured in turn, each right after a flood.
			near, far := newNeighbour(t, s), newNeighbour(t, serve(t, e, nil))
			// What the connections and pools cost, before the measure.
			flood(p, 512)
			widen(t, e, p.job)
			before := heap()

			const rounds = 50
			var stages []engine.Cursor
			var head engine.Cursor
			inTurn := func(i int) {
				if i%2 == 0 {
					near.wait(far, quietOne.tick)
				} else {
					far.wait(near, quietOne.tick)
				}
			}
			for i := range rounds {
				some, at := flood(p, c.ticks/rounds)
				stages, head = append(stages, some...), at
				inTurn(i)
			}
			for i := range 8 {
				// Each takes a read of the tail: what it had yet to bring of the flood,
				// and the topic's inbox holds, is not the session's.
				inTurn(i)
			}
			frames, bytes := s.Held()
			grown := heap() - before
			waits, without := near.median(), far.median()
			t.Logf("%d ticks unread: %d frames of %d bytes held, heap %+d bytes; a neighbour waits %s, without the slow client %s",
				c.ticks, frames, bytes, grown, waits, without)
			if frames == 0 || bytes > 192<<10 || grown > 512<<10 {
				t.Errorf("a client that does not read holds %d frames of %d bytes, the heap grew by %d", frames, bytes, grown)
			}
			if waits > 3*without {
				t.Errorf("a neighbour waits %s, and %s without the slow client", waits, without)
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

// A neighbour is a client of another topic, and how long records took to reach it.
type neighbour struct {
	*client
	waits []time.Duration
}

func newNeighbour(t *testing.T, s *server) *neighbour {
	t.Helper()
	n := &neighbour{client: s.client(t)}
	n.subscribe("n", "user:43", "", "")
	n.untilLive("n")
	return n
}

// wait measures how long a record takes that is for both, and has the other read it.
func (n *neighbour) wait(other *neighbour, publish func(int) engine.Cursor) {
	n.t.Helper()
	begun := time.Now()
	at := publish(1)
	n.untilCursor("n", at)
	n.waits = append(n.waits, time.Since(begun))
	other.untilCursor("n", at)
	for _, n := range []*neighbour{n, other} {
		n.subs["n"].records = nil // the test's own, in the same heap
	}
}

func (n *neighbour) median() time.Duration {
	slices.Sort(n.waits)
	return n.waits[len(n.waits)/2]
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
