package problem

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/logline"
)

// Bounds of what Refusals logs and remembers.
const (
	refusalEvery = time.Minute // between two lines of one reason and origin
	maxNameBytes = 200         // of an origin, or of a path
)

// A Client is who sent what was refused. It has nothing of what the client sent as credentials or
// payload, nor the query.
type Client struct {
	Method, Path string
	// Origin is the header's, "" where the client is no page of another site.
	Origin string
	// Remote is the client's address, or the proxy's.
	Remote string
}

// ClientOf returns who sent r. It holds no part of r's header.
func ClientOf(r *http.Request) Client {
	name := func(s string) string { return strings.Clone(excerpt.Of(s, maxNameBytes)) }
	return Client{Method: name(r.Method), Path: name(r.URL.Path), Origin: name(r.Header.Get("Origin")), Remote: r.RemoteAddr}
}

// Refusals logs what the gateway refuses: at most one line a minute for each reason and origin. The
// next line says how many refusals had none. Its methods may be called concurrently.
type Refusals struct {
	log   *slog.Logger
	kinds *logline.Sampler[refusalKind]
}

type refusalKind struct{ reason, origin string }

// NewRefusals makes a Refusals.
func NewRefusals(log *slog.Logger) *Refusals {
	// A client may make origins up.
	others := func(k refusalKind) refusalKind { return refusalKind{k.reason, "others"} }
	return &Refusals{log, logline.NewSampler(refusalEvery, others)}
}

// Log logs a refusal. reason is a word that the gateway chose, detail its text for people. status is
// the answer's or the close frame's, 0 where the connection stays.
func (f *Refusals) Log(c Client, status int, reason, detail string) {
	suppressed, logs := f.kinds.Take(refusalKind{reason, c.Origin})
	if !logs {
		return
	}
	attrs := []slog.Attr{
		slog.String("reason", reason), slog.String("detail", detail),
		slog.String("method", c.Method), slog.String("path", c.Path), slog.String("remote", c.Remote),
	}
	if status != 0 {
		attrs = append(attrs, slog.Int("status", status))
	}
	if c.Origin != "" {
		attrs = append(attrs, slog.String("origin", c.Origin))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	f.log.LogAttrs(context.Background(), slog.LevelWarn, "refused", attrs...)
}

// Logged logs the refusals among next's problems.
func (f *Refusals) Logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &noted{ResponseWriter: w}
		defer func() {
			if refusal(n.status) {
				f.Log(ClientOf(r), n.status, n.code, n.detail)
			}
		}()
		next.ServeHTTP(n, r)
	})
}

// refusal reports whether an answer refuses what its client may expect to work. That a job is unknown
// or has ended is an answer like another.
func refusal(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusConflict:
		return false
	case http.StatusInsufficientStorage:
		return true
	}
	return status >= 400 && status < 500
}

// noted remembers the problem that a Writer answers with.
type noted struct {
	http.ResponseWriter
	status       int
	code, detail string
}

func (n *noted) note(status int, code, detail string) {
	n.status, n.code, n.detail = status, code, detail
}

// Unwrap lets http.ResponseController reach the connection.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// note tells the ResponseWriter of Logged, if w is around it, which problem w answers with.
func note(w http.ResponseWriter, status int, code, detail string) {
	for w != nil {
		if n, ok := w.(*noted); ok {
			n.note(status, code, detail)
			return
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = inner.Unwrap()
	}
}
