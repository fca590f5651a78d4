package feed

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// A form is how frames become the body of an answer. It writes without flushing.
type form interface {
	// begin is what comes at once, and idle what comes when nothing has for a heartbeat.
	begin() error
	idle() error
	frame(f transport.Frame) error
	// over says when the answer ends by itself: at once, or at a time; zero: not yet.
	over() (done bool, at time.Time)
	// end is what comes last, with why the session has closed; 0: it has not.
	end(why transport.Reason) error
}

// A stream is an answer under way: the transport of its session. One goroutine writes it, and owns its
// deadlines.
type stream struct {
	server  *Server
	w       http.ResponseWriter
	control *http.ResponseController
	asked   request
	session Session
	client  problem.Client

	frames  chan transport.Frame // holds the one that the session has written
	closed  chan transport.Reason
	aborted chan struct{}

	mu      sync.Mutex // orders deadlines, so that none comes after Abort's
	aborts  bool
	refused int // subscriptions that have ended; of the writing goroutine
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, asked request) *stream {
	return &stream{
		server: s, w: w, control: http.NewResponseController(w), asked: asked, client: problem.ClientOf(r),
		frames: make(chan transport.Frame, 1), closed: make(chan transport.Reason, 1), aborted: make(chan struct{}),
	}
}

// Write implements transport.Transport. The channel has room: the session waits for Sent.
func (s *stream) Write(f transport.Frame) error {
	s.frames <- f
	return nil
}

// Close implements transport.Transport.
func (s *stream) Close(reason transport.Reason, text string) {
	if why := refusals[reason]; why != "" {
		s.server.opts.Refusals.Log(s.client, int(reason), why, text)
	}
	s.closed <- reason
}

// refusals names the reasons for which the gateway refuses a client, for the log.
var refusals = map[transport.Reason]string{
	transport.Unauthenticated: "unauthenticated", transport.Kicked: "forbidden", transport.TooMany: "too_many_connections",
}

// Refused implements transport.Transport.
func (s *stream) Refused(code, text string) {
	s.server.opts.Refusals.Log(s.client, 0, code, text)
}

// Abort implements transport.Transport.
func (s *stream) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborts {
		return
	}
	s.aborts = true
	close(s.aborted)
	// The client may take nothing while a frame is being written to it. An error says that the connection has
	// ended, or that a server of one's own has no deadlines.
	_ = s.control.SetWriteDeadline(time.Now())
	_ = s.control.SetReadDeadline(time.Now())
}

// run serves the answer until it ends.
func (s *stream) run(ctx context.Context, p *auth.Principal, as form) {
	defer s.session.Leave()
	defer s.session.End()
	// The server's bound of a request is not for this one. Where it has none, neither is needed.
	_ = s.control.SetReadDeadline(time.Time{})
	if err := s.write(as.begin); err != nil {
		s.lost()
	}
	if s.session.Begin() {
		s.session.Admit(p)
		for _, m := range s.asked.subscribes {
			if s.session.Closing() {
				break
			}
			s.session.Subscribe(m)
		}
	}
	if !s.carry(ctx, as) {
		s.lost()
	}
}

// carry writes frames until the answer is over. It reports false where the client is not to take it for
// whole.
func (s *stream) carry(ctx context.Context, as form) bool {
	beat := time.NewTicker(s.server.opts.Heartbeat)
	defer beat.Stop()
	for {
		done, at := as.over()
		if done || s.refused == len(s.asked.subscribes) {
			return s.write(func() error { return as.end(0) }) == nil
		}
		var due <-chan time.Time
		if !at.IsZero() {
			due = time.After(time.Until(at))
		}
		var err error
		select {
		case f := <-s.frames:
			if err = s.write(func() error { return as.frame(f) }); err == nil {
				if f.Sid != "" && f.Topic == "" {
					s.refused++
				}
				s.session.Sent()
				beat.Reset(s.server.opts.Heartbeat)
			}
		case why := <-s.closed:
			return s.write(func() error { return as.end(why) }) == nil
		case <-beat.C:
			err = s.write(as.idle)
		case <-due:
		case <-s.aborted:
			return false
		case <-ctx.Done():
			return false
		}
		if err != nil {
			return false
		}
	}
}

// lost ends the connection, so that what is written does not look like an answer that is whole.
func (s *stream) lost() {
	s.session.Fail()
	panic(http.ErrAbortHandler)
}

// write has the client take what do writes within the time that it may take nothing.
func (s *stream) write(do func() error) error {
	s.mu.Lock()
	if s.aborts {
		s.mu.Unlock()
		return http.ErrAbortHandler
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(s.server.opts.StallTimeout)) // not every server of one's own has them
	s.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.aborts {
		_ = s.control.SetWriteDeadline(time.Time{}) // over HTTP/2 it would end a stream that has nothing to write
	}
	return nil
}

// events writes frames as server-sent events.
type events struct {
	w     http.ResponseWriter
	asked request
	held  []wire.Cursor // by topic, as the client holds them
}

// The parts of an event. A comment keeps a connection that has nothing to carry.
var comment, eventEnd = []byte(":\n\n"), []byte("\n\n")

func (e *events) begin() error          { return e.put(comment) }
func (e *events) idle() error           { return e.put(comment) }
func (*events) over() (bool, time.Time) { return false, time.Time{} }
func (e *events) put(parts ...[]byte) error {
	for _, p := range parts {
		if _, err := e.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// frame writes an event. Its ID is all that the client holds after it, so that a browser resumes every
// topic of the stream with one header.
func (e *events) frame(f transport.Frame) error {
	var head bytes.Buffer
	if f.Retry > 0 {
		head.WriteString("retry: " + milliseconds(f.Retry) + "\n")
	}
	if i := e.asked.index(f.Sid); i >= 0 && f.Cursor != "" {
		e.held[i] = f.Cursor
	}
	if len(e.held) > 0 {
		head.WriteString("id: ")
		for i, c := range e.held {
			if i > 0 {
				head.WriteByte(',')
			}
			head.WriteString(string(c))
		}
		head.WriteByte('\n')
	}
	head.WriteString("data: ")
	return e.put(head.Bytes(), line(f.Text), eventEnd)
}

// line is a JSON text without line breaks, which end an event's data. They can only stand between two of
// its tokens.
func line(text []byte) []byte {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	return bytes.Map(func(c rune) rune {
		if c == '\n' || c == '\r' {
			return ' '
		}
		return c
	}, text)
}

// end says goodbye where the session has not. Where no subscription is left, a browser that comes back
// at once would get the same error.
func (e *events) end(why transport.Reason) error {
	if why == 0 {
		return e.put([]byte("retry: " + milliseconds(busyRetry) + "\n\n"))
	}
	if reason := unsaid[why]; reason != "" {
		return e.frame(transport.Frame{Text: goodbye(reason, 0)})
	}
	return nil
}

// unsaid are the ends before which a session sends no goodbye. A WebSocket has its close code for them.
var unsaid = map[transport.Reason]string{
	transport.Unauthenticated: "expired", transport.Kicked: "forbidden", transport.Internal: "internal",
}
