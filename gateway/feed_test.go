package gateway_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// An eventSource is what a browser's EventSource is: it parses events as the standard says, keeps the last ID
// and the time to come back after, and holds what the frames say.
type eventSource struct {
	t     testing.TB
	body  io.ReadCloser
	lines *bufio.Reader
	id    string
	retry time.Duration
	end   error
	subs  map[string]*held
}

// An unread is an answer whose body is still to be read. It is closed when the test ends.
type unread struct {
	status int
	header http.Header
	body   io.ReadCloser
}

// get sends a request, as who bears the token.
func (s *server) get(t testing.TB, path, token, lastID string) unread {
	t.Helper()
	r, err := http.NewRequestWithContext(soon(t), http.MethodGet, s.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Body.Close() })
	return unread{a.StatusCode, a.Header, a.Body}
}

// hold sends a request and takes nothing of the answer, for as long as the test runs.
func (s *server) hold(t testing.TB, path string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Body.Close() })
}

// events opens a stream of topics, after the ID of an earlier one.
func (s *server) events(t testing.TB, path, lastID string, topics ...engine.Topic) *eventSource {
	t.Helper()
	a := s.get(t, path, "", lastID)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" || a.header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("answered %d, %v", a.status, a.header)
	}
	e := &eventSource{t: t, body: a.body, lines: bufio.NewReader(a.body), id: lastID, subs: map[string]*held{}}
	for _, topic := range topics {
		e.subs[string(topic)] = &held{jobs: map[engine.JobID]engine.Job{}}
	}
	return e
}

// next reads an event; false when the stream has ended.
func (e *eventSource) next() (frame, bool) {
	e.t.Helper()
	data, id := "", e.id
	for {
		line, err := e.lines.ReadString('\n')
		if err != nil {
			e.end = err
			return frame{}, false
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n" && data != "":
			e.id = id
			f := frame{text: data}
			if err := json.Unmarshal([]byte(data), &f); err != nil {
				e.t.Fatalf("event %q: %v", data, err)
			}
			if h := e.subs[f.Sid]; h != nil {
				if err := h.take(f); err != nil {
					e.t.Fatalf("%s: %v", f.text, err)
				}
			}
			return f, true
		case line == "\n":
		case name == "": // a comment
		case name == "data":
			data += value
		case name == "id":
			id = value
		case name == "retry":
			ms, err := strconv.Atoi(value)
			if err != nil {
				e.t.Fatalf("retry %q", value)
			}
			e.retry = time.Duration(ms) * time.Millisecond
		default:
			e.t.Fatalf("a line %q", line)
		}
	}
}

