package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// A frame is what a server may send; which fields count depends on its type.
type frame struct {
	Type        string            `json:"type"`
	Sid         string            `json:"sid"`
	Connection  string            `json:"connection"`
	Principal   string            `json:"principal"`
	PingSeconds float64           `json:"ping_seconds"`
	Expires     string            `json:"session_expires_at"`
	Mode        string            `json:"mode"`
	Reason      string            `json:"reason"`
	Cursor      engine.Cursor     `json:"cursor"`
	After       engine.Cursor     `json:"after"`
	Part        int               `json:"part"`
	Final       bool              `json:"final"`
	Jobs        []engine.Job      `json:"jobs"`
	Records     []json.RawMessage `json:"records"`
	Replayed    int               `json:"replayed"`
	Code        string            `json:"code"`
	Message     string            `json:"message"`
	Reconnect   int               `json:"reconnect_after_ms"`

	text string
}

// A client holds what docs/protocol.md tells one to hold, and checks every frame
// against it.
type client struct {
	t    testing.TB
	conn *websocket.Conn
	subs map[string]*held
}

// held is one subscription's.
type held struct {
	cursor     engine.Cursor
	jobs       map[engine.JobID]engine.Job
	records    []engine.Record
	snapshots  []string // their reasons
	part       int
	shown      map[engine.JobID]float64 // the highest percent of each job
	live       bool
	replayed   int
	emptyMoves int
}

func newClient(t testing.TB, conn *websocket.Conn) *client {
	t.Helper()
	c := &client{t: t, conn: conn, subs: map[string]*held{}}
	if f := c.read(); f.Type != "welcome" {
		t.Fatalf("got %s, want welcome", f.text)
	}
	return c
}

// client connects one that reads as fast as it can.
func (s *server) client(t testing.TB) *client {
	t.Helper()
	return newClient(t, s.dial(t, dialer(0), nil))
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) subscribe(sid string, topic engine.Topic, after engine.Cursor, job engine.JobID) *held {
	c.t.Helper()
	return c.subscribeTo(sid, topic, after, engine.Filter{Job: job})
}

func (c *client) subscribeTo(sid string, topic engine.Topic, after engine.Cursor, f engine.Filter) *held {
	c.t.Helper()
	c.subs[sid] = &held{cursor: after, jobs: map[engine.JobID]engine.Job{}}
	filter, err := json.Marshal(f)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(fmt.Sprintf(`{"type":"subscribe","sid":%q,"topic":%q,"after":%q,"filter":%s}`, sid, topic, after, filter))
	return c.subs[sid]
}

// read takes a frame and holds it.
func (c *client) read() frame {
	c.t.Helper()
	f, err := c.next(time.Minute)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return f
}

func (c *client) next(within time.Duration) (frame, error) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		c.t.Fatal(err)
	}
	kind, text, err := c.conn.ReadMessage()
	if err != nil {
		return frame{}, err
	}
	if kind != websocket.TextMessage || len(text) > 256<<10 {
		c.t.Fatalf("a frame of kind %d and %d bytes", kind, len(text))
	}
	f := frame{text: string(text)}
	if err := json.Unmarshal(text, &f); err != nil {
		c.t.Fatalf("frame %q: %v", text, err)
	}
	if h := c.subs[f.Sid]; h != nil {
		if err := h.take(f); err != nil {
			c.t.Fatalf("%s: %v", f.text, err)
		}
	}
	return f, nil
}

