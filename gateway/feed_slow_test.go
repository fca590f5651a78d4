package gateway_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/gateway"
)

// A client that takes nothing costs a window, and is ended; its leaving is noticed.
func TestEventsOfAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) {
		o.StallTimeout, o.PingInterval, o.SendBufferBytes = 2*time.Second, 10*time.Millisecond, 4<<10
		o.RequestTimeout = 100 * time.Millisecond // is not for streams
	})
	p := start(t, e, topic)
	slow, quick := s.events(t, "/v1/events?topic=user:42", "", topic), s.events(t, "/v1/events?topic=user:42", "", topic)
	quick.until("it is live", func() bool { return quick.subs["user:42"].live })
	for range 3 {
		quick.comment()
	}
	if s.Sessions() != 2 {
		t.Fatalf("%d sessions, want 2", s.Sessions())
	}
	for s.Sessions() > 1 { // the slow one's buffers are full some time
		quick.untilCursor(topic, p.tick(20))
		if frames, bytes := s.Held(); frames > 2*16 || bytes > 2*(128<<10)+(64<<10) {
			t.Fatalf("%d frames of %d bytes are held", frames, bytes)
		}
	}
	for {
		if _, there := slow.next(); !there {
			break
		}
	}
	quick.untilCursor(topic, p.tick(1)) // it outlasts the bound of a request
	quick.body.Close()
	for s.Sessions() > 0 && soon(t).Err() == nil {
		p.tick(1)
	}
}

// jam writes ticks for a client that takes nothing, until its buffers are full and nothing moves. What the gateway then
// holds may be one long frame.
func (s *server) jam(p *pen) {
	for same, was := 0, 0; same < 50; {
		p.tick(60)
		frames, bytes := s.Held()
		if same++; frames == 0 || bytes != was {
			same, was = 0, bytes
		}
	}
}

// A gateway that stops does not wait for a client that takes nothing, whichever server has the connection.
func TestStopAbortsAStuckStream(t *testing.T) {
	t.Parallel()
	e := real(t)
	g, err := gateway.New(gateway.Options{
		Engine: e, Logger: quiet(), DrainTimeout: 200 * time.Millisecond, StallTimeout: 10 * time.Minute,
	})
	if err == nil {
		err = g.Start(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	own := httptest.NewServer(g.Handler())
	t.Cleanup(own.Close)
	s := &server{g, own.Listener.Addr().String()}
	p := start(t, e, topic)
	s.hold(t, "/v1/events?topic=user:42")
	s.jam(p)
	if err := s.Stop(soon(t)); !errors.Is(err, gateway.ErrAborted) {
		t.Errorf("stop: %v, want that a stream was aborted", err)
	}
}