// comment waits for one, while there are no events.
func (e *eventSource) comment() {
	e.t.Helper()
	for line := ""; line != ":\n"; {
		var err error
		if line, err = e.lines.ReadString('\n'); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (e *eventSource) until(what string, holds func() bool) {
	e.t.Helper()
	for !holds() {
		if _, there := e.next(); !there {
			e.t.Fatalf("the stream ended before %s", what)
		}
	}
}

func (e *eventSource) untilCursor(topic engine.Topic, at engine.Cursor) {
	e.t.Helper()
	e.until(string(topic)+" is at "+string(at), func() bool { h := e.subs[string(topic)]; return h.cursor != "" && h.cursor.N() >= at.N() })
}

// rest reads to the end of the stream, which is an orderly one.
func (e *eventSource) rest() (all []frame) {
	e.t.Helper()
	for {
		f, there := e.next()
		if !there {
			if !errors.Is(e.end, io.EOF) {
				e.t.Errorf("the stream ended with: %v", e.end)
			}
			return all
		}
		all = append(all, f)
	}
}

// An EventSource that is cut again and again misses nothing and gets nothing twice, on all its topics,
// with what the standard keeps for it alone: its address, and the last ID.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	const other = engine.Topic("team:7")
	topics := []engine.Topic{topic, other}
	e := real(t)
	s := serve(t, e, nil)
	pens := map[engine.Topic]*pen{topic: start(t, e, topic), other: start(t, e, other)}
	held := map[string]*held{}
	path := "/v1/events?topic=user:42&topic=team:7"
	id := ""
	for cut := range 6 {
		es := s.events(t, path, id, topics...)
		for name, h := range held {
			h.live = false
			es.subs[name] = h
		}
		if cut == 1 || cut == 2 {
			// Cut before the first event: the browser sends the ID that it had.
			es.body.Close()
			continue
		}
		for _, name := range topics {
			at := pens[name].tick(3)
			es.untilCursor(name, at)
		}
		if want := string(es.subs["user:42"].cursor) + "," + string(es.subs["team:7"].cursor); es.id != want {
			t.Fatalf("the last ID is %q, want the cursors %q", es.id, want)
		}
		if es.retry <= 0 {
			t.Error("the stream says no time to come back after")
		}
		id, held = es.id, es.subs
		es.body.Close()
		pens[topic].tick(2) // while nobody listens
	}
	for _, name := range topics {
		h := held[string(name)]
		if len(h.snapshots) != 1 || h.snapshots[0] != "fresh" {
			t.Errorf("%s: snapshots %q, want the first alone", name, h.snapshots)
		}
		var want []engine.Cursor
		for _, entry := range recorded(t, e, name, "0-0") {
			if entry.ID.N() <= h.cursor.N() {
				want = append(want, entry.ID)
			}
		}
		// The snapshot stands for what was before it.
		if got := h.ids(); !slices.Equal(got, want[len(want)-len(got):]) || len(got) < 12 {
			t.Errorf("%s: held %v, want the last of %v", name, got, want)
		}
	}
}

// Until a snapshot is whole the ID is what the client held before: the last one's cursor would skip what
// was not given.
func TestEventsKeepTheCursorUntilASnapshotIsWhole(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, nil)
	for range 150 { // more than a page of 64 KiB holds
		enqueueWith(t, e, strings.Repeat("x", 190))
	}
	es := s.events(t, "/v1/events?topic=user:42", "", topic)
	parts := 0
	es.until("the snapshot is whole", func() bool {
		h := es.subs["user:42"]
		if h.part > parts {
			parts = h.part
			if whole := h.cursor != ""; whole == (es.id == "") {
				t.Fatalf("after part %d, whole %v, the ID is %q", parts, whole, es.id)
			}
		}
		return h.live
	})
	if parts < 2 {
		t.Fatalf("the snapshot has %d parts, want several", parts)
	}
}

func enqueueWith(t testing.TB, e *engine.Engine, title string) {
	t.Helper()
	if _, err := e.Enqueue(soon(t), engine.Spec{Topic: topic, Type: "export", Title: title}); err != nil {
		t.Fatal(err)
	}
}

func TestEventsAreFiltered(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, nil)
	wanted, unwanted := start(t, e, topic), start(t, e, topic)
	es := s.events(t, "/v1/events?topic=user:42&job="+string(wanted.job), "", topic)
	es.until("it is live", func() bool { return es.subs["user:42"].live })
	unwanted.tick(2)
	es.untilCursor(topic, wanted.tick(2))
	for _, r := range es.subs["user:42"].records {
		if r.Job.ID != wanted.job {
			t.Errorf("got a record of job %s", r.Job.ID)
		}
	}
}

