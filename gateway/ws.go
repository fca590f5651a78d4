package gateway

import (
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/olahol/melody"

	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// subprotocol is the version of the protocol.
const subprotocol = "tidemark.v1"

// sessionKey is where Melody's session keeps ours.
const sessionKey = "tidemark"

func sessionOf(m *melody.Session) *session {
	// Not by Get, which takes a lock: nothing is set after the session has begun.
	s, _ := m.Keys[sessionKey].(*session)
	return s
}

// newMelody sets Melody up for what doc.go says of it: it carries frames, and is
// never asked to find sessions.
func (g *Gateway) newMelody() *melody.Melody {
	m := melody.New()
	m.Config = &melody.Config{
		WriteWait:         g.opts.StallTimeout,
		PingPeriod:        g.opts.PingInterval,
		PongWait:          g.opts.PingInterval + g.opts.PongTimeout,
		MaxMessageSize:    int64(g.opts.MessageBytes),
		MessageBufferSize: g.opts.WindowFrames + reserve,
	}
	m.Upgrader = &websocket.Upgrader{
		ReadBufferSize:   512,
		WriteBufferSize:  4 << 10,
		WriteBufferPool:  &sync.Pool{},
		HandshakeTimeout: 10 * time.Second,
		Subprotocols:     []string{subprotocol},
		CheckOrigin:      func(*http.Request) bool { return true }, // the site's check came first
	}
	m.HandleConnect(func(m *melody.Session) { g.guarded(m, func(s *session) { s.begin(m) }) })
	m.HandleMessage(func(m *melody.Session, text []byte) { g.guarded(m, func(s *session) { s.hear(text) }) })
	m.HandleMessageBinary(func(m *melody.Session, _ []byte) {
		g.guarded(m, func(s *session) { s.close(closeBinary, "messages are text") })
	})
	m.HandleSentMessage(func(m *melody.Session, frame []byte) { sessionOf(m).sent(frame) })
	m.HandleError(func(m *melody.Session, err error) {
		// Called from Write too, under the session's lock, when it is ending.
		if errors.Is(err, melody.ErrMessageBufferFull) {
			return
		}
		s := sessionOf(m)
		s.fail()
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			// It takes nothing, or answers nothing: the kernel need not go on trying.
			s.conn.abort()
		}
	})
	return m
}

// guarded keeps a panic away from Melody, which would leave the session without a
// reader.
func (g *Gateway) guarded(m *melody.Session, do func(*session)) {
	s := sessionOf(m)
	defer func() {
		if p := recover(); p != nil {
			g.opts.Logger.Error("panic while handling a message", "panic", p, "stack", string(debug.Stack()))
			// Not by its lock, which may be held.
			_ = m.CloseWithMsg(melody.FormatCloseMessage(closeInternal, "internal error"))
		}
	}()
	do(s)
}

// serveWebSocket answers GET /v1/ws. What fails before the upgrade a browser cannot
// tell from a network that is down, and would try for ever: so everything that can be
// said after it is.
func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		g.problems.Write(w, http.StatusUpgradeRequired, "upgrade_required", "this address speaks WebSocket, subprotocol "+subprotocol)
		return
	}
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) {
		g.problems.Write(w, http.StatusBadRequest, "handshake", "a WebSocket begins with GET over HTTP/1.1")
		return
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	if err != nil || len(key) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) != 1 || r.Header.Get("Sec-WebSocket-Version") != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		g.problems.Write(w, http.StatusBadRequest, "handshake", "want Sec-WebSocket-Version 13 and one Sec-WebSocket-Key of 16 bytes")
		return
	}
	// A list of values may come in several lines, which the library does not look at.
	if offered := r.Header.Values("Sec-WebSocket-Protocol"); len(offered) > 1 {
		r.Header.Set("Sec-WebSocket-Protocol", strings.Join(offered, ", "))
	}
	s := &session{
		g: g, hub: g.hub, id: newID(), shorter: make(chan struct{}, 1), gone: make(chan struct{}),
		rate: bucket{perSecond: float64(g.opts.MessagesPerSecond), burst: float64(g.opts.MessageBurst), left: float64(g.opts.MessageBurst)},
	}
	s.arrival.versed = slices.Contains(websocket.Subprotocols(r), subprotocol)
	s.arrival.principal, s.arrival.err = g.opts.Auth.Authenticate(r)
	if !g.enter(s) {
		w.Header().Set("Retry-After", "2")
		g.problems.Write(w, http.StatusServiceUnavailable, "draining", "this gateway is stopping: try again")
		return
	}
	raw, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		g.exit(s)
		g.problems.Write(w, http.StatusBadRequest, "handshake", "WebSocket needs HTTP/1.1")
		return
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(g.opts.SendBufferBytes) // a hint: the window bounds the rest
	}
	c := &conn{Conn: raw, over: make(chan struct{}), arrived: s.arrived, slack: g.opts.StallTimeout / 16}
	// Only what the handshake reads: the request and its headers need not stay in
	// memory as long as the socket.
	slim := &http.Request{Method: http.MethodGet, Header: http.Header{}}
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Version", "Sec-Websocket-Key", "Sec-Websocket-Protocol"} {
		slim.Header[name] = r.Header[name]
	}
	go g.serveSocket(c, &hijacked{c, in.Reader}, slim, s)
}

// serveSocket owns a socket until it is gone. enter has counted it.
func (g *Gateway) serveSocket(c *conn, w *hijacked, r *http.Request, s *session) {
	defer g.exit(s)
	defer c.finish()
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	if err := g.melody.HandleRequestWithKeys(w, r, map[string]any{sessionKey: s}); err != nil {
		g.opts.Logger.Debug("WebSocket handshake failed", "error", err)
	}
	s.end()
}

// arrival is what the request said of a session before it was one.
type arrival struct {
	versed    bool // in the subprotocol
	principal *auth.Principal
	err       error
}

// begin is a session's first moment.
func (s *session) begin(m *melody.Session) {
	s.mu.Lock()
	s.socket = m
	s.mu.Unlock()
	m.Request = nil
	a := s.arrival
	s.arrival = arrival{}
	select {
	case <-s.g.stopping: // its goodbye may have come before there was a socket
		s.goodbye()
		return
	default:
	}
	switch {
	case !a.versed:
		s.close(closeProtocol, "offer the subprotocol "+subprotocol)
	case a.err == nil:
		s.admit(a.principal)
	case errors.Is(a.err, auth.ErrNoCredentials):
		s.mu.Lock()
		s.timer = time.AfterFunc(s.g.opts.AuthTimeout, func() { s.close(closeUnauthenticated, "no auth message came in time") })
		s.mu.Unlock()
	default:
		s.reject(a.err)
	}
}
