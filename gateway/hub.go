package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// Timing of the hub.
const (
	// retryDelay is how long a session waits for a Redis that did not answer, or
	// whose stream does not hold yet what its log does.
	retryDelay = 300 * time.Millisecond
	// hubTick is how often the hub looks for what waits for its time.
	hubTick = 50 * time.Millisecond
)

// hub knows who follows what, and owns the goroutines that serve them: their number
// depends on neither.
type hub struct {
	engine  *engine.Engine
	metrics *metrics

	mu     sync.Mutex
	topics map[engine.Topic]*topic

	inboxes  *ready[*topic] // have something to hand out
	catchUps *flights       // for subscriptions that are behind, of sessions that have room
	pages    pages          // of snapshots, that others may be given

	laggards shelf[*subscription] // their clients' cursors are to be moved
	retries  shelf[*session]      // are to catch up again

	cancel  context.CancelFunc
	workers sync.WaitGroup
}

func newHub(o Options, m *metrics) *hub {
	return &hub{
		engine: o.Engine, metrics: m, topics: map[engine.Topic]*topic{},
		inboxes: newReady[*topic](), catchUps: newFlights(), pages: pages{age: pageAge, held: map[need]*reading{}},
		laggards: shelf[*subscription]{delay: o.FilterLag}, retries: shelf[*session]{delay: retryDelay},
	}
}

// start sets the workers going.
func (h *hub) start(handers, catchUps int) {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	for range handers {
		h.workers.Go(func() {
			for t, ok := h.inboxes.take(); ok; t, ok = h.inboxes.take() {
				t.handOut()
			}
		})
	}
	for range catchUps {
		h.workers.Go(func() {
			for f, ok := h.catchUps.take(); ok; f, ok = h.catchUps.take() {
				h.fly(ctx, f)
			}
		})
	}
	h.workers.Go(func() { h.tick(ctx) })
}

// stop ends the workers, when all sessions have ended.
func (h *hub) stop() {
	h.cancel()
	h.inboxes.close()
	h.catchUps.close()
	h.workers.Wait()
}

func (h *hub) tick(ctx context.Context) {
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
			h.pages.expire(now)
		}
	}
}

// follow makes sub one of its topic's. From then on it hears everything that is
// committed, or that it may have missed something.
func (h *hub) follow(sub *subscription, name engine.Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[name]
	if t == nil {
		t = &topic{name: name, hub: h}
		t.stop = h.engine.Listen(name, t)
		h.topics[name] = t
		h.metrics.topics.Inc()
	}
	sub.topic = t
	t.add(sub)
	h.metrics.subscriptions.Inc()
}

// unfollow is called once for every follow.
func (h *hub) unfollow(sub *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.metrics.subscriptions.Dec()
	t := sub.topic
	if t.remove(sub) > 0 {
		return
	}
	t.stop()
	delete(h.topics, t.name)
	h.metrics.topics.Dec()
}
