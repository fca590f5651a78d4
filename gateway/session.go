package gateway

import (
	"sync"
	"time"

	"github.com/olahol/melody"

	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// A socket is what a session needs of Melody's.
type socket interface {
	Write(text []byte) error
	CloseWithMsg(text []byte) error
}

// A session is one WebSocket.
type session struct {
	g      *Gateway
	hub    *hub
	socket socket
	id     string
	// arrival is read when the session begins.
	arrival arrival

	shorter chan struct{} // holds one: the queue has become shorter
	gone    chan struct{} // closed when the socket has failed
	leave   sync.Once

	mu        sync.Mutex
	conn      *conn
	principal *auth.Principal // nil until it is known
	timer     *time.Timer     // ends a session that is not, or no longer, authenticated
	subs      map[string]*subscription
	rate      bucket
	incoming  frameCounter

	frames, bytes int      // inside Melody, not yet taken by the kernel
	queue         [][]byte // frames that wait for room there
	behind        []*subscription
	catching      bool // one of them is in a flight
	resting       bool // with the hub, until it may try again
	closing       bool // its close frame is on its way: nothing may follow
	closed        bool
}

// backlog is how many frames may wait in a session's queue before it is no longer
// read from.
const backlog = 32

// reserve is room in Melody's buffer beyond the window: for goodbye and the close
// frame, which must not find it full.
const reserve = 4

// fits reports whether records of some size would go out now.
func (s *session) fits(size int) bool {
	return len(s.queue) == 0 && s.frames < s.g.opts.WindowFrames && s.bytes+size <= s.g.opts.WindowBytes
}

// room is how many bytes of the window are free.
func (s *session) room() int { return s.g.opts.WindowBytes - s.bytes }

// send puts a frame into the window, or into the queue where that is full.
func (s *session) send(frame []byte) {
	if s.closing || s.closed {
		return
	}
	if len(s.queue) > 0 || !s.admits(frame) {
		s.queue = append(s.queue, frame)
		return
	}
	s.write(frame)
}

// admits lets one frame exceed the bytes, so that any goes out at all.
func (s *session) admits(frame []byte) bool {
	o := &s.g.opts
	return s.frames == 0 || (s.frames < o.WindowFrames && s.bytes+len(frame) <= o.WindowBytes)
}

func (s *session) write(frame []byte) {
	s.frames++
	s.bytes += len(frame)
	s.hub.metrics.sentFrames.Inc()
	s.hub.metrics.sentBytes.Add(float64(len(frame)))
	// An error says that the session is ending: it needs nothing any more.
	_ = s.socket.Write(frame)
}

// sent gives a frame's room back: the kernel has taken it.
func (s *session) sent(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames--
	s.bytes -= len(frame)
	if s.closing || s.closed {
		return
	}
	for len(s.queue) > 0 && s.admits(s.queue[0]) {
		s.write(s.queue[0])
		s.queue[0] = nil
		s.queue = s.queue[1:]
	}
	if len(s.queue) == 0 {
		s.queue = nil
	}
	if len(s.queue) < backlog {
		s.unblock()
	}
	s.schedule()
}

// schedule has a subscription caught up if one is behind and half of the window is
// free, so that pages are worth their reading.
func (s *session) schedule() {
	o := &s.g.opts
	if len(s.behind) == 0 || s.catching || s.resting || s.closing || s.closed ||
		len(s.queue) > 0 || s.frames > o.WindowFrames/2 || s.bytes > o.WindowBytes/2 {
		return
	}
	if sub, n := s.next(); sub != nil {
		s.catching = true
		s.hub.catchUps.join(n, sub)
	}
}

// rest puts catching up off.
func (s *session) rest() {
	if !s.resting {
		s.resting = true
		s.hub.retries.put(s)
	}
}

// retry is called when the session has rested.
func (s *session) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resting = false
	s.schedule()
}

// throttle waits while the client leaves too much untaken for it to be asked for more.
func (s *session) throttle() {
	for {
		s.mu.Lock()
		ok := len(s.queue) < backlog || s.closing
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.shorter:
		case <-s.gone:
			return
		}
	}
}

// refuse answers with an error; to is "" where it is about the connection.
func (s *session) refuse(to, code, message string) {
	s.hub.metrics.refusals.WithLabelValues(code).Inc()
	s.send(errorFrame(to, code, message))
}

// drop ends a subscription. Whoever calls it tells the hub afterwards, whose lock
// comes before the session's.
func (s *session) drop(sub *subscription) {
	sub.over = true
	delete(s.subs, sub.sid)
}

// close ends the session with a code, after what is in the window.
func (s *session) close(code int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut(code, text, nil)
}

// shut is close under the lock, with a last frame.
func (s *session) shut(code int, text string, last []byte) {
	if s.closing || s.closed {
		return
	}
	s.hub.metrics.closes.WithLabelValues(closeLabel(code)).Inc()
	if last != nil {
		s.write(last)
	}
	s.closing, s.queue, s.behind = true, nil, nil
	// As in write: an error says that it is ending already.
	_ = s.socket.CloseWithMsg(melody.FormatCloseMessage(code, text))
	s.unblock()
}

// fail is called when the socket takes nothing any more.
func (s *session) fail() { s.leave.Do(func() { close(s.gone) }) }

func (s *session) unblock() {
	select {
	case s.shorter <- struct{}{}:
	default:
	}
}

// end releases everything, when the socket is gone.
func (s *session) end() {
	s.fail()
	s.mu.Lock()
	s.closed = true
	s.queue, s.behind = nil, nil
	subs := s.subs
	s.subs = nil
	if s.timer != nil {
		s.timer.Stop()
	}
	for _, sub := range subs {
		sub.over = true
	}
	s.mu.Unlock()
	for _, sub := range subs {
		s.hub.unfollow(sub)
	}
}
