package stream

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Frames that wait in the session's window and queue are taken back when its principal may
// not read their topic any more, and what is read for it is not given to it.
func TestRenewTakesFramesBack(t *testing.T) {
	e := stageEngine(t, redistest.Server(t).URL(), 5000)
	h := quietly(t, e, Options{WindowFrames: 4})
	for _, name := range []engine.Topic{"user:42", "team:7"} {
		h.topics[name] = &topic{name: name, hub: h, stop: func() {}}
		h.lingering++ // until it is followed
	}
	client := &memory{}
	s := client.open(t, h)
	defer client.hangUp()
	s.Subscribe(wire.Message{SID: "lost", Topic: "user:42"})
	s.Subscribe(wire.Message{SID: "kept", Topic: "team:7"})
	s.Subscribe(wire.Message{SID: "left", Topic: "user:42"})
	s.Unsubscribe("left")
	reads, ok := h.catchUps.take() // of lost: it is given its snapshot once it has ended
	if !ok || reads.subs[0].sid != "lost" {
		t.Fatal("nothing is read for the first subscription")
	}
	s.mu.Lock()
	for i := range 8 { // twice the window
		name, sid := engine.Topic("user:42"), "lost"
		switch {
		case i%2 == 1:
			name, sid = "team:7", "kept"
		case i%4 == 2:
			sid = "left"
		}
		s.send(transport.Frame{Text: fmt.Appendf(nil, `{"type":"%s %d"}`, sid, i), Sid: sid, Topic: name})
	}
	waiting := len(s.queue)
	s.mu.Unlock()
	if waiting != 4 {
		t.Fatalf("%d frames wait for the window, want 4", waiting)
	}

	narrow := &auth.Principal{Subject: reader.Subject, Credential: "narrow", Grants: []auth.Grant{{Topics: "team:*", Rights: auth.Read}}}
	s.Renew(narrow)
	h.fly(t.Context(), reads)
	if frames, bytes := s.held(); len(h.topics)-h.lingering != 1 || h.topics["team:7"].empty() || h.opts.Uses.OfCredential("narrow", access.Socket) != 1 {
		t.Errorf("%d topics are followed, want team:7 alone; %d frames of %d bytes are held", len(h.topics)-h.lingering, frames, bytes)
	}
	var got []string
	for client.has {
		f := client.take(t)
		var m struct{ Type, Sid, Code string }
		if err := json.Unmarshal(f.Text, &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Type+m.Code+m.Sid)
	}
	// The first was with the transport already.
	want := []string{"lost 0", "kept 1", "kept 3", "kept 5", "kept 7", "welcome", "errorforbiddenlost"}
	if !slices.Equal(got, want) {
		t.Errorf("the client got %v, want %v", got, want)
	}
	if frames, bytes := s.held(); frames != 0 || bytes != 0 {
		t.Errorf("%d frames of %d bytes are held at the end", frames, bytes)
	}
}

// A renewal that is another user's ends the session.
func TestRenewIsOfTheSameSubject(t *testing.T) {
	h := quietly(t, nil, Options{})
	client := &memory{}
	s := client.open(t, h)
	s.Renew(&auth.Principal{Subject: "mallory", Admin: true})
	if client.reason != transport.Unauthenticated || s.Principal() != reader {
		t.Errorf("closed with %d, it is %s's", client.reason, s.Principal().Subject)
	}
	client.hangUp()
	if n := h.opts.Uses.OfSubject(reader.Subject, access.Socket); n != 0 || h.Sessions() != 0 {
		t.Errorf("%d sockets and %d sessions are left", n, h.Sessions())
	}
}

// What is in the window goes out before the session closes; what waits does not.
func TestCloseFollowsTheWindow(t *testing.T) {
	h := quietly(t, nil, Options{WindowFrames: 2})
	client := &memory{}
	s := client.open(t, h)
	defer client.hangUp()
	for range 3 {
		s.Pong()
	}
	s.SendAway(transport.Rate, "too many frames", "rate")
	s.Pong()
	s.Close(transport.Internal, "too late")
	var got []string
	for client.has {
		if client.reason != 0 {
			t.Errorf("closed with %d before %d frames were sent", client.reason, len(got))
		}
		var m struct{ Type, Reason string }
		if err := json.Unmarshal(client.take(t).Text, &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Type+m.Reason)
	}
	if want := []string{"pong", "pong", "goodbyerate"}; !slices.Equal(got, want) || client.reason != transport.Rate {
		t.Errorf("the client got %v and %d, want %v and %d", got, client.reason, want, transport.Rate)
	}
}
