package gateway

import (
	"net/http"
)

// healthz says that the process answers. It asks nobody else: a gateway whose Redis is
// away must not be restarted for it.
func (g *Gateway) healthz(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "ok")
}

// readyz says whether clients should be sent here.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	now := g.phase
	g.mu.Unlock()
	switch {
	case now != running:
		plain(w, http.StatusServiceUnavailable, "not serving")
	case g.opts.Engine.Redis().Ping(r.Context()).Err() != nil:
		plain(w, http.StatusServiceUnavailable, "Redis does not answer")
	default:
		plain(w, http.StatusOK, "ready")
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// Nobody is left to tell when the client has gone.
	_, _ = w.Write([]byte(text + "\n"))
}
