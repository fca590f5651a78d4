package gateway_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
)

func idsOf(entries []engine.Entry) []engine.Cursor {
	ids := make([]engine.Cursor, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	return ids
}

func TestFreshSubscriptionGetsSnapshotThenRecords(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	p := start(t, e, topic)
	at := p.tick(3)
	c := s.client(t)
	h := c.subscribe("a", topic, "", "")
	c.untilLive("a")
	if !slices.Equal(h.snapshots, []string{"fresh"}) || h.cursor != at || h.jobs[p.job].Percent != 0.3 {
		t.Fatalf("after a fresh subscribe: %+v, want a snapshot at %s", h, at)
	}
	p.tick(2)
	end := p.succeed()
	c.untilCursor("a", end)
	if want := idsOf(recorded(t, e, topic, at)); !slices.Equal(h.ids(), want) {
		t.Errorf("records %v, want %v", h.ids(), want)
	}
	if j := h.jobs[p.job]; j.State != engine.Succeeded || j.Percent != 100 {
		t.Errorf("job %+v, want it succeeded", j)
	}
}

func TestReplayFromACursorIsWhole(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	p := start(t, e, topic)
	p.tick(57)
	c := s.client(t)
	h := c.subscribe("a", topic, engine.Beginning, "")
	c.untilLive("a")
	want := idsOf(recorded(t, e, topic, engine.Beginning))
	if !slices.Equal(h.ids(), want) || h.replayed != len(want) || len(want) != 59 || len(h.snapshots) != 0 {
		t.Errorf("replayed %d, records %v, snapshots %v, want %v", h.replayed, h.ids(), h.snapshots, want)
	}
	at := h.cursor
	other := c.subscribe("b", topic, at, "")
	c.untilLive("b")
	if other.replayed != 0 || len(other.records) != 0 {
		t.Errorf("at the head: replayed %d, records %v", other.replayed, other.ids())
	}
}

func TestUnknownTopicIsEmpty(t *testing.T) {
	e := real(t)
	c := serve(t, e, nil).client(t)
	h := c.subscribe("a", "team:nobody", "", "")
	c.untilLive("a")
	if h.cursor != engine.Beginning || len(h.jobs) != 0 {
		t.Errorf("an unknown topic: %+v", h)
	}
	p := start(t, e, "team:nobody")
	c.untilCursor("a", p.tick(1))
	if len(h.records) != 3 {
		t.Errorf("its first records: %v", h.ids())
	}
}

func TestCursorsFromElsewhereGetASnapshot(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	p := start(t, e, topic)
	head := p.tick(10)
	foreign := start(t, e, "user:43").tick(64)
	c := s.client(t)
	for sid, after := range map[string]engine.Cursor{
		"future": "9007199254740991-9007199254740991", "other topic": foreign, "never was": "1-1",
	} {
		h := c.subscribe(sid, topic, after, "")
		c.untilLive(sid)
		if len(h.snapshots) != 1 || (h.snapshots[0] != "rewritten" && h.snapshots[0] != "trimmed") || h.cursor != head || len(h.jobs) != 1 {
			t.Errorf("%s: %+v, want one snapshot at %s", sid, h, head)
		}
	}
}

func TestTrimmedStreamGetsASnapshot(t *testing.T) {
	e := open(t, redisURL(t), func(o *engine.Options) { o.TopicEntries = 20 })
	s := serve(t, e, nil)
	p := start(t, e, topic)
	at := p.tick(1)
	p.tick(64)
	end := p.tick(64)
	c := s.client(t)
	h := c.subscribe("a", topic, at, "")
	c.untilLive("a")
	if !slices.Equal(h.snapshots, []string{"trimmed"}) || h.cursor != end || h.jobs[p.job].Rev != end.N() {
		t.Errorf("%+v, want trimmed at %s", h, end)
	}
}

// A snapshot in place of records that were trimmed has every job that ended after the cursor,
// also beyond the newest ended ones, which any snapshot has.
func TestTrimmedStreamGetsAllThatEnded(t *testing.T) {
	e := open(t, redisURL(t), func(o *engine.Options) { o.TopicEntries = 20 })
	s := serve(t, e, nil)
	p := start(t, e, topic)
	at := p.tick(1)
	const ended = 110
	var end engine.Cursor
	for range ended {
		end = start(t, e, topic).succeed()
	}
	c := s.client(t)
	h := c.subscribe("a", topic, at, "")
	c.untilLive("a")
	if !slices.Equal(h.snapshots, []string{"trimmed"}) || h.cursor != end || len(h.jobs) != ended+1 {
		t.Errorf("snapshots %v at %s, want trimmed at %s; %d jobs, want %d", h.snapshots, h.cursor, end, len(h.jobs), ended+1)
	}
}

func TestOneJobsRecordsAlone(t *testing.T) {
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) { o.FilterLag = 50 * time.Millisecond })
	mine, other := start(t, e, topic), start(t, e, topic)
	c := s.client(t)
	h := c.subscribe("a", topic, "", mine.job)
	c.untilLive("a")
	if len(h.jobs) != 1 || h.jobs[mine.job].ID == "" {
		t.Fatalf("snapshot of one job: %+v", h.jobs)
	}
	c.untilCursor("a", other.tick(5))
	if len(h.records) != 0 || h.emptyMoves == 0 {
		t.Errorf("another's ticks: %d records, %d empty frames, want the cursor moved alone", len(h.records), h.emptyMoves)
	}
	mine.tick(2)
	other.tick(1)
	c.untilCursor("a", mine.succeed())
	if len(h.records) != 3 {
		t.Errorf("its own: %d records, want 3", len(h.records))
	}
	for _, r := range h.records {
		if r.Job.ID != mine.job {
			t.Errorf("a record of %s", r.Job.ID)
		}
	}
	replay := c.subscribe("b", topic, engine.Beginning, other.job)
	c.untilLive("b")
	if len(replay.records) != 2+5+1 || replay.cursor != h.cursor {
		t.Errorf("replay of the other: %d records up to %s, want 8 up to %s", len(replay.records), replay.cursor, h.cursor)
	}
}

func TestUnsubscribeEnds(t *testing.T) {
	e := real(t)
	c := serve(t, e, nil).client(t)
	p := start(t, e, topic)
	c.subscribe("a", topic, "", "")
	c.untilLive("a")
	c.subscribe("b", topic, "", "")
	c.untilLive("b")
	c.send(`{"type":"unsubscribe","sid":"a"}`)
	c.send(`{"type":"ping"}`)
	for c.read().Type != "pong" {
	}
	end := p.tick(4)
	c.untilCursor("b", end)
	if n := len(c.subs["a"].records); n != 0 {
		t.Errorf("%d records after unsubscribe", n)
	}
	again := c.subscribe("a", topic, end, "") // allowed, if not advised
	c.untilLive("a")
	if again.cursor != end {
		t.Errorf("subscribed again at %s, want %s", again.cursor, end)
	}
}

func TestSnapshotComesInParts(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	want := map[engine.JobID]bool{}
	for range 700 {
		want[enqueue(t, e, topic)] = true
	}
	c := s.client(t)
	h := c.subscribe("a", topic, "", "")
	c.untilLive("a")
	if h.part < 2 {
		t.Errorf("%d parts, want several", h.part)
	}
	for id := range want {
		if _, ok := h.jobs[id]; !ok {
			t.Fatalf("job %s is not in the snapshot of %d", id, len(h.jobs))
		}
	}
}
