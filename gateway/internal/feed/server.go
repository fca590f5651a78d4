// Package feed carries sessions in the answers to HTTP requests: as server-sent events, which go on
// for as long as the client listens, and as long polls, which end once there is something new. Both
// give the frames of docs/protocol.md, with the topic as sid. A client says in its request what it
// subscribes to, and nothing after it.
package feed

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// A Session is what an answer needs of the session that it carries. One goroutine calls it.
type Session interface {
	Begin() bool
	Sent()
	Fail()
	End()
	Leave()
	Admit(*auth.Principal)
	Subscribe(wire.Message)
	Closing() bool
}

// Options say what an answer may cost, and who its session is made by. All fields are
// required.
type Options struct {
	// Open makes the session of an answer; nil: the gateway takes none.
	Open func(transport.Transport) Session
	Gate *access.Gate
	Uses *access.Uses

	Streams         int           // that one credential, or subject without one, may have at a time
	SendBufferBytes int           // of the kernel
	Heartbeat       time.Duration // between two comments
	StallTimeout    time.Duration // how long a client may take nothing
	RequestTimeout  time.Duration // beyond its wait, of a poll

	Problems *problem.Writer
	Refusals *problem.Refusals
}

// A Server answers with sessions.
type Server struct{ opts Options }

// New makes a Server.
func New(o Options) *Server { return &Server{opts: o} }

const (
	// busyRetry is when a client comes back that has as many streams as it may have, or whose
	// subscriptions were all refused.
	busyRetry = time.Minute
	// awayRetry is the least time after which one comes back that cannot be served at the moment.
	awayRetry = time.Second
)

// Events answers GET /v1/events with a stream of server-sent events, as
// https://html.spec.whatwg.org/multipage/server-sent-events.html has them. A browser's EventSource
// gives up for good at any status but 200, and comes back after any other end. So a refusal that will
// pass is a stream, too: of one goodbye.
func (s *Server) Events(w http.ResponseWriter, r *http.Request) {
	asked, err := parse(r, "")
	if err != nil {
		s.opts.Problems.Fail(w, r, err)
		return
	}
	p, err := s.admitted(r, asked)
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		s.sendAway(w, r, "unavailable", awayRetry+rand.N(awayRetry))
		return
	case err != nil:
		s.opts.Problems.Fail(w, r, err)
		return
	}
	if r.Method == http.MethodHead {
		eventHeader(w, r)
		return
	}
	use, err := s.opts.Uses.Enter(p, access.Stream, s.opts.Streams, nil) // the session's use ends with the credentials
	switch {
	case errors.Is(err, access.ErrCrowded):
		s.opts.Refusals.Log(problem.ClientOf(r), http.StatusOK, "too_many_streams", "too many streams and polls at a time")
		s.sendAway(w, r, "too_many_streams", busyRetry)
		return
	case errors.Is(err, auth.ErrUnavailable):
		s.sendAway(w, r, "unavailable", awayRetry+rand.N(awayRetry))
		return
	case err != nil:
		s.opts.Problems.Fail(w, r, err)
		return
	}
	defer use.Leave()
	st := s.stream(w, r, asked)
	if st.session = s.opts.Open(st); st.session == nil {
		s.sendAway(w, r, "draining", awayRetry+rand.N(awayRetry))
		return
	}
	eventHeader(w, r)
	narrow(r.Context(), s.opts.SendBufferBytes, s.opts.StallTimeout)
	st.run(r.Context(), p, &events{w: st.w, asked: asked, held: asked.cursors()})
}

// Poll answers GET /v1/topics/{topic}/records with a JSON array of frames.
func (s *Server) Poll(w http.ResponseWriter, r *http.Request) {
	asked, err := parse(r, r.PathValue("topic"))
	if err != nil {
		s.opts.Problems.Fail(w, r, err)
		return
	}
	p, err := s.admitted(r, asked)
	if err != nil {
		s.opts.Problems.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	use, err := s.opts.Uses.Enter(p, access.Stream, s.opts.Streams, nil)
	if errors.Is(err, access.ErrCrowded) {
		err = &problem.Refusal{
			Status: http.StatusTooManyRequests, Code: "too_many_streams", Detail: "you have as many streams and polls at a time as you may have", Retry: busyRetry,
		}
	}
	if err != nil {
		s.opts.Problems.Fail(w, r, err)
		return
	}
	defer use.Leave()
	st := s.stream(w, r, asked)
	if st.session = s.opts.Open(st); st.session == nil {
		s.opts.Problems.Refuse(w, &problem.Refusal{Status: http.StatusServiceUnavailable, Code: "draining", Detail: "this gateway is stopping: try again", Retry: 2 * awayRetry})
		return
	}
	st.run(r.Context(), p, newPoll(st.w, asked.wait, s.opts.RequestTimeout))
}

// admitted says who asks, if they may read all topics that they ask for. Of a topic that they may not
// read they do not learn whether it exists.
func (s *Server) admitted(r *http.Request, asked request) (*auth.Principal, error) {
	p, err := s.opts.Gate.Request(r)
	if err != nil {
		return nil, err
	}
	for _, sub := range asked.subscribes {
		if !p.May(auth.Read, sub.Topic) {
			return nil, problem.ErrForbidden
		}
	}
	return p, nil
}

// eventHeader says that events follow. The connection carries nothing behind them.
func eventHeader(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx passes each event on at once
	if r.ProtoMajor == 1 {           // over HTTP/2 it would end the connection of all others
		h.Set("Connection", "close")
	}
}

// sendAway answers with a goodbye alone.
func (s *Server) sendAway(w http.ResponseWriter, r *http.Request, reason string, retry time.Duration) {
	eventHeader(w, r)
	s.opts.Problems.Count(reason)
	if r.Method == http.MethodHead {
		return
	}
	e := events{w: w}
	// An error says that the client has gone.
	_ = e.frame(transport.Frame{Text: goodbye(reason, retry), Retry: retry})
}

// goodbye is the frame of docs/protocol.md; retry 0: there is no time to come back at.
func goodbye(reason string, retry time.Duration) []byte {
	b, _ := json.Marshal(struct { // strings and a number
		Type   string `json:"type"`
		Reason string `json:"reason"`
		Retry  int64  `json:"reconnect_after_ms,omitempty"`
	}{"goodbye", reason, retry.Milliseconds()})
	return b
}

// connKey is where a request's context has its connection.
type connKey struct{}

// WithConn is for http.Server.ConnContext. A feed bounds what the kernel holds for its client.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// narrow bounds what the kernel holds for a request's connection, where it is known, and how long it waits
// for a client that acknowledges nothing.
func narrow(ctx context.Context, size int, most time.Duration) {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	if over, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = over.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(size) // a hint: the window bounds the rest
		bound(tcp, most)
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
