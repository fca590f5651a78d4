package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A crowd is a topic with many jobs, so large that some ten fill a page, and sessions that
// follow it. As with a stage, the test takes every step itself.
type crowd struct {
	t    *testing.T
	e    *engine.Engine
	h    *Hub
	line func() line // that clients join by
	tp   *topic
	rng  *rand.Rand
	head engine.Cursor

	jobs    []engine.JobID // ever made
	live    []engine.JobID
	pens    map[engine.JobID]*runtime.Report
	entries []engine.Entry // committed, and not yet tailed

	clients []*onlooker
}

// An onlooker is a client of docs/protocol.md, and its session.
type onlooker struct {
	s    *Session
	line line
	sub  *subscription
	most int // bytes that the session held

	cursor    engine.Cursor
	live      bool
	held      map[engine.JobID]engine.Job
	part      int
	seen      map[engine.JobID]uint64
	since     engine.Cursor // the cursor that was trimmed
	snapshots []engine.Verdict
	begun     engine.Cursor // what the verdict said of the cursor
	moved     int           // snapshots whose cursor was trimmed before their end
}

func newCrowd(t *testing.T, e *engine.Engine, seed uint64, jobs int, o Options) *crowd {
	t.Helper()
	stages++
	w := &crowd{t: t, e: e, line: lines["in memory"], rng: rand.New(rand.NewPCG(seed, 11)), pens: map[engine.JobID]*runtime.Report{}}
	w.h = quietly(t, e, o)
	w.h.pages.age = time.Hour // so that a machine that pauses changes nothing
	w.tp = &topic{name: engine.Topic(fmt.Sprintf("user:%d", stages)), hub: w.h, stop: func() {}}
	w.h.topics[w.tp.name] = w.tp
	for range jobs {
		w.begin()
	}
	w.entries = nil // before anyone listened
	return w
}

func soakable(test, full int) int {
	if os.Getenv("TIDEMARK_SOAK") == "1" {
		return full
	}
	return test
}

var bulky = func() map[string]string {
	labels := map[string]string{}
	for i := range 16 {
		labels[fmt.Sprintf("l%d", i)] = strings.Repeat("x", 250)
	}
	return labels
}()

func (w *crowd) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// heard reads what was committed, for the tail.
func (w *crowd) heard() {
	w.t.Helper()
	at := w.head
	if at == "" {
		at = engine.Beginning
	}
	page, err := stream.Of(w.e).Replay(w.t.Context(), w.tp.name, at)
	w.must(err)
	if page.Verdict != engine.Resumed {
		w.t.Fatalf("replay from %s is %s: the stream must hold a step", at, page.Verdict)
	}
	w.entries, w.head = append(w.entries, page.Entries...), page.Head
}

func (w *crowd) begin() {
	got, err := w.e.Enqueue(w.t.Context(), engine.Spec{Topic: w.tp.name, Type: "export", Labels: bulky})
	w.must(err)
	w.jobs, w.live = append(w.jobs, got.ID), append(w.live, got.ID)
	w.heard()
}

func (w *crowd) end() {
	if len(w.live) == 0 {
		return
	}
	i := w.rng.IntN(len(w.live))
	id := w.live[i]
	w.live = slices.Delete(w.live, i, i+1)
	if w.pens[id] != nil {
		w.write(id, engine.JobSucceeded)
		return
	}
	w.must(w.e.Cancel(w.t.Context(), id))
	w.heard()
}

