package gateway_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
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

func TestClientThatStopsReading(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries int
	}{
		{"the stream holds all", 100_000},
		{"the stream is trimmed", 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t, redisURL(t), func(o *engine.Options) { o.TopicEntries, o.TopicBytes = c.entries, 64<<20 })
			s := serve(t, e, func(o *gateway.Options) { o.PongTimeout, o.StallTimeout = time.Minute, time.Minute })
			p, quietOne := start(t, e, topic), start(t, e, "user:43")
			slow := newClient(t, s.dial(t, dialer(32<<10), nil))
			h := slow.subscribe("a", topic, "", "")
			slow.untilLive("a")
			neighbour := s.client(t)
			n := neighbour.subscribe("n", "user:43", "", "")
			neighbour.untilLive("n")
			flood(p, 512) // what the connections and pools cost, before the measure
			before := heap()

			var worst time.Duration
			var stages []engine.Cursor
			var head engine.Cursor
			for range 10 {
				some, at := flood(p, 1536)
				stages, head = append(stages, some...), at
				begun := time.Now()
				neighbour.untilCursor("n", quietOne.tick(1))
				worst = max(worst, time.Since(begun))
			}
			frames, bytes := s.Held()
			grown := heap() - before
			t.Logf("15,360 ticks unread: %d frames of %d bytes held, heap %+d bytes; a neighbour waits %s at most", frames, bytes, grown, worst)
			if frames == 0 || bytes > 192<<10 || grown > 512<<10 {
				t.Errorf("a client that does not read holds %d frames of %d bytes, the heap grew by %d", frames, bytes, grown)
			}
			if worst > 2*time.Second || len(n.records) < 10 {
				t.Errorf("a neighbour waited %s, and has %d records", worst, len(n.records))
			}
			hurry(t, slow.conn)
			slow.untilCursor("a", head)
			wantNewest(t, h, p.job, stages, head)
			if trimmed := c.entries < 15_360; trimmed != slices.Contains(h.snapshots, "trimmed") {
				t.Errorf("snapshots %v", h.snapshots)
			}
			slow.untilCursor("a", p.succeed())
			if h.jobs[p.job].State != engine.Succeeded {
				t.Errorf("the job is %+v", h.jobs[p.job])
			}
		})
	}
}

func TestClientThatStopsForTooLongIsEndedAndResumes(t *testing.T) {
	e := open(t, redisURL(t), func(o *engine.Options) { o.TopicEntries, o.TopicBytes = 100_000, 64<<20 })
	s := serve(t, e, func(o *gateway.Options) { o.PongTimeout, o.StallTimeout = time.Minute, 200*time.Millisecond })
	p := start(t, e, topic)
	slow := newClient(t, s.dial(t, dialer(32<<10), nil))
	h := slow.subscribe("a", topic, "", "")
	slow.untilLive("a")
	stages, head := flood(p, 3072)
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
	for range 300 {
		enqueue(t, e, topic)
	}
	c := newClient(t, s.dial(t, dialer(32<<10), nil))
	for i := range 2000 { // each answer is some 60 KiB
		if err := c.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`{"type":"subscribe","sid":"%d","topic":"user:42"}`, i)
		if err := c.conn.WriteMessage(1, []byte(text)); err != nil {
			break
		}
		if _, bytes := s.Held(); bytes > 1<<20 {
			t.Fatalf("%d bytes are held after %d messages", bytes, i)
		}
	}
	ctx := soon(t)
	for s.Sessions() > 0 {
		if _, bytes := s.Held(); bytes > 1<<20 {
			t.Fatalf("%d bytes are held", bytes)
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			t.Fatal("it is not ended")
		}
	}
}
