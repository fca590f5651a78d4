package stream

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// A Session is one connection of a client, over whatever transport. The transport calls
// Begin once it can take frames, End when it carries none any more, and Leave when its
// connection is gone. Between the two a client's
// requests come one at a time; Sent and Fail may come at any moment.
type Session struct {
	hub       *Hub
	transport transport.Transport
	id        string

	shorter chan struct{} // holds one: the queue has become shorter
	gone    chan struct{} // closed when the transport has failed
	leave   sync.Once

	mu        sync.Mutex
	begun     bool
	principal *auth.Principal // nil until it is known
	use       *access.Use     // with principal
	subs      map[string]*subscription

	// window holds the frames that have room: the transport has the first, and has the next
	// one once it has said that the first was sent.
	window        []transport.Frame
	frames, bytes int               // in the window
	queue         []transport.Frame // wait for room there

	behind   []*subscription
	catching bool // one of them is in a flight
	resting  bool // with the hub, until it may try again
	closing  bool // nothing may follow what is in the window
	closed   bool
	why      transport.Reason // with closing
	words    string           // likewise, for people
}

// backlog is how many frames may wait in a session's queue before its client is no longer
// read from.
const backlog = 32

func newSession(h *Hub, t transport.Transport) *Session {
	return &Session{hub: h, transport: t, id: rand.Text()[:16], shorter: make(chan struct{}, 1), gone: make(chan struct{})}
}

// Begin says that the transport takes frames. It reports whether the session continues: a gateway that
// stops says goodbye at once.
func (s *Session) Begin() bool {
	s.mu.Lock()
	s.begun = true
	s.mu.Unlock()
	if s.hub.draining() { // its goodbye may have come before
		s.goodbye()
		return false
	}
	return true
}

// Principal is whose session it is; nil until it is known.
func (s *Session) Principal() *auth.Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.principal
}

// Admit lets a principal in, within the bound of its connections.
func (s *Session) Admit(p *auth.Principal) {
	use, err := s.hub.opts.Uses.Enter(p, access.Socket, s.hub.opts.Connections, s.cut)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.reject(err)
		return
	}
	s.principal, s.use = p, use
	s.welcome()
}

// Renew gives the session new credentials of its principal, and checks all subscriptions again. It ends
// those that the new credentials do not grant, and sends nothing more of them except a frame that the
// transport already has.
func (s *Session) Renew(p *auth.Principal) {
	s.mu.Lock()
	switch {
	case s.closing || s.closed:
		s.mu.Unlock()
		return
	case s.principal.Subject != p.Subject:
		s.shut(transport.Unauthenticated, "the token is another user's", transport.Frame{})
		s.mu.Unlock()
		return
	}
	if err := s.use.Renew(p); err != nil {
		s.mu.Unlock()
		s.cut(err)
		return
	}
	s.principal = p
	ended := s.withdraw()
	s.welcome()
	for _, sub := range ended {
		s.refuse(sub.sid, sub.to, codeForbidden, forbidden)
	}
	s.advance()
	s.mu.Unlock()
	for _, sub := range ended {
		s.hub.unfollow(sub)
	}
}

// withdraw ends the subscriptions that the principal may not read, and takes back the frames of their
// topics that the transport does not have. The caller then calls the hub's unfollow, without the lock.
func (s *Session) withdraw() []*subscription {
	var ended []*subscription
	for _, sub := range s.subs {
		if !s.principal.May(auth.Read, sub.topic.name) {
			s.drop(sub)
			ended = append(ended, sub)
		}
	}
	s.takeBack(func(f transport.Frame) bool { return f.Topic != "" && !s.principal.May(auth.Read, f.Topic) })
	return ended
}

// takeBack drops frames that the transport does not have.
func (s *Session) takeBack(withheld func(transport.Frame) bool) {
	if len(s.window) > 1 {
		for _, f := range s.window[1:] {
			if withheld(f) {
				s.frames--
				s.bytes -= len(f.Text)
			}
		}
		rest := slices.DeleteFunc(s.window[1:], withheld)
		s.window = s.window[:1+len(rest)]
	}
	s.queue = slices.DeleteFunc(s.queue, withheld)
}

func (s *Session) welcome() {
	s.send(transport.Frame{
		Text:  welcomeFrame(s.id, opaque(s.principal.Subject), s.hub.opts.PingInterval, s.principal.Expires),
		Retry: s.hub.reconnectAfter(), // a client of a gateway that is killed hears no goodbye
	})
}

