package gateway

import "net/http"

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
	writes, err := g.ready(r.Context())
	g.redis.note(err)
	switch {
	case err != nil:
		plain(w, http.StatusServiceUnavailable, "Redis does not answer, or is a replica")
	case !writes:
		plain(w, http.StatusOK, "ready\nwrites: refused"+g.stored(r))
	default:
		plain(w, http.StatusOK, "ready"+g.stored(r))
	}
}

// stored is a line that says why the store of files does not answer; "" if it does. Another gateway
// has the same store, and progress does not need it: so it does not make a gateway unready either.
func (g *Gateway) stored(r *http.Request) string {
	if g.opts.BlobsReady == nil {
		return ""
	}
	if err := g.opts.BlobsReady(r.Context()); err != nil {
		return "\nstorage: " + err.Error()
	}
	return ""
}

func plain(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	w.WriteHeader(status)
	// An error says that the client has gone.
	_, _ = w.Write([]byte(text + "\n"))
}