// tick has a job report its progress.
func (w *crowd) tick() {
	if len(w.live) == 0 {
		return
	}
	id := w.live[w.rng.IntN(len(w.live))]
	if w.pens[id] == nil {
		w.pens[id] = &runtime.Report{Job: id, Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
		w.write(id, engine.JobStarted)
	}
	w.write(id, engine.JobProgress)
}

func (w *crowd) write(id engine.JobID, kind engine.RecordType) {
	r := w.pens[id]
	r.Type = kind
	r.Fence.Seq++
	acks, err := runtime.Of(w.e).Commit(w.t.Context(), *r)
	w.must(err)
	w.must(acks[0].Err)
	w.heard()
}

// join has another client subscribe; after is "" for a fresh one.
func (w *crowd) join(after engine.Cursor, limit int) *onlooker {
	w.t.Helper()
	c := &onlooker{line: w.line(), cursor: after, held: map[engine.JobID]engine.Job{}}
	c.s = c.line.open(w.t, w.h)
	c.s.Subscribe(wire.Message{SID: "a", Topic: w.tp.name, After: after, Limit: limit})
	c.sub = c.s.subs["a"]
	w.clients = append(w.clients, c)
	return c
}

// step is one of the gateway's: it reports whether there was anything to do.
func (w *crowd) step(what string) bool {
	w.t.Helper()
	q := w.h.catchUps
	switch what {
	case "read and land":
		if len(q.items) == 0 {
			return false
		}
		f, _ := q.take()
		w.h.fly(w.t.Context(), f)
	case "tail":
		if len(w.entries) == 0 {
			return false
		}
		for _, e := range w.entries {
			w.tp.Tailed(e)
		}
		w.entries = nil
		w.tp.handOut()
		w.h.inboxes.items = nil
	case "take":
		some := false
		for _, c := range w.clients {
			some = some || len(c.s.window) > 0
			if len(c.s.window) > 0 && w.rng.IntN(2) == 0 {
				w.take(c)
			}
		}
		return some
	}
	for _, c := range w.clients {
		c.s.retry()
		_, held := c.s.held()
		c.most = max(c.most, held)
	}
	return true
}

func (w *crowd) take(c *onlooker) {
	w.t.Helper()
	frame := c.line.take(w.t)
	if err := c.take(frame.Text); err != nil {
		w.t.Fatalf("%.300s: %v", frame.Text, err)
	}
	if frame.Sid != "" && frame.Cursor != c.cursor {
		w.t.Fatalf("%.300s: the frame says that the client is at %q, which is at %q", frame.Text, frame.Cursor, c.cursor)
	}
}

func (c *onlooker) take(text []byte) error {
	var f struct {
		Type, Mode, More string
		Reason           engine.Verdict
		After, Cursor    engine.Cursor
		Part             int
		Final            bool
		Records          []engine.Record
		Jobs             []engine.Job
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	if len(text) > 64<<10 {
		return fmt.Errorf("a frame of %d bytes", len(text))
	}
	switch f.Type {
	case "subscribed":
		c.live = false
		if f.Mode == "snapshot" {
			c.part, c.seen, c.since = 0, map[engine.JobID]uint64{}, ""
			if f.Reason == engine.Trimmed {
				c.since = c.cursor
			}
			c.snapshots, c.begun = append(c.snapshots, f.Reason), f.Cursor
		}
	case "snapshot":
		if c.part++; f.Part != c.part || c.seen == nil {
			return fmt.Errorf("part %d, want %d", f.Part, c.part)
		}
		for _, j := range f.Jobs {
			if j.Rev < c.seen[j.ID] {
				return fmt.Errorf("job %s comes at %d, and came at %d", j.ID, j.Rev, c.seen[j.ID])
			}
			c.seen[j.ID] = j.Rev
			c.apply(j)
		}
		if f.Final {
			for id, j := range c.held {
				if _, seen := c.seen[id]; !seen && (f.More == "" || j.State.Ended() || "live:"+string(id) > f.More) {
					delete(c.held, id)
				}
			}
			if f.Cursor != c.begun {
				c.moved++
			}
			c.cursor, c.seen = f.Cursor, nil
		}
	case "records":
		if f.After != c.cursor || c.seen != nil {
			return fmt.Errorf("records after %s, the cursor is %s, in a snapshot: %v", f.After, c.cursor, c.seen != nil)
		}
		for _, r := range f.Records {
			c.apply(*r.Job)
		}
		c.cursor = f.Cursor
	case "live":
		c.live = true
	}
	return nil
}

func (c *onlooker) apply(j engine.Job) {
	if j.Rev > c.held[j.ID].Rev {
		c.held[j.ID] = j
	}
}

// meanwhile is what else may happen between two steps.
func (w *crowd) meanwhile() {
	switch w.rng.IntN(8) {
	case 0:
		w.begin()
	case 1, 2:
		w.end()
	case 3, 4:
		w.tick()
	case 5:
		for range 8 {
			w.tick()
		}
	}
}

// settle lets everything happen that is left.
func (w *crowd) settle() error {
	w.t.Helper()
	for turn, some := 0, true; some; turn++ {
		if turn > 2000 {
			return errors.New("it never becomes live")
		}
		some = w.step("tail")
		some = w.step("read and land") || some
		some = w.step("take") || some
	}
	return nil
}

// check holds a client against every job that there ever was.
func (w *crowd) check(c *onlooker) error {
	if slices.Contains(c.snapshots, engine.Rewritten) {
		return fmt.Errorf("its snapshots are %v, and nothing was rewritten", c.snapshots)
	}
	if !c.live || c.cursor != w.head {
		return fmt.Errorf("it is at %s, live: %v; the head is %s", c.cursor, c.live, w.head)
	}
	for _, id := range w.jobs {
		v, err := w.e.Job(w.t.Context(), id)
		w.must(err)
		truth, err := v.Job()
		w.must(err)
		held, there := c.held[id]
		switch {
		case there && held.Rev != truth.Rev:
			return fmt.Errorf("job %s is held as %s of %d, it is %s of %d", id, held.State, held.Rev, truth.State, truth.Rev)
		case !there && !truth.State.Ended():
			return fmt.Errorf("job %s lives, and is not held", id)
		case !there && c.since != "" && truth.Rev > c.since.N():
			return fmt.Errorf("job %s ended at %d, after %s, and is not held", id, truth.Rev, c.since)
		}
	}
	return nil
}

// run has clients come at any moment, afresh and from a cursor that may be trimmed. plant
// is done after each step.
func (w *crowd) run(plant func()) error {
	start, then := w.head, map[engine.JobID]engine.Job{}
	for _, id := range w.jobs {
		v, err := w.e.Job(w.t.Context(), id)
		w.must(err)
		then[id], err = v.Job()
		w.must(err)
	}
	for range 120 {
		switch w.rng.IntN(10) {
		case 0:
			if len(w.clients) < 6 {
				if w.rng.IntN(2) == 0 {
					w.join("", 0)
				} else {
					w.join(start, 0).held = maps.Clone(then)
				}
			}
		case 1:
			w.meanwhile()
		case 2:
			w.step("tail")
		case 3, 4, 5, 6:
			w.step("read and land")
		default:
			w.step("take")
		}
		if plant != nil {
			plant()
		}
	}
	if err := w.settle(); err != nil {
		return err
	}
	for i, c := range w.clients {
		if err := w.check(c); err != nil {
			return fmt.Errorf("client %d of %d, snapshots %v: %w", i, len(w.clients), c.snapshots, err)
		}
	}
	return nil
}
