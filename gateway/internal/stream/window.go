package stream

import "github.com/tidemark-dev/tidemark/gateway/internal/transport"

// fits reports whether records of some size would go out now.
func (s *Session) fits(size int) bool {
	return len(s.queue) == 0 && s.frames < s.hub.opts.WindowFrames && s.bytes+size <= s.hub.opts.WindowBytes
}

// room is how many bytes of the window are free.
func (s *Session) room() int { return s.hub.opts.WindowBytes - s.bytes }

// send puts a frame into the window, or into the queue where that is full.
func (s *Session) send(f transport.Frame) {
	if s.closing || s.closed {
		return
	}
	if len(s.queue) > 0 || !s.admits(f) {
		s.queue = append(s.queue, f)
		return
	}
	s.put(f)
}

// admits lets one frame exceed the bytes, so that any goes out at all.
func (s *Session) admits(f transport.Frame) bool {
	o := &s.hub.opts
	return s.frames == 0 || (s.frames < o.WindowFrames && s.bytes+len(f.Text) <= o.WindowBytes)
}

// put puts a frame into the window, whatever its room.
func (s *Session) put(f transport.Frame) {
	s.frames++
	s.bytes += len(f.Text)
	s.window = append(s.window, f)
	if len(s.window) == 1 {
		s.write()
	}
}

// write gives the transport the first frame of the window.
func (s *Session) write() {
	f := s.window[0]
	s.hub.metrics.sentFrames.Inc()
	s.hub.metrics.sentBytes.Add(float64(len(f.Text)))
	// An error says that the session is ending, so nothing more has to be sent.
	_ = s.transport.Write(f)
}

// keptWindow is the most frames for which an empty window keeps its memory.
const keptWindow = 2

// Sent gives the room of the frame back that the transport had: it has left the process.
func (s *Session) Sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.frames--
	s.bytes -= len(s.window[0].Text)
	copy(s.window, s.window[1:])
	s.window[len(s.window)-1] = transport.Frame{}
	s.window = s.window[:len(s.window)-1]
	switch {
	case len(s.window) > 0:
		s.write()
	case s.closing:
		s.transport.Close(s.why, s.words)
	case cap(s.window) > keptWindow:
		s.window = nil
	}
	s.advance()
}

// advance moves frames from the queue to the window where there is room, and lets the transport and
// the subscriptions that are behind continue.
func (s *Session) advance() {
	if s.closing || s.closed {
		return
	}
	for len(s.queue) > 0 && s.admits(s.queue[0]) {
		s.put(s.queue[0])
		s.queue[0] = transport.Frame{}
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

// schedule has the hub read for a subscription that is behind, once half of the window is free, so that
// a page finds room.
func (s *Session) schedule() {
	o := &s.hub.opts
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
func (s *Session) rest() {
	if !s.resting {
		s.resting = true
		s.hub.retries.put(s)
	}
}

// retry is called when the session has rested.
func (s *Session) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resting = false
	s.schedule()
}

// Throttle waits while too many answers to the client wait in the queue.
func (s *Session) Throttle() {
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

func (s *Session) unblock() {
	select {
	case s.shorter <- struct{}{}:
	default:
	}
}

// held is what the session holds in memory for its client: frames, and their bytes.
func (s *Session) held() (frames, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames, bytes = s.frames+len(s.queue), s.bytes
	for _, f := range s.queue {
		bytes += len(f.Text)
	}
	return frames, bytes
}
