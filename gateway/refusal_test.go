package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

func TestFramesThatCloseTheConnection(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) { o.MessageBytes = 1 << 10 })
	for _, c := range []struct {
		name string
		kind int
		text string
		want int
	}{
		{"no JSON", websocket.TextMessage, `{"type":`, 4400},
		{"two objects", websocket.TextMessage, `{"type":"ping"}{"type":"ping"}`, 4400},
		{"an array", websocket.TextMessage, `[{"type":"ping"}]`, 4400},
		{"null", websocket.TextMessage, `null`, 4400},
		{"nothing", websocket.TextMessage, ``, 4400},
		{"a field of the wrong type", websocket.TextMessage, `{"type":"subscribe","sid":7}`, 4400},
		{"no sid", websocket.TextMessage, `{"type":"subscribe","topic":"user:42"}`, 4400},
		{"a long sid", websocket.TextMessage, `{"type":"subscribe","topic":"user:42","sid":"` + strings.Repeat("x", 65) + `"}`, 4400},
		{"not UTF-8", websocket.TextMessage, "{\"type\":\"ping\",\"x\":\"\xff\"}", 1007},
		{"binary", websocket.BinaryMessage, `{"type":"ping"}`, 1003},
		{"oversized", websocket.TextMessage, `{"type":"ping","x":"` + strings.Repeat("x", 64<<10) + `"}`, 1009},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := s.client(t)
			if err := cl.conn.WriteMessage(c.kind, []byte(c.text)); err != nil {
				t.Fatal(err)
			}
			if got := cl.closed(); got != c.want {
				t.Errorf("closed with %d, want %d", got, c.want)
			}
		})
	}
}

func TestFramesThatAreAnsweredWithAnError(t *testing.T) {
	e := real(t)
	mine, foreign := enqueue(t, e, topic), enqueue(t, e, "user:43")
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{"alice": {Subject: "alice", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}}}
		o.SubscriptionsPerConnection = 2
	})
	c := newClient(t, s.dial(t, dialer(0), bearer("alice")))
	unknown := engine.JobID(string(mine[:2]) + "01JD0000000000000000000000")
	for _, q := range []struct{ name, text, want string }{
		{"malformed topic", `{"type":"subscribe","sid":"1","topic":"user"}`, "invalid"},
		{"malformed cursor", `{"type":"subscribe","sid":"1","topic":"user:42","after":"yesterday"}`, "invalid"},
		{"malformed job", `{"type":"subscribe","sid":"1","topic":"user:42","filter":{"job":"7"}}`, "invalid"},
		{"job beside the filter", fmt.Sprintf(`{"type":"subscribe","sid":"1","topic":"user:42","job":%q}`, mine), "invalid"},
		{"filter of no state", `{"type":"subscribe","sid":"1","topic":"user:42","filter":{"state":"done"}}`, "invalid"},
		{"unknown filter", `{"type":"subscribe","sid":"1","topic":"user:42","filter":{"q":"text"}}`, "invalid"},
		{"filter that is no object", `{"type":"subscribe","sid":"1","topic":"user:42","filter":"state=failed"}`, "invalid"},
		{"foreign topic", `{"type":"subscribe","sid":"1","topic":"user:43"}`, "forbidden"},
		{"unknown topic", `{"type":"subscribe","sid":"1","topic":"user:nobody"}`, "forbidden"},
		{"unknown job", fmt.Sprintf(`{"type":"subscribe","sid":"1","topic":"user:42","filter":{"job":%q}}`, unknown), "not_found"},
		{"foreign job", fmt.Sprintf(`{"type":"subscribe","sid":"1","topic":"user:42","filter":{"job":%q}}`, foreign), "not_found"},
		{"foreign job from a cursor", fmt.Sprintf(`{"type":"subscribe","sid":"1","topic":"user:42","after":"0-0","filter":{"job":%q}}`, foreign), "not_found"},
	} {
		c.send(q.text)
		if f := c.read(); f.Type != "error" || f.Sid != "1" || f.Code != q.want || f.Message == "" {
			t.Errorf("%s: got %s, want error %s", q.name, f.text, q.want)
		}
	}
	c.subscribe("a", topic, "", mine)
	c.untilLive("a")
	c.send(`{"type":"subscribe","sid":"a","topic":"user:42"}`)
	if f := c.read(); f.Code != "sid_in_use" {
		t.Errorf("got %s, want sid_in_use", f.text)
	}
	c.subscribe("b", topic, "", "")
	c.untilLive("b")
	c.send(`{"type":"subscribe","sid":"c","topic":"user:42"}`)
	if f := c.read(); f.Code != "too_many_subscriptions" {
		t.Errorf("got %s, want too_many_subscriptions", f.text)
	}
	c.send(`{"type":"unsubscribe","sid":"a"}`)
	c.subscribe("d", topic, "", "")
	c.untilLive("d")
}

