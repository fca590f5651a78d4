package stream

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A stage is a session and a subscription whose every step the test takes itself:
// there is no pool, no tail and no network, but the engine and its Redis are real.
//
//	append   the next records are committed, which may trim the stream
//	tail     the next of them reach the topic's inbox and are handed out
//	read     the subscription's page or snapshot is read
//	apply    and is applied
//	take     the client takes the first frame of the window
//	doubt    the tail may have missed something
type stage struct {
	t    *testing.T
	e    *engine.Engine
	s    *Session
	line line
	sub  *subscription

	name     engine.Topic
	batches  [][]runtime.Report
	appended int // batches committed
	handed   int // of these, handed out
	spans    [][]engine.Entry
	head     engine.Cursor

	flight  *flight  // about to be read
	pending *reading // read, to be applied
	err     error

	client ledger
}

// A ledger is a client's, and what it must not see.
type ledger struct {
	cursor  engine.Cursor
	begun   bool
	live    bool
	strict  bool // every record, ticks too
	told    int  // snapshots, with a reason other than fresh
	seen    map[engine.Cursor]bool
	from    engine.Cursor // of the last snapshot, or the start
	percent float64
	state   engine.State
	rev     uint64
}

func (l *ledger) take(text []byte) error {
	var f struct {
		Type, Mode    string
		Reason        engine.Verdict
		After, Cursor engine.Cursor
		Final         bool
		Records       []engine.Record
		Jobs          []engine.Job
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	switch f.Type {
	case "subscribed":
		l.begun, l.live = true, false
		if f.Mode == "snapshot" && f.Reason != engine.Fresh {
			l.told++
		}
		if f.Mode == "replay" && f.Cursor != l.cursor {
			return fmt.Errorf("replay from %s, the cursor is %s", f.Cursor, l.cursor)
		}
	case "snapshot":
		if f.Final {
			l.cursor, l.from = f.Cursor, f.Cursor
		}
		for _, j := range f.Jobs {
			l.apply(j)
		}
	case "records":
		if !l.begun || f.After != l.cursor {
			return fmt.Errorf("records after %s, the cursor is %s", f.After, l.cursor)
		}
		for _, r := range f.Records {
			if r.ID.N() <= l.cursor.N() || (l.strict && r.ID.N() != l.cursor.N()+1 && l.cursor != engine.Beginning) {
				return fmt.Errorf("record %s follows %s", r.ID, l.cursor)
			}
			l.cursor, l.seen[r.ID] = r.ID, true
			l.apply(*r.Job)
		}
		if f.Cursor.N() < l.cursor.N() {
			return fmt.Errorf("cursor %s after record %s", f.Cursor, l.cursor)
		}
		l.cursor = f.Cursor
	case "live":
		l.live = true
		if f.Cursor != l.cursor {
			return fmt.Errorf("live at %s, the cursor is %s", f.Cursor, l.cursor)
		}
	default:
		return fmt.Errorf("unexpected %s", text)
	}
	return nil
}

func (l *ledger) apply(j engine.Job) {
	if j.Rev > l.rev {
		l.rev, l.percent, l.state = j.Rev, max(l.percent, j.Percent), j.State
	}
}

var stages int

// newStage has a job of a new topic with some records, and a client that holds the
// first ones and subscribes from there, or afresh.
func newStage(t *testing.T, e *engine.Engine, l line, o Options, fresh bool, batches [][]runtime.Report) *stage {
	t.Helper()
	stages++
	st := &stage{t: t, e: e, line: l, name: engine.Topic(fmt.Sprintf("user:%d", stages)), batches: batches}
	h := quietly(t, e, o)
	got, err := e.Enqueue(t.Context(), engine.Spec{Topic: st.name, Type: "export"})
	if err != nil {
		t.Fatal(err)
	}
	fence := runtime.Fence{Attempt: 1, Token: runtime.NewToken()}
	for _, b := range append([][]runtime.Report{{{Type: engine.JobStarted}}}, batches...) {
		for i := range b {
			fence.Seq++
			b[i].Job, b[i].Fence = got.ID, fence
		}
		if b[0].Type == engine.JobStarted {
			st.commit(b)
		}
	}
	after := st.head
	if fresh {
		after = ""
	}
	// What hub.follow does, without a tail.
	h.topics[st.name] = &topic{name: st.name, hub: h, stop: func() {}}
	st.subscribe(h, after)
	return st
}

// subscribe gives the stage's client its session and its subscription; after is "" for
// a fresh one.
func (st *stage) subscribe(h *Hub, after engine.Cursor) {
	st.t.Helper()
	st.s = st.line.open(st.t, h)
	st.client = ledger{strict: true, seen: map[engine.Cursor]bool{}, cursor: after, from: after}
	st.s.Subscribe(wire.Message{SID: "a", Topic: st.name, After: after})
	st.sub = st.s.subs["a"]
}

// written reports whether the client has a frame to take.
func (st *stage) written() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return len(st.s.window) > 0
}

