// Package ws carries sessions over WebSockets. Melody speaks the protocol; the connection
// under it, the handshake's checks, the messages of clients and the close codes are here.
package ws

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/olahol/melody"

	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// subprotocol is the version of the protocol.
const subprotocol = "tidemark.v1"

// socketKey is where Melody's session keeps ours.
const socketKey = "tidemark"

func socketOf(m *melody.Session) *socket {
	// Not by Get, which takes a lock: nothing is set after the session has begun.
	s, _ := m.Keys[socketKey].(*socket)
	return s
}

// Options say what a socket may cost, and who its session is made by. All fields are
// required.
type Options struct {
	// Open makes the session of a socket; nil: the gateway takes none.
	Open func(transport.Transport) Session
	Gate *access.Gate

	MessageBytes      int // of a message of a client
	MessagesPerSecond int // frames of a client, over time
	MessageBurst      int // and at once
	SendBufferBytes   int // of the kernel

	PingInterval time.Duration
	PongTimeout  time.Duration
	StallTimeout time.Duration // how long a socket may take nothing; it may have a sixteenth more
	AuthTimeout  time.Duration

	Problems *problem.Writer
	Refusals *problem.Refusals
	Logger   *slog.Logger
}

// A Server turns requests into sockets.
type Server struct {
	opts   Options
	melody *melody.Melody
}

// outgoing is how many frames may be inside Melody: the one that the session has written,
// and the close frame, which must not find its buffer full.
const outgoing = 2

// New sets Melody up: it carries frames, and is never asked to find sessions.
func New(o Options) *Server {
	s := &Server{opts: o, melody: melody.New()}
	m := s.melody
	m.Config = &melody.Config{
		WriteWait:         o.StallTimeout,
		PingPeriod:        o.PingInterval,
		PongWait:          o.PingInterval + o.PongTimeout,
		MaxMessageSize:    int64(o.MessageBytes),
		MessageBufferSize: outgoing,
	}
	m.Upgrader = &websocket.Upgrader{
		ReadBufferSize:   512,
		WriteBufferSize:  4 << 10,
		WriteBufferPool:  &sync.Pool{},
		HandshakeTimeout: 10 * time.Second,
		Subprotocols:     []string{subprotocol},
		CheckOrigin:      func(*http.Request) bool { return true }, // the site's check came first
	}
	m.HandleConnect(func(m *melody.Session) { s.guarded(m, func(k *socket) { k.begin(m) }) })
	m.HandleMessage(func(m *melody.Session, text []byte) { s.guarded(m, func(k *socket) { k.hear(text) }) })
	m.HandleMessageBinary(func(m *melody.Session, _ []byte) {
		s.guarded(m, func(k *socket) { k.session.Close(closeBinary, "messages are text") })
	})
	m.HandleSentMessage(func(m *melody.Session, _ []byte) { socketOf(m).session.Sent() })
	m.HandleError(func(m *melody.Session, err error) {
		// Called from Write too, under the session's lock, when it is ending.
		if errors.Is(err, melody.ErrMessageBufferFull) {
			return
		}
		k := socketOf(m)
		k.session.Fail()
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			// The client takes or answers nothing, so the kernel need not try any longer.
			k.Abort()
		}
	})
	return s
}

// Stop has Melody refuse what may still come. All sessions have ended by then.
func (s *Server) Stop() { _ = s.melody.Close() } // nothing is left in it that could fail to close

// guarded recovers a panic, which would otherwise end Melody's reader and leave the session without
// one.
func (s *Server) guarded(m *melody.Session, do func(*socket)) {
	k := socketOf(m)
	defer func() {
		if p := recover(); p != nil {
			s.opts.Logger.Error("panic while handling a message", "panic", p, "stack", string(debug.Stack()))
			// Not by the session's lock, which may be held.
			k.Close(transport.Internal, "internal error")
		}
	}()
	do(k)
}

// ServeHTTP answers GET /v1/ws. A browser's page cannot tell a refusal before the upgrade from a network
// that is down, and tries for ever. So the server refuses after the upgrade whatever it can.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		s.opts.Problems.Write(w, http.StatusUpgradeRequired, "upgrade_required", "this address speaks WebSocket, subprotocol "+subprotocol)
		return
	}
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) {
		s.opts.Problems.Write(w, http.StatusBadRequest, "handshake", "a WebSocket begins with GET over HTTP/1.1")
		return
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	if err != nil || len(key) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) != 1 || r.Header.Get("Sec-WebSocket-Version") != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		s.opts.Problems.Write(w, http.StatusBadRequest, "handshake", "want Sec-WebSocket-Version 13 and one Sec-WebSocket-Key of 16 bytes")
		return
	}
	// A list of values may come in several lines, which the library does not look at.
	if offered := r.Header.Values("Sec-WebSocket-Protocol"); len(offered) > 1 {
		r.Header.Set("Sec-WebSocket-Protocol", strings.Join(offered, ", "))
	}
	k := &socket{
		server: s, origin: problem.ClientOf(r).Origin,
		rate: bucket{perSecond: float64(s.opts.MessagesPerSecond), burst: float64(s.opts.MessageBurst), left: float64(s.opts.MessageBurst)},
	}
	k.arrival.versed = slices.Contains(websocket.Subprotocols(r), subprotocol)
	k.arrival.principal, k.arrival.err = s.opts.Gate.Request(r)
	if k.session = s.opts.Open(k); k.session == nil {
		w.Header().Set("Retry-After", "2")
		s.opts.Problems.Write(w, http.StatusServiceUnavailable, "draining", "this gateway is stopping: try again")
		return
	}
	raw, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		k.session.Leave()
		s.opts.Problems.Write(w, http.StatusBadRequest, "handshake", "WebSocket needs HTTP/1.1")
		return
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(s.opts.SendBufferBytes) // a hint: the window bounds the rest
	}
	c := &conn{Conn: raw, over: make(chan struct{}), arrived: k.arrived, slack: s.opts.StallTimeout / 16}
	k.conn.Store(c)
	// Only what the handshake reads: the request and its headers need not stay in
	// memory as long as the socket.
	slim := &http.Request{Method: http.MethodGet, Header: http.Header{}}
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Version", "Sec-Websocket-Key", "Sec-Websocket-Protocol"} {
		slim.Header[name] = r.Header[name]
	}
	go s.serve(c, &hijacked{c, in.Reader}, slim, k)
}

// serve owns a socket until it is gone.
func (s *Server) serve(c *conn, w *hijacked, r *http.Request, k *socket) {
	defer k.session.Leave()
	defer c.finish()
	if err := s.melody.HandleRequestWithKeys(w, r, map[string]any{socketKey: k}); err != nil {
		s.opts.Logger.Debug("WebSocket handshake failed", "error", err)
	}
	k.end()
}