// opaque is a name of the principal for its client, which compares it with the one before.
func opaque(subject string) string {
	sum := sha256.Sum256([]byte("principal " + subject))
	return hex.EncodeToString(sum[:8])
}

// cutTime is how long a client may take for the frame that the transport has when its credentials end.
const cutTime = 500 * time.Millisecond

// cut ends the session with its principal's credentials. What the transport does not have is not sent.
func (s *Session) cut(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.takeBack(func(transport.Frame) bool { return true })
	s.reject(why)
	time.AfterFunc(cutTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.window) > 0 { // the transport still has it
			s.transport.Abort()
		}
	})
}

// Reject ends a session for want of credentials. Its error is one of package auth's, or of access.Uses.
func (s *Session) Reject(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reject(err)
}

func (s *Session) reject(err error) {
	switch {
	case errors.Is(err, access.ErrCrowded):
		s.shut(transport.TooMany, "too many connections", goodbyeFrame("too_many_connections", s.hub.reconnectAfter()))
	case errors.Is(err, auth.ErrDisabled):
		s.shut(transport.Kicked, "you may not connect", transport.Frame{})
	case errors.Is(err, access.ErrExpired):
		s.shut(transport.Unauthenticated, "the credentials have expired", transport.Frame{})
	case errors.Is(err, auth.ErrRejected), errors.Is(err, auth.ErrNoCredentials):
		s.shut(transport.Unauthenticated, "the credentials are not valid, or no longer", transport.Frame{})
	default:
		s.shut(transport.Restart, "the credentials cannot be checked at the moment", goodbyeFrame("unavailable", s.hub.reconnectAfter()))
	}
}

// Pong answers a ping of the client's.
func (s *Session) Pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(transport.Frame{Text: pongFrame})
}

// refuse answers with an error; sid and to are "" where it is about the connection.
func (s *Session) refuse(sid, to, code, message string) {
	s.hub.metrics.refusals.WithLabelValues(code).Inc()
	if code != codeNotFound {
		s.transport.Refused(code, message)
	}
	s.send(transport.Frame{Text: errorFrame(to, code, message), Sid: sid})
}

// drop ends a subscription. The caller then calls the hub's unfollow, without the lock: the hub's lock
// comes before the session's.
func (s *Session) drop(sub *subscription) {
	sub.over = true
	delete(s.subs, sub.sid)
}

// Closing reports whether the session is ending. The transport then ignores its client's messages.
func (s *Session) Closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.closed
}

// Close ends the session with a reason, after what is in the window. text is for people.
func (s *Session) Close(reason transport.Reason, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut(reason, text, transport.Frame{})
}

// SendAway is Close with a goodbye that says when to come back.
func (s *Session) SendAway(reason transport.Reason, text, goodbye string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut(reason, text, goodbyeFrame(goodbye, s.hub.reconnectAfter()))
}

// goodbye ends a session that may come back.
func (s *Session) goodbye() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		s.shut(transport.Restart, "the gateway is stopping", goodbyeFrame("draining", s.hub.reconnectAfter()))
	}
}

// shut is Close under the lock, with a last frame; without Text: none.
func (s *Session) shut(reason transport.Reason, text string, last transport.Frame) {
	if s.closing || s.closed {
		return
	}
	s.hub.metrics.closes.WithLabelValues(closeLabel(reason)).Inc()
	s.closing, s.why, s.words = true, reason, text
	s.queue, s.behind = nil, nil
	if last.Text != nil {
		s.put(last)
	}
	if len(s.window) == 0 {
		s.transport.Close(reason, text)
	}
	s.unblock()
}

// Fail says that the transport takes no more frames.
func (s *Session) Fail() { s.leave.Do(func() { close(s.gone) }) }

// End releases everything, when the transport carries nothing any more.
func (s *Session) End() {
	s.Fail()
	s.mu.Lock()
	s.closed = true
	s.window, s.queue, s.behind = nil, nil, nil
	subs := s.subs
	s.subs = nil
	for _, sub := range subs {
		sub.over = true
	}
	s.mu.Unlock()
	for _, sub := range subs {
		s.hub.unfollow(sub)
	}
}

// Leave ends the session's counting among the hub's and its principal's, after End.
func (s *Session) Leave() {
	s.mu.Lock()
	use := s.use
	s.mu.Unlock()
	if use != nil {
		use.Leave()
	}
	s.hub.exit(s)
}