// take is the whole of a client's duty.
func (h *held) take(f frame) error {
	switch f.Type {
	case "subscribed":
		h.live = false
		switch f.Mode {
		case "replay":
			if f.Reason != "resumed" || f.Cursor != h.cursor {
				return errors.New("a replay that does not begin at the cursor")
			}
		case "snapshot":
			h.snapshots = append(h.snapshots, f.Reason)
			h.cursor, h.part, h.jobs = "", 0, map[engine.JobID]engine.Job{}
			if f.Reason == "rewritten" {
				h.shown = nil
			}
		}
	case "snapshot":
		h.part++
		if f.Part != h.part {
			return fmt.Errorf("part %d, want %d", f.Part, h.part)
		}
		for _, j := range f.Jobs {
			if err := h.apply(j); err != nil {
				return err
			}
		}
		if f.Final {
			h.cursor = f.Cursor
		}
	case "records":
		if f.After != h.cursor {
			return fmt.Errorf("after is %s, the cursor %s", f.After, h.cursor)
		}
		if len(f.Records) == 0 {
			h.emptyMoves++
		}
		for _, raw := range f.Records {
			r, err := engine.Entry{JSON: raw}.Record()
			if err != nil {
				return err
			}
			if r.ID == "" && len(f.Records) == 1 && f.After == f.Cursor {
				h.records = append(h.records, r) // it passes, and moves no cursor
				continue
			}
			if r.ID.N() <= h.cursor.N() {
				return fmt.Errorf("record %s after %s", r.ID, h.cursor)
			}
			h.cursor = r.ID
			h.records = append(h.records, r)
			if r.Job != nil {
				if err := h.apply(*r.Job); err != nil {
					return err
				}
			}
		}
		if h.cursor.N() > f.Cursor.N() {
			return errors.New("its cursor is before its last record")
		}
		h.cursor = f.Cursor
	case "live":
		if f.Cursor != h.cursor {
			return fmt.Errorf("live at %s, the cursor is %s", f.Cursor, h.cursor)
		}
		h.live, h.replayed = true, f.Replayed
	}
	return nil
}

func (h *held) apply(j engine.Job) error {
	if old, ok := h.jobs[j.ID]; ok && j.Rev <= old.Rev {
		return nil
	}
	if j.Percent < h.shown[j.ID] {
		return fmt.Errorf("job %s falls from %v to %v percent", j.ID, h.shown[j.ID], j.Percent)
	}
	if h.shown == nil {
		h.shown = map[engine.JobID]float64{}
	}
	h.jobs[j.ID], h.shown[j.ID] = j, j.Percent
	return nil
}

// until reads frames until something holds.
func (c *client) until(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited too long until %s", what)
		}
		if _, err := c.next(time.Minute); err != nil {
			c.t.Fatalf("waiting until %s: %v", what, err)
		}
	}
}

func (c *client) untilLive(sid string) {
	c.t.Helper()
	c.until(sid+" is live", func() bool { return c.subs[sid].live })
}

func (c *client) untilCursor(sid string, at engine.Cursor) {
	c.t.Helper()
	c.until(sid+" holds "+string(at), func() bool { return c.subs[sid].cursor.N() >= at.N() && c.subs[sid].cursor != "" })
}

// closed reads until the server has closed, and returns the code.
func (c *client) closed() int {
	c.t.Helper()
	for {
		_, err := c.next(time.Minute)
		if err == nil {
			continue
		}
		var code *websocket.CloseError
		if errors.As(err, &code) {
			return code.Code
		}
		c.t.Fatalf("no close frame: %v", err)
	}
}

// ids are the records that are held.
func (h *held) ids() []engine.Cursor {
	ids := make([]engine.Cursor, len(h.records))
	for i, r := range h.records {
		ids[i] = r.ID
	}
	return ids
}

// recorded is all that a topic's stream has after a cursor.
func recorded(t testing.TB, e *engine.Engine, topic engine.Topic, after engine.Cursor) []engine.Entry {
	t.Helper()
	var all []engine.Entry
	for {
		page, err := stream.Of(e).Replay(soon(t), topic, after)
		if err != nil {
			t.Fatal(err)
		}
		if page.Verdict != engine.Resumed {
			t.Fatalf("stream after %s: %s", after, page.Verdict)
		}
		if len(page.Entries) == 0 {
			return all
		}
		all = append(all, page.Entries...)
		after = all[len(all)-1].ID
	}
}