// What will never be right is refused with a status, at which an EventSource gives up.
func TestEventsRefuse(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{"a": {Subject: "a", Grants: []auth.Grant{{Topics: "user:a", Rights: auth.Read}}}}
	})
	enqueue(t, e, "user:b")
	many := "/v1/events?topic=user:a"
	for i := range 8 {
		many += "&topic=user:a" + strconv.Itoa(i)
	}
	for _, c := range []struct {
		path, token, lastID string
		status              int
		says                string
	}{
		{"/v1/events", "a", "", 400, "topic: it is required"},
		{"/v1/events?topic=user:a&topic=user:a", "a", "", 400, "there twice"},
		{"/v1/events?topic=nonsense", "a", "", 400, "topic"},
		{"/v1/events?topic=user:a&after=x", "a", "", 400, "cursor"},
		{"/v1/events?topic=user:a&after=1-1&after=2-2", "a", "", 400, "after: it is there 2 times for 1 topics"},
		{"/v1/events?topic=user:a&wait=1s", "a", "", 400, "wait"},
		{"/v1/events?topic=user:a&limit=0", "a", "", 400, "limit"},
		{"/v1/events?topic=user:a&limit=100001", "a", "", 400, "limit"},
		{"/v1/events?topic=user:a&state=odd", "a", "", 400, "state"},
		{"/v1/events?topic=user:a&type=a&type=b", "a", "", 400, "type: it is there 2 times"},
		{"/v1/events?topic=user:a", "a", "1-1,2-2", 400, "Last-Event-ID: it has 2 cursors for 1 topics"},
		{"/v1/events?topic=user:a", "a", "x", 400, "cursor"},
		{many, "a", "", 400, "want at most 8"},
		{"/v1/events?topic=user:a&token=a", "", "", 400, "token"},
		{"/v1/events?topic=user:a", "", "", 401, "credentials"},
		{"/v1/events?topic=user:a", "z", "", 401, "credentials"},
		{"/v1/events?topic=user:a&topic=user:b", "a", "", 403, "may not"},
		{"/v1/topics/user:a/records?wait=61s", "a", "", 400, "wait"},
		{"/v1/topics/user:a/records?wait=-1s", "a", "", 400, "wait"},
		{"/v1/topics/user:a/records?topic=user:a", "a", "", 400, "topic"},
		{"/v1/topics/user:a/records?after=1-1&after=1-1", "a", "", 400, "after"},
		{"/v1/topics/user:a/records", "z", "", 401, "credentials"},
	} {
		a := s.get(t, c.path, c.token, c.lastID)
		text, _ := io.ReadAll(a.body)
		if a.status != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s, Last-Event-ID %q: %d %s, want %d and %q", c.path, c.lastID, a.status, text, c.status, c.says)
		}
	}
	for _, path := range []string{"/v1/events?topic=user:a", "/v1/topics/user:a/records"} {
		r, err := http.NewRequestWithContext(soon(t), http.MethodGet, s.url(path), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer a")
		a, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s with a body: %s, want 400", path, a.Status)
		}
	}
	// The form of RFC 3339 has no such offset, and Go reads it.
	if a := s.get(t, "/v1/topics/user:a/records?wait=0s&created_from=2026-01-01T00:00:00%2B24:00", "a", ""); a.status != http.StatusOK {
		t.Errorf("an offset of 24 hours: %d", a.status)
	}
	for _, path := range []string{"/v1/events?topic=", "/v1/topics/%s/records"} {
		var texts []string
		for _, name := range []string{"user:b", "user:nobody"} {
			at := path + url.QueryEscape(name)
			if strings.Contains(path, "%s") {
				at = fmt.Sprintf(path, name)
			}
			a := s.get(t, at, "a", "")
			text, _ := io.ReadAll(a.body)
			texts = append(texts, strconv.Itoa(a.status)+" "+string(text))
		}
		if texts[0] != texts[1] || !strings.HasPrefix(texts[0], "403") {
			t.Errorf("%s: another's topic is answered %q, an unknown one %q", path, texts[0], texts[1])
		}
	}
}

