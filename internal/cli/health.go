package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// healthTimeout bounds a request to the health server, and its shutdown.
const healthTimeout = 10 * time.Second

// A health answers probes of a worker's process, and shows its metrics.
type health struct {
	listener net.Listener
	registry *prometheus.Registry
	// working is set while the worker takes jobs.
	working atomic.Bool
	// refused returns the queues from which the worker takes nothing.
	refused func() []string
	// stored returns why the store of files does not answer.
	stored func(context.Context) error
	server *http.Server
	ended  chan error
}

// listenHealth takes the address of the health server; it answers once serve was called. The caller
// closes it.
func listenHealth(addr string) (*health, error) {
	l, err := listen(addr, "--health-addr", auth.Site{Public: true})
	if err != nil {
		return nil, err
	}
	h := &health{listener: l, registry: prometheus.NewRegistry(), ended: make(chan error, 1)}
	h.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return h, nil
}

// serve answers until close. It reports Redis's readiness as e's stream sees it, the queues from
// which the worker takes nothing, and why files cannot be read or written.
func (h *health) serve(e stream.Engine, refused func() []string, stored func(context.Context) error, log *slog.Logger) {
	h.refused, h.stored = refused, stored
	redis := stream.Of(e).Readiness()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !h.working.Load() {
			answer(w, http.StatusServiceUnavailable, "not taking jobs")
			return
		}
		switch writes, err := redis.Ready(r.Context()); {
		case err != nil:
			answer(w, http.StatusServiceUnavailable, "Redis does not answer, or is a replica")
		case !writes:
			answer(w, http.StatusOK, h.ready(r.Context())+"\nwrites: refused")
		default:
			answer(w, http.StatusOK, h.ready(r.Context()))
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{Registry: h.registry}))
	h.server = &http.Server{
		Handler: h.guarded(mux), ReadTimeout: healthTimeout, WriteTimeout: healthTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	log.Info("answering probes", "addr", h.listener.Addr())
	go func() { h.ended <- h.server.Serve(h.listener) }()
}

// ready is the answer of a worker that takes jobs, if not from all of its queues, and not those that
// read or write files while their store is away.
func (h *health) ready(ctx context.Context) string {
	text := "ready"
	if refused := h.refused(); len(refused) > 0 {
		text += "\nqueues with tasks of another program, from which nothing is taken: " + strings.Join(refused, ", ")
	}
	if err := h.stored(ctx); err != nil {
		text += "\nstorage: " + err.Error()
	}
	return text
}

// setWorking says whether the worker takes jobs. h may be nil.
func (h *health) setWorking(works bool) {
	if h != nil {
		h.working.Store(works)
	}
}

// guarded refuses requests of other sites' pages: on loopback, by the name that a page used as well.
func (h *health) guarded(next http.Handler) http.Handler {
	at, _ := h.listener.Addr().(*net.TCPAddr)
	site := auth.Site{Public: at == nil || !at.IP.IsLoopback()}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := site.Check(r); err != nil {
			answer(w, http.StatusForbidden, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// close ends the server, or the listener if it never served.
func (h *health) close() error {
	if h.server == nil {
		return h.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if served := <-h.ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("answer probes on %s: %w", h.listener.Addr(), served))
	}
	return err
}

func answer(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text) // an error says that the client has gone
}
