package stream

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
	"github.com/tidemark-dev/tidemark/gateway/internal/ws"
)

// A line joins a session to a client of the test's, over a transport. Nothing moves on it
// but by take.
type line interface {
	// open makes a session of the hub's whose client has its welcome.
	open(t *testing.T, h *Hub) *Session
	// take gives the client the frame that the session has written; when it returns, the
	// session knows. Only a line in memory tells more of it than the text.
	take(t *testing.T) transport.Frame
	hangUp()
}

// lines are the transports that catching up is tested over.
var lines = map[string]func() line{
	"in memory":   func() line { return &memory{} },
	"over Melody": func() line { return &socketLine{} },
}

// quietly is a hub that takes sessions, and has no goroutines. Zero fields of o have the
// gateway's defaults.
func quietly(t *testing.T, e *engine.Engine, o Options) *Hub {
	t.Helper()
	o.Engine, o.Uses, o.Registry, o.Logger = e, access.NewUses(nil), prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil))
	o.Connections, o.Subscriptions, o.PingInterval, o.FilterLag, o.ReconnectSpread = 100, 200, time.Hour, 4*time.Second, 2*time.Second
	if o.WindowFrames == 0 {
		o.WindowFrames = 16
	}
	if o.WindowBytes == 0 {
		o.WindowBytes = 128 << 10
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h.sessions.opens = true
	return h
}

var reader = &auth.Principal{Subject: "alice", Grants: []auth.Grant{{Topics: "*", Rights: auth.Read}}}

// memory is a transport that is nothing else: it holds the frame that the session wrote.
type memory struct {
	session *Session
	frame   transport.Frame
	has     bool
	reason  transport.Reason // that it was closed with
}

// Write implements transport.Transport.
func (m *memory) Write(f transport.Frame) error {
	m.frame, m.has = f, true
	return nil
}

// Close implements transport.Transport.
func (m *memory) Close(reason transport.Reason, _ string) { m.reason = reason }

// Abort implements transport.Transport.
func (m *memory) Abort() {}

func (m *memory) Refused(string, string) {}

func (m *memory) open(t *testing.T, h *Hub) *Session {
	m.session = h.Open(m)
	m.session.Begin()
	m.session.Admit(reader)
	m.take(t)
	return m.session
}

func (m *memory) take(t *testing.T) transport.Frame {
	t.Helper()
	if !m.has {
		t.Fatal("the session has written no frame")
	}
	f := m.frame
	m.has = false
	m.session.Sent()
	return f
}

func (m *memory) hangUp() {
	m.session.End()
	m.session.Leave()
}

// A socketLine is a WebSocket over a pipe, so that a frame is sent when the client has read
// it, and not when a kernel has taken it.
type socketLine struct {
	client *websocket.Conn
	sent   chan struct{} // a value for each Sent that has returned
	left   chan struct{}
}

func (l *socketLine) open(t *testing.T, h *Hub) *Session {
	t.Helper()
	l.sent, l.left = make(chan struct{}, 1), make(chan struct{})
	var session *Session
	problems := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "problems"}, []string{"code"})
	server := ws.New(ws.Options{
		Open: func(tr transport.Transport) ws.Session {
			session = h.Open(tr)
			return watched{session, l}
		},
		Gate: access.NewGate(anyone{}, h.opts.Uses, time.Minute, h.opts.Logger), MessageBytes: 1 << 10, MessagesPerSecond: 100, MessageBurst: 100, SendBufferBytes: 4 << 10,
		PingInterval: time.Hour, PongTimeout: time.Hour, StallTimeout: time.Hour, AuthTimeout: time.Minute,
		Problems: problem.NewWriter(h.opts.Logger, problems, func(error) {}), Refusals: problem.NewRefusals(h.opts.Logger), Logger: h.opts.Logger,
	})
	near, far := net.Pipe()
	go func() {
		in := bufio.NewReader(far)
		if r, err := http.ReadRequest(in); err == nil {
			server.ServeHTTP(&upgraded{header: http.Header{}, conn: far, in: in}, r)
		}
	}()
	d := websocket.Dialer{Subprotocols: []string{"tidemark.v1"}, NetDial: func(string, string) (net.Conn, error) { return near, nil }}
	client, answer, err := d.DialContext(t.Context(), "ws://gateway.test/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	l.client = client
	l.take(t)
	return session
}

func (l *socketLine) take(t *testing.T) transport.Frame {
	t.Helper()
	_, text, err := l.client.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	<-l.sent
	return transport.Frame{Text: text}
}

func (l *socketLine) hangUp() {
	_ = l.client.Close() // the test has no more to say
	<-l.left
}

// watched is a session that tells its line what was sent, and when it is gone.
type watched struct {
	*Session
	line *socketLine
}

func (w watched) Sent() {
	w.Session.Sent()
	w.line.sent <- struct{}{}
}

func (w watched) Leave() {
	w.Session.Leave()
	close(w.line.left)
}

// upgraded is an answer whose connection may be taken over.
type upgraded struct {
	header http.Header
	conn   net.Conn
	in     *bufio.Reader
}

func (u *upgraded) Header() http.Header         { return u.header }
func (u *upgraded) Write(b []byte) (int, error) { return u.conn.Write(b) }
func (u *upgraded) WriteHeader(int)             {}

func (u *upgraded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.conn, bufio.NewReadWriter(u.in, bufio.NewWriter(u.conn)), nil
}

// anyone takes everybody for the reader.
type anyone struct{ auth.Dev }

func (anyone) Authenticate(*http.Request) (*auth.Principal, error) { return reader, nil }