func (st *stage) commit(b []runtime.Report) {
	acks, err := runtime.Of(st.e).Commit(st.t.Context(), b...)
	if err != nil {
		st.t.Fatal(err)
	}
	var span []engine.Entry
	for _, a := range acks {
		if a.Err != nil {
			st.t.Fatal(a.Err)
		}
		span = append(span, engine.Entry{Topic: st.name, ID: a.ID, Prev: st.head})
		st.head = a.ID
	}
	st.spans = append(st.spans, span)
	if span[0].Prev == "" {
		return // before the subscription, so never tailed
	}
	page, err := stream.Of(st.e).Replay(st.t.Context(), st.name, span[0].Prev)
	if err != nil || len(page.Entries) != len(span) {
		st.t.Fatalf("%d records of a batch of %d: %v; the stream must hold a batch", len(page.Entries), len(span), err)
	}
	for i, e := range page.Entries {
		span[i].JSON = e.JSON
	}
}

// steps are what could happen next.
func (st *stage) steps(withTake bool) []string {
	var can []string
	if st.appended < len(st.batches) {
		can = append(can, "append")
	}
	if st.handed < st.appended {
		can = append(can, "tail")
	}
	st.s.retry() // at once
	switch {
	case st.pending != nil:
		can = append(can, "apply")
	case st.departs():
		can = append(can, "read")
	}
	if withTake && st.written() {
		can = append(can, "take")
	}
	return can
}

// departs reports whether the pool would have a flight to read.
func (st *stage) departs() bool {
	if st.flight == nil && len(st.s.hub.catchUps.items) > 0 {
		st.flight, _ = st.s.hub.catchUps.take()
	}
	return st.flight != nil
}

func (st *stage) step(what string) {
	switch what {
	case "append":
		st.commit(st.batches[st.appended])
		st.appended++
	case "tail":
		st.handed++
		for _, e := range st.spans[st.handed] { // spans[0] was before the subscription
			st.sub.topic.Tailed(e)
		}
		st.handOut()
	case "doubt":
		st.sub.topic.Doubt()
		st.handOut()
	case "read":
		st.pending, st.err = st.s.hub.read(st.t.Context(), st.flight.need, st.flight.after)
	case "apply":
		for _, sub := range st.flight.subs {
			sub.session.land(sub, st.pending, st.err)
			if sub.over {
				st.t.Fatal("the subscription was dropped")
			}
		}
		st.s.hub.catchUps.landed(st.flight)
		st.pending, st.flight = nil, nil
	case "take":
		st.take()
	}
}

func (st *stage) handOut() {
	st.sub.topic.handOut()
	st.s.hub.inboxes.items = nil
}

func (st *stage) take() {
	st.t.Helper()
	frame := st.line.take(st.t)
	if err := st.client.take(frame.Text); err != nil {
		st.t.Fatalf("%s: %v", frame.Text, err)
	}
	if frame.Sid != "" && (frame.Sid != "a" || frame.Topic != st.name || frame.Cursor != st.client.cursor) {
		st.t.Fatalf("%s: the frame is of %s and %s, and says that the client is at %q, which is at %q", frame.Text, frame.Sid, frame.Topic, frame.Cursor, st.client.cursor)
	}
}

// finish lets everything happen that is left, and checks what the client holds.
func (st *stage) finish(trace []string) {
	st.t.Helper()
	for turn := 0; ; turn++ {
		for st.written() {
			st.take()
		}
		can := st.steps(false)
		if len(can) == 0 {
			break
		}
		if turn > 1000 {
			st.t.Fatalf("%v: it never becomes live", trace)
		}
		st.step(can[len(can)-1])
	}
	st.check(trace)
	st.line.hangUp()
}

// check holds the client against what was committed.
func (st *stage) check(trace []string) {
	st.t.Helper()
	l := st.client
	if !st.sub.position.Live() || !l.live || l.cursor != st.head || l.rev != st.head.N() || l.state != engine.Succeeded || l.percent != 100 {
		st.t.Fatalf("%v: the client holds %+v, the head is %s, position %+v", trace, l, st.head, st.sub.position)
	}
	for _, span := range st.spans {
		for i, e := range span {
			if e.ID.N() <= l.from.N() || l.seen[e.ID] {
				continue
			}
			if l.strict || !e.Type().Tick() {
				st.t.Fatalf("%v: record %d, %s %s, was never given; snapshot at %q, %d told", trace, i, e.ID, e.Type(), l.from, l.told)
			}
		}
	}
}

// burst are n batches of reports, a stage among ticks in each, and the job's end.
func burst(n, size int) [][]runtime.Report {
	batches := make([][]runtime.Report, n)
	tenths := 0
	for i := range batches {
		for k := range size {
			tenths = min(tenths+1, 990)
			kind := engine.JobProgress
			if k == size/2 && size > 1 {
				kind = engine.JobStage
			}
			batches[i] = append(batches[i], runtime.Report{Type: kind, Tenths: tenths, Shown: &runtime.Shown{Stage: engine.Stage{Name: "read", Count: 1}}})
		}
	}
	last := batches[n-1]
	last[len(last)-1] = runtime.Report{Type: engine.JobSucceeded}
	return batches
}

