package stream

import (
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// Codes of error frames. After codeUnavailable the subscription continues; the others end it, or say
// that there is none.
const (
	codeInvalid     = "invalid"
	codeForbidden   = "forbidden"
	codeNotFound    = "not_found"
	codeSidInUse    = "sid_in_use"
	codeTooMany     = "too_many_subscriptions"
	codeUnavailable = "unavailable"
)

// forbidden is the answer about a topic that a client may not read, whether or not it exists.
const forbidden = "you may not read this topic"

// Subscribe makes the subscription that the client asks for, or sends an error that says
// why not. m is the client's subscribe, unchecked but for its sid, which the transport bounds.
// The session has a principal by then.
func (s *Session) Subscribe(m wire.Message) {
	sub, code, text := s.open(m)
	if sub == nil {
		s.mu.Lock()
		s.refuse(m.SID, addressed(m.SID), code, text)
		s.mu.Unlock()
		return
	}
	s.hub.follow(sub, m.Topic)
	sub.change(func() {})
}

// open makes the subscription, or says why not.
func (s *Session) open(m wire.Message) (sub *subscription, code, text string) {
	topic, err := engine.ParseTopic(string(m.Topic))
	if err != nil {
		return nil, codeInvalid, err.Error()
	}
	sub = &subscription{session: s, sid: m.SID, to: addressed(m.SID), due: engine.Fresh, limit: m.Limit}
	if m.After != "" {
		after, err := engine.ParseCursor(string(m.After))
		if err != nil {
			return nil, codeInvalid, err.Error()
		}
		sub.position, sub.told, sub.due = stream.At(after), after, ""
	}
	if sub.filter, err = m.ReadFilter(); err != nil {
		return nil, codeInvalid, err.Error()
	}
	if _, err := stream.NewPaging("", m.Limit, sub.filter); err != nil {
		return nil, codeInvalid, err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.principal.May(auth.Read, topic):
		return nil, codeForbidden, forbidden
	case s.subs[m.SID] != nil:
		return nil, codeSidInUse, "this sid is in use: choose a new one for each subscription"
	case len(s.subs) >= s.hub.opts.Subscriptions:
		return nil, codeTooMany, "this connection has as many subscriptions as it may have: end one first"
	}
	if s.subs == nil {
		s.subs = map[string]*subscription{}
	}
	s.subs[m.SID] = sub
	return sub, "", ""
}

// Unsubscribe ends a subscription. It ignores a sid without one, which may just have ended.
func (s *Session) Unsubscribe(sid string) {
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
