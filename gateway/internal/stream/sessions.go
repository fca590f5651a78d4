package stream

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// sessions are all that a hub has.
type sessions struct {
	mu     sync.Mutex
	opens  bool // takes new ones
	drains bool
	all    map[*Session]struct{}
	ended  sync.WaitGroup

	count atomic.Int64
}

// Open makes a session over a transport, which the hub then waits for until its End; nil
// when the hub takes none.
func (h *Hub) Open(t transport.Transport) *Session {
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	if !h.sessions.opens {
		return nil
	}
	s := newSession(h, t)
	h.sessions.all[s] = struct{}{}
	h.sessions.ended.Add(1)
	h.sessions.count.Add(1)
	h.metrics.connections.Inc()
	return s
}

// exit is called once for each session that Open made.
func (h *Hub) exit(s *Session) {
	h.sessions.mu.Lock()
	delete(h.sessions.all, s)
	h.sessions.mu.Unlock()
	h.sessions.count.Add(-1)
	h.metrics.connections.Dec()
	h.sessions.ended.Done()
}

func (h *Hub) draining() bool {
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	return h.sessions.drains
}

// Drain takes no more sessions, and says goodbye to all.
func (h *Hub) Drain() {
	h.sessions.mu.Lock()
	h.sessions.opens, h.sessions.drains = false, true
	h.sessions.mu.Unlock()
	for _, s := range h.present() {
		s.goodbye()
	}
}

// Abort ends all sessions at once, and returns how many there were.
func (h *Hub) Abort() int {
	all := h.present()
	for _, s := range all {
		s.transport.Abort()
	}
	return len(all)
}

// Wait waits until all sessions have ended. Drain comes first.
func (h *Hub) Wait() { h.sessions.ended.Wait() }

// Sessions is how many there are.
func (h *Hub) Sessions() int { return int(h.sessions.count.Load()) }

// Held is what all sessions hold in memory for their clients: frames in windows and queues,
// and their bytes.
func (h *Hub) Held() (frames, bytes int) {
	for _, s := range h.present() {
		f, b := s.held()
		frames, bytes = frames+f, bytes+b
	}
	return frames, bytes
}

func (h *Hub) present() []*Session {
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	all := make([]*Session, 0, len(h.sessions.all))
	for s := range h.sessions.all {
		all = append(all, s)
	}
	return all
}

// reconnectAfter is the delay after which a client should come back after a goodbye. Each client gets
// its own, so that they do not all come at once.
func (h *Hub) reconnectAfter() time.Duration {
	spread := max(h.opts.ReconnectSpread, time.Duration(h.Sessions())*time.Millisecond)
	return spread/8 + rand.N(spread)
}
