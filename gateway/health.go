package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// healthz says that the process answers. It asks no other server: a gateway whose Redis is
// away must not be restarted for it.
func (g *Gateway) healthz(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "ok")
}

// readyz says whether clients should be sent here. A Redis that takes no writes for want of
// memory, disk or replicas takes none through another gateway either, and reading works: so
// it does not make a gateway unready.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	now := g.phase
	g.mu.Unlock()
	if now != running {
		plain(w, http.StatusServiceUnavailable, "not serving")
		return
	}
	switch writes, err := g.storage.ready(r.Context(), g.opts.Engine); {
	case err != nil:
		plain(w, http.StatusServiceUnavailable, "Redis does not answer, or is a replica")
	case !writes:
		plain(w, http.StatusOK, "ready\nwrites: refused")
	default:
		plain(w, http.StatusOK, "ready")
	}
}

// A storage remembers for a moment whether Redis is ready, since anyone may ask, at any rate.
type storage struct {
	mu     sync.Mutex
	asked  time.Time
	writes bool
	err    error
}

// How long an answer about Redis is good for, and may take.
const (
	readinessAge     = time.Second
	readinessTimeout = 3 * time.Second
)

func (s *storage) ready(ctx context.Context, e *engine.Engine) (writes bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.asked) >= readinessAge {
		// For all who ask: a client that hangs up does not end it for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readinessTimeout)
		defer cancel()
		s.writes, s.err = stream.Of(e).Ready(ctx)
		s.asked = time.Now()
	}
	return s.writes, s.err
}

func plain(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	w.WriteHeader(status)
	// Nobody is left to tell when the client has gone.
	_, _ = w.Write([]byte(text + "\n"))
}