// What will pass is a stream that says when to come back: at any other status a browser never would.
func TestEventsSendAwayForAWhile(t *testing.T) {
	t.Parallel()
	e := real(t)
	t.Run("too many streams", func(t *testing.T) {
		t.Parallel()
		s := serve(t, e, func(o *gateway.Options) { o.StreamsPerCredential = 2 })
		first := s.events(t, "/v1/events?topic=user:42", "", topic)
		second := s.events(t, "/v1/events?topic=user:42", "", topic)
		third := s.events(t, "/v1/events?topic=user:42", "")
		all := third.rest()
		if len(all) != 1 || all[0].Type != "goodbye" || all[0].Reason != "too_many_streams" || all[0].Reconnect != 60_000 || third.retry != time.Minute {
			t.Errorf("got %+v and retry %s, want goodbye too_many_streams in a minute", all, third.retry)
		}
		if a := s.get(t, "/v1/topics/user:42/records", "", ""); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "60" {
			t.Errorf("a poll beside them: %d, want 429", a.status)
		}
		second.until("it is live", func() bool { return second.subs["user:42"].live })
		first.body.Close()
		for { // until the gateway has seen that
			a := s.get(t, "/v1/topics/user:42/records?wait=0s", "", "")
			if a.status == http.StatusOK {
				return
			}
			_, _ = io.Copy(io.Discard, a.body)
		}
	})
	t.Run("its own streams alone", func(t *testing.T) {
		t.Parallel()
		reads := []auth.Grant{{Topics: "user:42", Rights: auth.Read}}
		s := serve(t, e, func(o *gateway.Options) {
			o.StreamsPerCredential = 1
			o.Auth = tokens{"one": {Subject: "a", Credential: "1", Grants: reads}, "two": {Subject: "a", Credential: "2", Grants: reads}}
		})
		for _, c := range []struct{ token, want string }{{"one", "welcome"}, {"two", "welcome"}, {"one", "goodbye"}} {
			es := &eventSource{t: t, lines: bufio.NewReader(s.get(t, "/v1/events?topic=user:42", c.token, "").body)}
			if f, _ := es.next(); f.Type != c.want {
				t.Errorf("%s: got %s, want %s", c.token, f.text, c.want)
			}
		}
	})
	t.Run("stopping", func(t *testing.T) {
		t.Parallel()
		s := serve(t, e, nil)
		es := s.events(t, "/v1/events?topic=user:42", "", topic)
		es.until("it is live", func() bool { return es.subs["user:42"].live })
		if err := s.Stop(soon(t)); err != nil {
			t.Error(err)
		}
		all := es.rest()
		if len(all) != 1 || all[0].Type != "goodbye" || all[0].Reason != "draining" || es.retry != time.Duration(all[0].Reconnect)*time.Millisecond {
			t.Errorf("got %+v and retry %s, want goodbye draining", all, es.retry)
		}
	})
	t.Run("the credentials cannot be checked", func(t *testing.T) {
		t.Parallel()
		s := serve(t, e, func(o *gateway.Options) { o.Auth = tokens{} })
		all := (&eventSource{t: t, lines: bufio.NewReader(s.get(t, "/v1/events?topic=user:42", "broken", "").body)}).rest()
		if len(all) != 1 || all[0].Type != "goodbye" || all[0].Reason != "unavailable" || all[0].Reconnect < 1000 {
			t.Errorf("got %+v, want goodbye unavailable", all)
		}
	})
}

// A stream whose credentials end says so, and the next try gets the status at which a browser stops.
func TestEventsEndWithTheirCredentials(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{"brief": {Subject: "a", Grants: []auth.Grant{{Topics: "user:42", Rights: auth.Read}}, Expires: time.Now().Add(time.Second)}}
	})
	es := &eventSource{t: t, lines: bufio.NewReader(s.get(t, "/v1/events?topic=user:42", "brief", "").body)}
	all := es.rest()
	if end := all[len(all)-1]; end.Type != "goodbye" || end.Reason != "expired" {
		t.Errorf("the last frame is %s, want goodbye expired", end.text)
	}
}

// A job that is no job of the topic ends the only subscription, and so the stream.
func TestEventsOfAnUnknownJobEnd(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, nil)
	job := enqueue(t, e, "user:other")
	es := s.events(t, "/v1/events?topic=user:42&job="+string(job), "")
	all := es.rest()
	if end := all[len(all)-1]; end.Type != "error" || end.Code != "not_found" {
		t.Errorf("the last frame is %s, want error not_found", end.text)
	}
	if es.retry != time.Minute {
		t.Errorf("the browser comes back in %s, want a minute", es.retry)
	}
}

// Streams go on over a restart of Redis that keeps everything.
func TestEventsOverARestartOfRedis(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t, redistest.WithAOF())
	e := open(t, r.URL(), nil)
	s := serve(t, e, nil)
	p := start(t, e, topic)
	es := s.events(t, "/v1/events?topic=user:42", "", topic)
	es.untilCursor(topic, p.tick(2))
	r.Kill()
	r.Restart()
	es.untilCursor(topic, p.tick(2))
}
