package ws

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/olahol/melody"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// A Session is what a socket needs of the session that it carries. Requests come one at a
// time, from the socket's reader; Sent and Fail may come at any moment.
type Session interface {
	// Begin says that frames are taken; false: the session is sent away.
	Begin() bool
	// Sent says that the frame which Write took has left.
	Sent()
	// Fail says that nothing is taken any more. End comes once nothing is read either, and
	// Leave when the connection is gone.
	Fail()
	End()
	Leave()

	// Principal is nil until Admit. Renew is Admit's for all further credentials.
	Principal() *auth.Principal
	Admit(*auth.Principal)
	Renew(*auth.Principal)
	// Reject ends the session for want of credentials, by an error of package auth.
	Reject(error)

	Subscribe(wire.Message)
	Unsubscribe(sid string)
	Pong()
	// Throttle waits while the client leaves too much untaken.
	Throttle()

	Closing() bool
	Close(reason transport.Reason, text string)
	SendAway(reason transport.Reason, text, goodbye string)
}

// A socket is one WebSocket: the transport of its session.
type socket struct {
	server  *Server
	origin  string
	session Session
	arrival arrival // read when it begins
	conn    atomic.Pointer[conn]
	melody  *melody.Session // set before the session begins

	// Of the reader alone.
	rate     bucket
	incoming frameCounter

	patience *time.Timer // ends a socket that sends no auth message; set before the first message
}

// arrival is what the request said of a socket before it was one.
type arrival struct {
	versed    bool // in the subprotocol
	principal *auth.Principal
	err       error
}

// Write implements transport.Transport.
func (s *socket) Write(f transport.Frame) error { return s.melody.Write(f.Text) }

// Close implements transport.Transport.
func (s *socket) Close(reason transport.Reason, text string) {
	if why := refusals[reason]; why != "" {
		s.server.opts.Refusals.Log(s.client(), int(reason), why, text)
	}
	// An error says that it is ending already.
	_ = s.melody.CloseWithMsg(melody.FormatCloseMessage(int(reason), text))
}

// Refused implements transport.Transport.
func (s *socket) Refused(code, text string) {
	s.server.opts.Refusals.Log(s.client(), 0, code, text)
}

// client is who is behind the socket, for the log.
func (s *socket) client() problem.Client {
	c := problem.Client{Method: http.MethodGet, Path: "/v1/ws", Origin: s.origin}
	if conn := s.conn.Load(); conn != nil {
		c.Remote = conn.RemoteAddr().String()
	}
	return c
}

// Abort implements transport.Transport.
func (s *socket) Abort() {
	if c := s.conn.Load(); c != nil {
		c.abort()
	}
}

// begin is the socket's first moment.
func (s *socket) begin(m *melody.Session) {
	s.melody = m
	m.Request = nil
	a := s.arrival
	s.arrival = arrival{}
	if !s.session.Begin() {
		return
	}
	switch {
	case !a.versed:
		s.session.Close(transport.Protocol, "offer the subprotocol "+subprotocol)
	case a.err == nil:
		s.session.Admit(a.principal)
	case errors.Is(a.err, auth.ErrNoCredentials):
		s.patience = time.AfterFunc(s.server.opts.AuthTimeout, func() {
			s.session.Close(transport.Unauthenticated, "no auth message came in time")
		})
	default:
		s.session.Reject(a.err)
	}
}

// end releases what the socket needed while it was read from and written to.
func (s *socket) end() {
	if s.patience != nil {
		s.patience.Stop()
	}
	s.session.End()
}
