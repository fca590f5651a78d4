package gateway

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// maxHeaderBytes bounds a request's header. The server has a bound of its own above it, at
// which it answers without a problem document.
const maxHeaderBytes = 32 << 10

// headed refuses a request with too long a header.
func (g *Gateway) headed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := len(r.Method) + len(r.RequestURI) + len(r.Host)
		for name, values := range r.Header {
			for _, value := range values {
				size += len(name) + len(": ") + len(value) + len("\r\n")
			}
		}
		if size > maxHeaderBytes {
			g.problems.Write(w, http.StatusRequestHeaderFieldsTooLarge, "header_too_large", "address and header may have at most "+strconv.Itoa(maxHeaderBytes)+" bytes")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// recovered answers a request whose handler panicked, and logs where.
func (g *Gateway) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w}
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				g.opts.Logger.Error("panic while answering a request", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				if s.status != 0 {
					panic(http.ErrAbortHandler) // the client is to see that its answer is not whole
				}
				g.problems.Write(s, http.StatusInternalServerError, "internal", "internal error")
			}
		}()
		next.ServeHTTP(s, r)
	})
}

// hastened bounds the connection's part in every request, refused ones and their unread
// bodies included. The server as a whole has no such bounds: uploads and artifacts move
// them for as long as bytes do, and a WebSocket takes the connection over.
func (g *Gateway) hastened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, until := http.NewResponseController(w), time.Now().Add(g.opts.RequestTimeout+time.Second)
		// Not every server of one's own supports them. To write there is a little longer,
		// for the answer to a body that has not come.
		_ = c.SetReadDeadline(until)
		_ = c.SetWriteDeadline(until.Add(time.Second))
		next.ServeHTTP(w, r)
	})
}

// guard refuses what is not addressed to this gateway, what another site's page
// sends, and tokens in URLs.
func (g *Gateway) guard(next http.Handler) (http.Handler, error) {
	site := g.opts.Site
	protection, err := site.Protect()
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if err := site.Check(r); err != nil {
			g.problems.Fail(w, r, err)
			return
		}
		if err := protection.Check(r); err != nil {
			g.problems.Write(w, http.StatusForbidden, "origin", "a page of another site may not change anything here")
			return
		}
		if err := auth.CheckQuery(r); err != nil {
			g.problems.Fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	}), nil
}

// answered gives the mux's own refusals the form of all others.
func (g *Gateway) answered(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		said := &saying{header: http.Header{}}
		h.ServeHTTP(said, r)
		if said.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", said.header.Get("Allow"))
			g.problems.Write(w, said.status, "method", r.Method+" is not allowed here; see Allow")
			return
		}
		g.problems.Write(w, http.StatusNotFound, "not_found", "there is nothing at this address")
	})
}

// saying takes in what a handler would answer.
type saying struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (s *saying) Header() http.Header         { return s.header }
func (s *saying) Write(b []byte) (int, error) { return s.body.Write(b) }
func (s *saying) WriteHeader(status int)      { s.status = status }

// timed bounds the work for a request in time.
func (g *Gateway) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), g.opts.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// authenticated hands a request on with its principal, who uses what the route is of as
// long as it takes.
func (g *Gateway) authenticated(route access.Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := g.gate.Request(r)
		if err == nil {
			err = g.uses.Serve(w, r, p, route)
		}
		if err != nil {
			g.problems.Fail(w, r, err)
		}
	})
}

func adminsOnly(next http.Handler) access.Handler {
	return func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
		if !p.Admin {
			return problem.ErrForbidden
		}
		next.ServeHTTP(w, r)
		return nil
	}
}

// counted counts answers by route.
func (g *Gateway) counted(pattern string, next http.Handler) http.Handler {
	_, route, _ := strings.Cut(pattern, " ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w}
		defer func() { // also where the answer breaks off
			g.metrics.requests.WithLabelValues(route, strconv.Itoa(cmp.Or(s.status, http.StatusOK))).Inc()
		}()
		next.ServeHTTP(s, r)
	})
}

// statusWriter remembers an answer's status, 0 before it has one.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(b []byte) (int, error) {
	s.status = cmp.Or(s.status, http.StatusOK)
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
