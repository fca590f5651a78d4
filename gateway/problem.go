package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// A problem is an error answer, in the form of RFC 9457. Code is what programs branch
// on; type is the same as a relative reference.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// maxDetailBytes bounds what a problem says of a request, whatever the request was.
const maxDetailBytes = 1 << 10

func (g *Gateway) problem(w http.ResponseWriter, status int, code, detail string) {
	g.metrics.problems.WithLabelValues(code).Inc()
	detail = excerpt.Of(detail, maxDetailBytes)
	b, _ := json.Marshal(problem{"/problems/" + code, http.StatusText(status), status, code, detail}) // strings and a number
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	// Nobody is left to tell when the client has gone.
	_, _ = w.Write(append(b, '\n'))
}

// fail answers with what an error means to a client. What is not the client's to know
// is logged, and it is told of an internal error.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		g.problem(w, http.StatusRequestEntityTooLarge, "too_large", "the body may have at most "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	case errors.Is(err, errRequest), errors.Is(err, engine.ErrInvalid), errors.Is(err, engine.ErrInvalidTopic),
		errors.Is(err, engine.ErrInvalidCursor), errors.Is(err, auth.ErrQueryToken):
		g.problem(w, http.StatusBadRequest, "invalid", err.Error())
	case errors.Is(err, auth.ErrNoCredentials), errors.Is(err, auth.ErrRejected):
		w.Header().Set("WWW-Authenticate", "Bearer")
		g.problem(w, http.StatusUnauthorized, "unauthenticated", "the request carries no valid credentials")
	case errors.Is(err, auth.ErrDisabled), errors.Is(err, errForbidden):
		g.problem(w, http.StatusForbidden, "forbidden", "you may not do this")
	case errors.Is(err, auth.ErrHost):
		g.problem(w, http.StatusForbidden, "host", err.Error())
	case errors.Is(err, auth.ErrOrigin):
		g.problem(w, http.StatusForbidden, "origin", err.Error())
	case errors.Is(err, engine.ErrNoSchedule):
		g.problem(w, http.StatusNotFound, "not_found", "there is no such schedule")
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrInvalidJobID):
		// A malformed ID, an unknown job and another's look the same.
		g.problem(w, http.StatusNotFound, "not_found", "there is no such job")
	case errors.Is(err, engine.ErrEnded):
		g.problem(w, http.StatusConflict, "ended", "the job has ended")
	case errors.Is(err, engine.ErrState):
		// What was attempted, which is before it, the client knows.
		why := err.Error()
		g.problem(w, http.StatusConflict, "state", why[max(0, strings.Index(why, engine.ErrState.Error())):])
	case errors.Is(err, engine.ErrLimit):
		why := err.Error()
		g.problem(w, http.StatusTooManyRequests, "limit", why[max(0, strings.Index(why, engine.ErrLimit.Error())):])
	case errors.Is(err, engine.ErrRewritten):
		g.problem(w, http.StatusConflict, "rewritten", "the topic's history is another one than when the snapshot began: ask again without page")
	case errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrClosed):
		w.Header().Set("Retry-After", "2")
		g.problem(w, http.StatusServiceUnavailable, "unavailable", "the storage cannot be reached at the moment; it is not known whether a change was made")
	case errors.Is(err, engine.ErrOutOfMemory):
		w.Header().Set("Retry-After", "30")
		g.problem(w, http.StatusInsufficientStorage, "out_of_memory", "the storage is full; nothing was changed")
	case r.Context().Err() != nil:
		g.problem(w, http.StatusServiceUnavailable, "timeout", "the request took too long; it is not known whether a change was made")
	default:
		g.opts.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		g.problem(w, http.StatusInternalServerError, "internal", "internal error")
	}
}

var (
	// errRequest: the request itself is malformed; the text says how.
	errRequest = errors.New("invalid request")
	// errForbidden: the principal lacks a right on a topic whose existence it knows of.
	errForbidden = errors.New("forbidden")
)
