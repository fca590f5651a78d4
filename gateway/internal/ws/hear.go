package ws

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// maxSidBytes bounds the name that a client gives a subscription.
const maxSidBytes = 64

// hear takes a text message. It runs in the socket's own reader, one message at a time.
func (s *socket) hear(text []byte) {
	if s.session.Closing() {
		return
	}
	var m wire.Message
	switch {
	case !utf8.Valid(text):
		s.session.Close(closeInvalidUTF8, "a message is not UTF-8")
		return
	case len(bytes.TrimLeft(text, " \t\r\n")) == 0 || bytes.TrimLeft(text, " \t\r\n")[0] != '{':
		s.session.Close(transport.Protocol, "a message is not a JSON object")
		return
	}
	if err := json.Unmarshal(text, &m); err != nil {
		s.session.Close(transport.Protocol, "a message is not JSON, or a field has the wrong type")
		return
	}
	if m.Type == "auth" {
		s.authenticate(m.Token)
		return
	}
	if s.session.Principal() == nil {
		s.session.Close(transport.Unauthenticated, "the first message must be auth")
		return
	}
	switch named := m.SID != "" && len(m.SID) <= maxSidBytes; {
	case m.Type == "ping":
		s.session.Pong()
	case m.Type != "subscribe" && m.Type != "unsubscribe":
	case !named:
		s.session.Close(transport.Protocol, m.Type+" needs a sid of 1 to 64 bytes")
	case m.Type == "subscribe":
		s.session.Subscribe(m)
	default:
		s.session.Unsubscribe(m.SID)
	}
	s.session.Throttle()
}

// arrived counts the frames of what the socket's reader has read, before it is a message. It returns
// false when the reader must stop.
func (s *socket) arrived(p []byte) bool {
	n, endless := s.incoming.count(p)
	now := time.Now()
	for range n {
		if !s.rate.take(now) {
			s.session.SendAway(transport.Rate, "too many frames", "rate")
			return false
		}
	}
	if endless {
		s.session.Close(closeTooLong, "a message is too long")
		return false
	}
	return true
}

// authenticate takes an auth message: the first, or a renewal.
func (s *socket) authenticate(token string) {
	if s.patience != nil {
		s.patience.Stop() // it came; the gate bounds the check
	}
	p, err := s.server.opts.Gate.Token(context.Background(), token) // the socket has no context, and the gate a bound
	switch {
	case err != nil:
		s.session.Reject(err)
	case s.session.Principal() != nil:
		s.session.Renew(p)
	default:
		s.session.Admit(p)
	}
}
