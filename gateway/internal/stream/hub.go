package stream

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
)

// Timing of the hub.
const (
	// retryDelay is how long a session waits for a Redis that did not answer, or
	// whose stream does not hold yet what its log does.
	retryDelay = 300 * time.Millisecond
	// hubTick is how often the hub looks for what waits for its time.
	hubTick = 50 * time.Millisecond
	// lingerTime is how long the hub listens on for a topic that nobody follows any more: who polls, and who
	// reconnects, follows it again soon.
	lingerTime = 30 * time.Second
)

// maxLingering bounds the topics that linger.
const maxLingering = 1000

// Options say what a Hub reads from, and what its sessions may hold. All fields are
// required.
type Options struct {
	Engine *engine.Engine

	Connections   int // that one principal may have open
	Subscriptions int // that one session may have

	// WindowFrames and WindowBytes bound what waits in memory for one session's transport.
	WindowFrames int
	WindowBytes  int

	PingInterval    time.Duration // that welcome frames name
	FilterLag       time.Duration // how far behind a filtered subscription's cursor may be
	CatchUps        int           // pages and snapshots that are read at a time
	ReconnectSpread time.Duration // over which clients come back after a goodbye

	Uses *access.Uses
	// Failed gets the errors of reads. It may be called concurrently, and must not block.
	Failed   func(error)
	Registry *prometheus.Registry
	Logger   *slog.Logger
}

// A Hub holds the sessions and the topics that they follow. It owns the goroutines that serve them,
// whose number depends on neither.
type Hub struct {
	opts     Options
	engine   *engine.Engine
	records  *stream.Stream
	metrics  *metrics
	sessions sessions

	mu        sync.Mutex
	topics    map[engine.Topic]*topic
	lingering int // of topics, that nobody follows

	inboxes  *ready[*topic] // have something to hand out
	catchUps *flights       // for subscriptions that are behind, of sessions that have room
	pages    pages          // of snapshots, that others may be given

	laggards shelf[*subscription] // their clients' cursors are to be moved
	retries  shelf[*Session]      // are to catch up again
	lingers  shelf[lingering]     // may have been followed again since

	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// New makes a hub. Its error is of metrics that are registered already.
func New(o Options) (*Hub, error) {
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, err
	}
	return &Hub{
		opts: o, engine: o.Engine, records: stream.Of(o.Engine), metrics: m, sessions: sessions{all: map[*Session]struct{}{}}, topics: map[engine.Topic]*topic{},
		inboxes: newReady[*topic](), catchUps: newFlights(), pages: pages{age: pageAge, held: map[need]*reading{}},
		laggards: shelf[*subscription]{delay: o.FilterLag}, retries: shelf[*Session]{delay: retryDelay}, lingers: shelf[lingering]{delay: lingerTime},
	}, nil
}

// Start takes sessions from now on, and starts the workers. As many of them hand records out as the
// process has CPUs.
func (h *Hub) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	for range runtime.GOMAXPROCS(0) {
		h.workers.Go(func() {
			for t, ok := h.inboxes.take(); ok; t, ok = h.inboxes.take() {
				t.handOut()
			}
		})
	}
	for range h.opts.CatchUps {
		h.workers.Go(func() {
			for f, ok := h.catchUps.take(); ok; f, ok = h.catchUps.take() {
				h.fly(ctx, f)
			}
		})
	}
	h.workers.Go(func() { h.tick(ctx) })
	h.sessions.mu.Lock()
	h.sessions.opens = true
	h.sessions.mu.Unlock()
}

// Stop ends the workers, when all sessions have ended.
func (h *Hub) Stop() {
	h.cancel()
	h.inboxes.close()
	h.catchUps.close()
	h.workers.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		h.forget(t)
	}
}

func (h *Hub) tick(ctx context.Context) {
	ticker := time.NewTicker(hubTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, sub := range h.laggards.due(now) {
				sub.change(sub.moveCursor)
			}
			for _, s := range h.retries.due(now) {
				s.retry()
			}
			for _, l := range h.lingers.due(now) {
				h.lapse(l)
			}
			h.pages.expire(now)
		}
	}
}

// follow adds sub to its topic. From then on sub gets every record that Redis commits, or a doubt
// whether it has missed one.
func (h *Hub) follow(sub *subscription, name engine.Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[name]
	if t == nil {
		t = &topic{name: name, hub: h}
		t.stop = h.records.Listen(name, t)
		h.topics[name] = t
		h.lingering++
	}
	sub.topic = t
	if t.add(sub) == 1 {
		h.lingering--
		h.metrics.topics.Inc()
	}
	h.metrics.subscriptions.Inc()
}

// unfollow is called once for every follow.
func (h *Hub) unfollow(sub *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.metrics.subscriptions.Dec()
	t := sub.topic
	if t.remove(sub) > 0 {
		return
	}
	h.metrics.topics.Dec()
	h.lingering++
	t.left++
	if h.lingering > maxLingering {
		h.forget(t)
		return
	}
	h.lingers.put(lingering{t, t.left})
}

// lingering is a topic that nobody followed when its last subscription had left it for the nth time.
type lingering struct {
	topic *topic
	left  int
}

// lapse forgets a topic that nobody has followed since.
func (h *Hub) lapse(l lingering) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := l.topic; h.topics[t.name] == t && t.left == l.left && t.empty() {
		h.forget(t)
	}
}

// forget ends the listening for a topic that lingers. The caller holds h.mu.
func (h *Hub) forget(t *topic) {
	t.stop()
	delete(h.topics, t.name)
	h.lingering--
}