func TestUnknownIsIgnored(t *testing.T) {
	c := serve(t, real(t), nil).client(t)
	c.send(`{"type":"tea","sid":"a"}`)
	c.send(`{"no":"type"}`)
	c.send(`{"type":"unsubscribe","sid":"never"}`)
	c.send(`{"type":"ping","shape":"round"}`)
	if f := c.read(); f.text != `{"type":"pong"}` {
		t.Errorf("got %s, want pong", f.text)
	}
}

func TestTooManyMessages(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) { o.MessagesPerSecond, o.MessageBurst = 1, 5 })
	c := s.client(t)
	for range 20 {
		if c.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)) != nil {
			break // the gateway has hung up already
		}
	}
	said := frame{}
	for {
		f, err := c.next(10 * time.Second)
		if err == nil {
			said = f
			continue
		}
		if !websocket.IsCloseError(err, 4429) {
			t.Errorf("ended with %v, want 4429", err)
		}
		break
	}
	if said.Type != "goodbye" || said.Reason != "rate" || said.Reconnect <= 0 {
		t.Errorf("last frame %s, want goodbye", said.text)
	}
}

func TestTooManyConnections(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) { o.ConnectionsPerPrincipal = 2 })
	s.client(t)
	second := s.client(t)
	refused := &client{t: t, conn: s.dial(t, dialer(0), nil)}
	if f := refused.read(); f.Type != "goodbye" || f.Reason != "too_many_connections" || f.Reconnect <= 0 {
		t.Errorf("got %s, want goodbye", f.text)
	}
	if code := refused.closed(); code != 4409 {
		t.Errorf("closed with %d, want 4409", code)
	}
	if err := second.conn.Close(); err != nil {
		t.Fatal(err)
	}
	for { // until the gateway has seen it go
		c := &client{t: t, conn: s.dial(t, dialer(0), nil)}
		if c.read().Type == "welcome" {
			return
		}
	}
}

func TestHandshakesThatAreRefused(t *testing.T) {
	s := serve(t, real(t), nil)
	ws := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"tidemark.v1"},
	}
	for _, c := range []struct {
		name, path string
		change     func(r *http.Request)
		want       int
	}{
		{"foreign Host", "/v1/ws", func(r *http.Request) { r.Host = "evil.example" }, http.StatusForbidden},
		{"foreign Origin", "/v1/ws", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, http.StatusForbidden},
		{"null Origin", "/v1/ws", func(r *http.Request) { r.Header.Set("Origin", "null") }, http.StatusForbidden},
		{"a token in the query", "/v1/ws?token=abc", func(*http.Request) {}, http.StatusBadRequest},
		{"no upgrade", "/v1/ws", func(r *http.Request) { r.Header.Del("Upgrade") }, http.StatusUpgradeRequired},
		{"an old version", "/v1/ws", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, http.StatusBadRequest},
		{"a short key", "/v1/ws", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "abc") }, http.StatusBadRequest},
		{"its own page", "/v1/ws", func(r *http.Request) { r.Header.Set("Origin", "http://"+s.addr) }, http.StatusSwitchingProtocols},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(soon(t), http.MethodGet, s.url(c.path), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = ws.Clone()
			c.change(r)
			conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := r.Write(conn); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("status %d, want %d", resp.StatusCode, c.want)
			}
			if c.want >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", resp.Header.Get("Content-Type"))
			}
		})
	}
}

// A body that does not come holds no connection, not even of a request that is refused
// before a handler looks at it.
func TestBodiesThatDoNotCome(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) { o.RequestTimeout = 100 * time.Millisecond })
	for name, c := range map[string]struct {
		start, host string
		want        int
	}{
		"to nowhere":          {"POST /nothing", s.addr, http.StatusNotFound},
		"to a foreign host":   {"POST /v1/jobs", "evil.example", http.StatusForbidden},
		"of the wrong type":   {"POST /v1/jobs", s.addr, http.StatusBadRequest},
		"of an artifact":      {"GET /v1/artifacts/x", s.addr, http.StatusNotFound},
		"of a probe":          {"GET /healthz", s.addr, http.StatusOK},
		"with no such method": {"PUT /v1/jobs", s.addr, http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\nabc", c.start, c.host); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.want || !resp.Close {
				t.Errorf("answered %d, close %v; want %d", resp.StatusCode, resp.Close, c.want)
			}
		})
	}
}

