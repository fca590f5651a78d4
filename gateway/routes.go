package gateway

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/upload"
)

// A routes is a mux that knows its patterns.
type routes struct {
	*http.ServeMux
	patterns []string
}

func (m *routes) Handle(pattern string, h http.Handler) {
	m.ServeMux.Handle(pattern, h)
	m.patterns = append(m.patterns, pattern)
}

// routes puts the handler together. In front of everything but the probes stand the
// site's checks.
func (g *Gateway) routes() (http.Handler, error) {
	mux := &routes{ServeMux: http.NewServeMux()}
	add := func(r access.Route) {
		h := g.authenticated(r)
		if !r.Long {
			h = g.timed(h)
		}
		mux.Handle(r.Pattern, g.counted(r.Pattern, h))
	}
	for _, r := range g.api.Routes() {
		add(r)
	}
	add(access.Route{Pattern: "GET /metrics", Handler: adminsOnly(promhttp.HandlerFor(g.opts.Registry, promhttp.HandlerOpts{Registry: g.opts.Registry}))})
	mux.Handle("GET /v1/ws", g.sockets)
	for pattern, h := range map[string]http.HandlerFunc{"GET /v1/events": g.feeds.Events, "GET /v1/topics/{topic}/records": g.feeds.Poll} {
		mux.Handle(pattern, g.counted(pattern, h))
	}
	if g.uploads != nil {
		for _, r := range g.uploads.Routes() {
			add(r)
		}
		for _, pattern := range []string{"OPTIONS /v1/uploads", "OPTIONS " + upload.Path + "{id}"} {
			mux.Handle(pattern, g.counted(pattern, http.HandlerFunc(g.uploads.Discover)))
		}
	}
	page, err := newPage(g.opts.PageTopic, g.opts.PageUploads, g.opts.UploadBytes, g.problems)
	if err != nil {
		return nil, err
	}
	for _, pattern := range page.patterns() {
		mux.Handle(pattern, g.counted(pattern, g.timed(http.HandlerFunc(page.serve))))
	}
	admin, err := newAsynqUI(g.opts.Engine)
	if err != nil {
		return nil, err
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		add(access.Route{Pattern: method + " " + asynqPath + "/", Handler: admin.serve})
	}

	guarded, err := g.guard(g.answered(mux.ServeMux))
	if err != nil {
		return nil, err
	}
	outer := http.NewServeMux()
	outer.Handle("GET /healthz", g.timed(http.HandlerFunc(g.healthz)))
	outer.Handle("GET /readyz", g.timed(http.HandlerFunc(g.readyz)))
	// What has no such method is refused by the guarded mux as everything else is.
	mux.Handle("GET /healthz", http.NotFoundHandler())
	mux.Handle("GET /readyz", http.NotFoundHandler())
	outer.Handle("/", guarded)
	g.patterns = mux.patterns
	return g.lingered(g.refusals.Logged(g.recovered(g.hastened(g.headed(outer))))), nil
}
