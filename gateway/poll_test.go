package gateway_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// poll reads what a poll answers with.
func (s *server) poll(t testing.TB, h *held, query string) []frame {
	t.Helper()
	a := s.get(t, "/v1/topics/user:42/records?"+query+"&after="+string(h.cursor), "", "")
	var texts []json.RawMessage
	if err := json.NewDecoder(a.body).Decode(&texts); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d: %v", a.status, err)
	}
	frames := make([]frame, len(texts))
	for i, text := range texts {
		frames[i].text = string(text)
		if err := json.Unmarshal(text, &frames[i]); err != nil {
			t.Fatal(err)
		}
		if frames[i].Sid != string(topic) {
			t.Errorf("a frame for %q: %s", frames[i].Sid, text)
		}
		if err := h.take(frames[i]); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return frames
}

// A poll answers at once with what its client has missed, waits for news where there is none, and ends
// without any when its time is over.
func TestPoll(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, nil)
	p := start(t, e, topic)
	h := &held{jobs: map[engine.JobID]engine.Job{}}
	s.poll(t, h, "wait=1m")
	if len(h.snapshots) != 1 || len(h.jobs) != 1 || !h.live {
		t.Fatalf("the first poll gave snapshots %q, %d jobs, live %v", h.snapshots, len(h.jobs), h.live)
	}
	missed := p.tick(3)
	s.poll(t, h, "wait=1m")
	if h.cursor.N() < missed.N() {
		t.Fatalf("the second poll ended at %s, before %s", h.cursor, missed)
	}
	for f := range slices.Values(s.poll(t, h, "wait=0s")) {
		if f.Type == "records" || f.Type == "snapshot" {
			t.Errorf("a poll with nothing new gave %s", f.text)
		}
	}
	waits := make(chan engine.Cursor, 1)
	go func() {
		s.poll(t, h, "wait=1m")
		waits <- h.cursor
	}()
	for s.Sessions() == 0 && soon(t).Err() == nil { // it waits, or is about to
		sleep(t.Context(), time.Millisecond)
	}
	if at, got := p.tick(1), <-waits; got.N() < at.N() {
		t.Errorf("the poll that waited ended at %s, before %s", got, at)
	}
}

// A client changes its transport with its cursor, and its ledger stays whole.
func TestTransportsChangeMidway(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, nil)
	p := start(t, e, topic)
	h := &held{jobs: map[engine.JobID]engine.Job{}}
	socket := func() {
		c := s.client(t)
		c.subscribe("a", topic, h.cursor, "")
		c.subs["a"] = h
		at := p.tick(3)
		c.untilCursor("a", at)
		hangUp(c.conn)
	}
	socket()
	first := h.cursor
	for range 2 {
		es := s.events(t, "/v1/events?topic=user:42&after="+string(h.cursor), "")
		es.subs["user:42"] = h
		es.untilCursor(topic, p.tick(3))
		es.body.Close()
		p.tick(1)
		for at := p.tick(2); h.cursor.N() < at.N(); {
			s.poll(t, h, "wait=1s")
		}
		socket()
	}
	var want []engine.Cursor
	for _, entry := range recorded(t, e, topic, first) {
		want = append(want, entry.ID)
	}
	got := h.ids()
	if got = got[len(got)-len(want):]; !slices.Equal(got, want) || len(h.snapshots) != 1 {
		t.Errorf("held %v with snapshots %q, want %v", got, h.snapshots, want)
	}
}