func TestSubprotocolIsRequired(t *testing.T) {
	s := serve(t, real(t), nil)
	c := &client{t: t, conn: s.dial(t, &websocket.Dialer{}, nil)}
	if code := c.closed(); code != 4400 {
		t.Errorf("closed with %d, want 4400", code)
	}
}

// tokens authenticate every client that bears one.
type tokens map[string]*auth.Principal

func (tk tokens) Authenticate(r *http.Request) (*auth.Principal, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, auth.ErrNoCredentials
	}
	return tk.Token(r.Context(), token)
}

func (tk tokens) Token(_ context.Context, token string) (*auth.Principal, error) {
	switch p := tk[token]; {
	case token == "disabled":
		return nil, auth.ErrDisabled
	case token == "broken":
		return nil, errors.New("the directory does not answer")
	case p == nil:
		return nil, fmt.Errorf("%w: unknown token", auth.ErrRejected)
	default:
		return p, nil
	}
}

func (tokens) Announcement() string { return "" }
func (tokens) Close() error         { return nil }

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestCredentialsOfAWebSocket(t *testing.T) {
	alice := &auth.Principal{Subject: "alice", Grants: []auth.Grant{{Topics: "*", Rights: auth.Read}}}
	e := real(t)
	known := func(o *gateway.Options) {
		o.Auth = tokens{
			"alice": alice, "alice's next": alice, "bob": {Subject: "bob"},
			"brief": {Subject: "alice", Expires: time.Now().Add(time.Hour)},
			"over":  {Subject: "alice", Expires: time.Now().Add(-time.Second)},
		}
	}
	s := serve(t, e, known)
	raw := func(t *testing.T, header http.Header) *client {
		return &client{t: t, conn: s.dial(t, dialer(0), header)}
	}
	auths := func(c *client, token string) { c.send(fmt.Sprintf(`{"type":"auth","token":%q}`, token)) }
	t.Run("none in time", func(t *testing.T) {
		hasty := serve(t, e, func(o *gateway.Options) {
			known(o)
			o.AuthTimeout = 100 * time.Millisecond
		})
		c := &client{t: t, conn: hasty.dial(t, dialer(0), nil)}
		if code := c.closed(); code != 4401 {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("something else first", func(t *testing.T) {
		c := raw(t, nil)
		c.send(`{"type":"ping"}`)
		if code := c.closed(); code != 4401 {
			t.Errorf("closed with %d", code)
		}
	})
	for token, want := range map[string]int{"nobody's": 4401, "disabled": 4403, "broken": 1012, "over": 4401} {
		t.Run(token+" in the header", func(t *testing.T) {
			if code := raw(t, bearer(token)).closed(); code != want {
				t.Errorf("closed with %d, want %d", code, want)
			}
		})
		t.Run(token+" in a frame", func(t *testing.T) {
			c := raw(t, nil)
			auths(c, token)
			if code := c.closed(); code != want {
				t.Errorf("closed with %d, want %d", code, want)
			}
		})
	}
	t.Run("in a frame, renewed, then another's", func(t *testing.T) {
		c := raw(t, nil)
		auths(c, "alice")
		first := c.read()
		auths(c, "brief")
		second := c.read()
		if first.Type != "welcome" || second.Type != "welcome" || first.Principal != second.Principal || first.Expires != "" || second.Expires == "" {
			t.Errorf("welcomes %s and %s", first.text, second.text)
		}
		if strings.Contains(first.text, "alice") {
			t.Errorf("the principal is not opaque: %s", first.text)
		}
		auths(c, "bob")
		if code := c.closed(); code != 4401 {
			t.Errorf("closed with %d", code)
		}
	})
}

func TestDevModeDoesNotServeOtherMachines(t *testing.T) {
	g, err := gateway.New(gateway.Options{Engine: real(t), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context(), l); !errors.Is(err, auth.ErrNotLoopback) {
		t.Errorf("run on %s: %v, want ErrNotLoopback", l.Addr(), err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}
