package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// Codes of error frames. After codeUnavailable the subscription stands; after the
// others there is none.
const (
	codeInvalid     = "invalid"
	codeForbidden   = "forbidden"
	codeNotFound    = "not_found"
	codeSidInUse    = "sid_in_use"
	codeTooMany     = "too_many_subscriptions"
	codeUnavailable = "unavailable"
)

// maxSidBytes bounds the name that a client gives a subscription.
const maxSidBytes = 64

// A message is what a client may send; which fields count depends on its type.
type message struct {
	Type  string `json:"type"`
	Token string `json:"token"`
	Sid   string `json:"sid"`
	Topic string `json:"topic"`
	After string `json:"after"`
	Job   string `json:"job"`
	Limit int    `json:"limit"`
}

// hear takes a text message. It runs in the session's own reader, one message at a
// time.
func (s *session) hear(text []byte) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()

	var m message
	switch {
	case !utf8.Valid(text):
		s.close(closeInvalidUTF8, "a message is not UTF-8")
		return
	case len(bytes.TrimLeft(text, " \t\r\n")) == 0 || bytes.TrimLeft(text, " \t\r\n")[0] != '{':
		s.close(closeProtocol, "a message is not a JSON object")
		return
	}
	if err := json.Unmarshal(text, &m); err != nil {
		s.close(closeProtocol, "a message is not JSON, or a field has the wrong type")
		return
	}
	if m.Type == "auth" {
		s.authenticate(m.Token)
		return
	}
	if s.who() == nil {
		s.close(closeUnauthenticated, "the first message must be auth")
		return
	}
	switch m.Type {
	case "ping":
		s.mu.Lock()
		s.send(pongFrame)
		s.mu.Unlock()
	case "subscribe":
		s.subscribe(m)
	case "unsubscribe":
		s.unsubscribe(m.Sid)
	}
	s.throttle()
}

// arrived takes note of what comes in, in the session's own reader and before it is a
// message; false when no more is to be read.
func (s *session) arrived(p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, endless := s.incoming.count(p)
	now := time.Now()
	for range n {
		if !s.rate.take(now) {
			s.shut(closeRate, "too many frames", goodbyeFrame("rate", s.g.reconnectAfter()))
			return false
		}
	}
	if endless {
		s.shut(closeTooLong, "a message is too long", nil)
		return false
	}
	return true
}

func (s *session) who() *auth.Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.principal
}

func (s *session) subscribe(m message) {
	if m.Sid == "" || len(m.Sid) > maxSidBytes {
		s.close(closeProtocol, "subscribe needs a sid of 1 to 64 bytes")
		return
	}
	sub, code, text := s.open(m)
	if sub == nil {
		s.mu.Lock()
		s.refuse(addressed(m.Sid), code, text)
		s.mu.Unlock()
		return
	}
	s.hub.follow(sub, engine.Topic(m.Topic))
	sub.change(func() {})
}

// open makes the subscription that is asked for, or says why not.
func (s *session) open(m message) (sub *subscription, code, text string) {
	topic, err := engine.ParseTopic(m.Topic)
	if err != nil {
		return nil, codeInvalid, err.Error()
	}
	sub = &subscription{session: s, sid: m.Sid, to: addressed(m.Sid), job: engine.JobID(m.Job), due: engine.Fresh, limit: m.Limit}
	if m.After != "" {
		after, err := engine.ParseCursor(m.After)
		if err != nil {
			return nil, codeInvalid, err.Error()
		}
		sub.position, sub.told, sub.due = engine.At(after), after, ""
	}
	if m.Job != "" {
		if _, err := engine.ParseJobID(m.Job); err != nil {
			return nil, codeInvalid, err.Error()
		}
	}
	if _, err := engine.NewPaging("", m.Limit); err != nil {
		return nil, codeInvalid, err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.principal.May(auth.Read, topic):
		return nil, codeForbidden, "you may not read this topic"
	case s.subs[m.Sid] != nil:
		return nil, codeSidInUse, "this sid is in use: choose a new one for each subscription"
	case len(s.subs) >= s.g.opts.SubscriptionsPerConnection:
		return nil, codeTooMany, "this connection has as many subscriptions as it may have: end one first"
	}
	if s.subs == nil {
		s.subs = map[string]*subscription{}
	}
	s.subs[m.Sid] = sub
	return sub, "", ""
}

// unsubscribe ends a subscription. One that there is not may just have ended.
func (s *session) unsubscribe(sid string) {
	if sid == "" || len(sid) > maxSidBytes {
		s.close(closeProtocol, "unsubscribe needs a sid of 1 to 64 bytes")
		return
	}
	s.mu.Lock()
	sub := s.subs[sid]
	if sub != nil {
		s.drop(sub)
	}
	s.mu.Unlock()
	if sub != nil {
		s.hub.unfollow(sub)
	}
}

// authenticate takes an auth frame: the first, or a renewal.
func (s *session) authenticate(token string) {
	ctx, cancel := context.WithTimeout(context.Background(), s.g.opts.AuthTimeout)
	defer cancel()
	p, err := s.g.opts.Auth.Token(ctx, token)
	if err != nil {
		s.reject(err)
		return
	}
	if old := s.who(); old != nil {
		if old.Subject != p.Subject {
			s.close(closeUnauthenticated, "the token is another user's")
			return
		}
		s.mu.Lock()
		s.principal = p
		s.expire(p)
		s.mu.Unlock()
		s.welcome(p)
		return
	}
	s.admit(p)
}

// reject closes the session for want of credentials.
func (s *session) reject(err error) {
	switch {
	case errors.Is(err, auth.ErrDisabled):
		s.close(closeKicked, "you may not connect")
	case errors.Is(err, auth.ErrRejected), errors.Is(err, auth.ErrNoCredentials):
		s.close(closeUnauthenticated, "the credentials are not valid, or no longer")
	default:
		s.g.opts.Logger.Error("credentials cannot be checked", "error", err)
		s.mu.Lock()
		s.shut(closeRestart, "the credentials cannot be checked at the moment", goodbyeFrame("unavailable", s.g.reconnectAfter()))
		s.mu.Unlock()
	}
}

// admit lets a principal in, within its limit.
func (s *session) admit(p *auth.Principal) {
	if !s.g.count(p.Subject) {
		s.mu.Lock()
		s.shut(closeTooMany, "too many connections", goodbyeFrame("too_many_connections", s.g.reconnectAfter()))
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	s.principal = p
	s.expire(p)
	s.mu.Unlock()
	s.welcome(p)
}

func (s *session) welcome(p *auth.Principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(welcomeFrame(s.id, opaque(p.Subject), s.g.opts.PingInterval, p.Expires))
}

// expire ends the session with its credentials.
func (s *session) expire(p *auth.Principal) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if !p.Expires.IsZero() {
		s.timer = time.AfterFunc(time.Until(p.Expires), func() { s.close(closeUnauthenticated, "the credentials have expired") })
	}
}
