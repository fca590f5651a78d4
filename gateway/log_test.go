package gateway_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// logbook keeps a log's lines of JSON.
type logbook struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// with returns the lines that have a message.
func (l *logbook) with(t *testing.T, message string) (found []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.lines.Bytes()) {
		if keys, err := logtest.Repeated(line); err != nil || len(keys) > 0 {
			t.Errorf("%q are twice in %s: %v", keys, line, err)
		}
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		if text, _ := fields["msg"].(string); strings.Contains(text, message) {
			found = append(found, fields)
		}
	}
	return found
}

// An outage of Redis has two lines, however many requests and subscriptions notice it.
func TestAnOutageOfRedisIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log logbook
	proxy := redistest.NewProxy(t, redistest.Server(t).Addr())
	s := serve(t, open(t, proxy.URL(), nil), func(o *gateway.Options) { o.Logger = log.logger() })
	c := s.client(t)
	c.subscribe("a", topic, "", "")
	c.subscribe("b", "user:43", "", "")
	c.untilLive("a")
	c.untilLive("b")
	const went, back = "Redis does not answer", "Redis answers again"
	for outage := 1; outage <= 2; outage++ {
		proxy.Refuse()
		proxy.CutAll()
		for range 3 {
			if a := s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42", "", nil); a.status != http.StatusServiceUnavailable {
				t.Fatalf("a list was answered %d", a.status)
			}
			s.ask(t, http.MethodGet, "/readyz", "", nil) // its answer may be a second old
		}
		eventually(t, "the line of the outage", func() bool { return len(log.with(t, went)) >= outage })
		proxy.Accept()
		eventually(t, "the line of its end", func() bool { return len(log.with(t, back)) >= outage })
		if w, b := log.with(t, went), log.with(t, back); len(w) != outage || len(b) != outage || w[outage-1]["level"] != "WARN" || b[outage-1]["level"] != "INFO" {
			t.Fatalf("after %d outages: %v, %v", outage, w, b)
		}
	}
}

// What the gateway refuses is in its log, with origin and reason, and without credentials or payloads.
func TestRefusalsAreLogged(t *testing.T) {
	t.Parallel()
	var log logbook
	s := serve(t, real(t), func(o *gateway.Options) {
		o.Auth = tokens{"alice": {Subject: "alice", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}}}
		o.Logger = log.logger()
	})
	const origin = "https://other.example"
	page := func(r *http.Request) { r.Header.Set("Origin", origin) }
	with := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42", "", page)
	s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42", "", with("swordfish"))
	s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42&access_token=swordfish", "", nil)
	s.ask(t, http.MethodPost, "/v1/jobs", `{"topic":"user:42","type":"export","payload":"swordfish"}`, with("alice"))
	s.ask(t, http.MethodGet, "/v1/jobs/unknown", "", with("alice"))

	for range 3 {
		c := newClient(t, s.dial(t, dialer(0), bearer("alice")))
		c.subscribe("a", "user:43", "", "")
		for f := c.read(); f.Type != "error"; f = c.read() {
		}
		c.send(`{"type":"subscribe"}`)
		if code := c.closed(); code != 4400 {
			t.Fatalf("closed with %d", code)
		}
	}
	late := s.dial(t, dialer(0), nil)
	if err := late.WriteMessage(websocket.TextMessage, []byte(`{"type":"auth","token":"swordfish"}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := late.ReadMessage(); !websocket.IsCloseError(err, 4401) {
		t.Fatalf("a socket with a wrong token: %v", err)
	}
	_, answer, err := websocket.DefaultDialer.DialContext(soon(t), "ws://"+s.addr+"/v1/ws", http.Header{"Origin": {origin}})
	if err == nil {
		t.Fatal("another site's page got a socket")
	}
	answer.Body.Close()

	wanted := map[string]int{"origin": 1, "unauthenticated": 1, "invalid": 1, "forbidden": 1, "protocol": 1}
	eventually(t, "the refusals", func() bool {
		found := map[any]bool{}
		for _, line := range log.with(t, "refused") {
			found[line["reason"]] = true
		}
		return len(found) >= len(wanted)
	})
	got := map[string]int{}
	for _, line := range log.with(t, "refused") {
		reason, _ := line["reason"].(string)
		got[reason]++
		if line["remote"] == "" || line["path"] == "" || (reason == "origin") != (line["origin"] == origin) {
			t.Errorf("a line lacks something: %v", line)
		}
	}
	for reason, n := range wanted {
		if got[reason] != n {
			t.Errorf("%s has %d lines, want %d: %v", reason, got[reason], n, got)
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if strings.Contains(log.lines.String(), "swordfish") {
		t.Errorf("the log has credentials or a payload:\n%s", log.lines.String())
	}
}