// TestEveryMomentOfABurst steps through all interleavings of a subscribe with a burst:
// what the client gets is gap-free and in order, or the verdict declares the gap.
func TestEveryMomentOfABurst(t *testing.T) {
	url := redistest.Server(t).URL()
	for _, c := range []struct {
		name    string
		entries int
		fresh   bool
		batches int
		size    int
	}{
		{"fresh", 5000, true, 3, 1},
		{"from a cursor", 5000, false, 3, 1},
		{"fresh, with trims", 10, true, 2, 9},
		{"from a cursor, with trims", 10, false, 2, 9},
	} {
		for over, line := range lines {
			t.Run(c.name+", "+over, func(t *testing.T) {
				e := stageEngine(t, url, c.entries)
				schedules, trimmed := 0, 0
				// Each schedule is a list of choices; the next differs in the last place
				// where another choice was left.
				for choices := []int{}; ; {
					st := newStage(t, e, line(), Options{}, c.fresh, burst(c.batches, c.size))
					var trace []string
					var widths []int
					for {
						for st.written() {
							st.take()
						}
						can := st.steps(false)
						if len(can) == 0 {
							break
						}
						at := len(trace)
						if at == len(choices) {
							choices = append(choices, 0)
						}
						widths = append(widths, len(can))
						trace = append(trace, can[choices[at]])
						st.step(can[choices[at]])
					}
					st.finish(trace)
					schedules++
					trimmed += st.client.told
					at := len(choices) - 1
					for at >= 0 && choices[at]+1 >= widths[at] {
						at--
					}
					if at < 0 {
						break
					}
					choices = append(choices[:at:at], choices[at]+1)
				}
				t.Logf("%d schedules, %d snapshots because of trims", schedules, trimmed)
				if schedules < 50 || (trimmed > 0) != (c.entries == 10) {
					t.Errorf("%d schedules and %d trims: the test does not step through what it is to", schedules, trimmed)
				}
			})
		}
	}
}

// TestAnyOrderWithASlowClient takes steps at random, with a window of two frames, a
// client that takes them when it likes, a tail that is interrupted, and trims.
func TestAnyOrderWithASlowClient(t *testing.T) {
	url := redistest.Server(t).URL()
	for over, line := range lines {
		t.Run(over, func(t *testing.T) {
			e := stageEngine(t, url, 40)
			told, given := 0, 0
			for seed := range uint64(60) {
				rng := rand.New(rand.NewPCG(seed, 3))
				st := newStage(t, e, line(), Options{WindowFrames: 2}, seed%2 == 0, burst(12, 1+rng.IntN(12)))
				st.client.strict = false
				st.s.hub.opts.WindowBytes = 2 << 10 // less than the gateway's options allow: a few records
				var trace []string
				for {
					can := st.steps(true)
					if len(can) == 0 {
						break
					}
					what := can[rng.IntN(len(can))]
					if rng.IntN(12) == 0 {
						what = "doubt"
					}
					trace = append(trace, what)
					st.step(what)
					if n := len(st.s.window); n > 2 || n != st.s.frames {
						t.Fatalf("seed %d: %d frames in the window, %d are counted", seed, n, st.s.frames)
					}
				}
				st.finish(append(trace, fmt.Sprintf("seed %d", seed)))
				told += st.client.told
				given += len(st.client.seen)
			}
			t.Logf("%d records given, %d snapshots because of trims", given, told)
			if told == 0 || given == 0 {
				t.Errorf("%d records given, %d snapshots because of trims: want both", given, told)
			}
		})
	}
}

// While a frame waits for room in the window, records wait in the stream and not behind it.
func TestRecordsQueueBehindNoFrame(t *testing.T) {
	st := newStage(t, stageEngine(t, redistest.Server(t).URL(), 5000), &memory{}, Options{}, true, burst(20, 1))
	for !st.client.live {
		for _, what := range []string{"read", "apply", "take"} {
			if slices.Contains(st.steps(true), what) {
				st.step(what)
			}
		}
	}
	st.s.hub.opts.WindowBytes = 4 << 10 // less than the gateway's options allow
	st.client.strict = false            // ticks that it missed give way to the end
	long := transport.Frame{Text: make([]byte, 2500)}
	st.s.send(long)
	st.s.send(long) // waits: it does not fit beside the first
	for range st.batches {
		st.step("append")
		st.step("tail")
	}
	if len(st.s.queue) != 1 || len(st.s.window) != 1 {
		t.Errorf("%d frames are queued and %d in the window, want one each", len(st.s.queue), len(st.s.window))
	}
	for range 2 {
		st.line.take(t)
	}
	st.finish([]string{"records behind a frame"})
}

func stageEngine(t *testing.T, url string, entries int) *engine.Engine {
	t.Helper()
	stages++
	e, err := engine.Open(t.Context(), engine.Options{
		URL: url, Namespace: fmt.Sprintf("i%d", stages), TopicEntries: entries, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close engine: %v", err)
		}
	})
	return e
}
