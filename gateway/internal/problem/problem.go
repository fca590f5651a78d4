// Package problem words the gateway's refusals: every error answer is a problem document,
// and what an error of the engine means to a client is decided in one place.
package problem

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// Errors of requests, for Fail.
var (
	// ErrRequest: the request itself is malformed; the text says how.
	ErrRequest = errors.New("invalid request")
	// ErrForbidden: the principal lacks a right on a topic whose existence it knows of.
	ErrForbidden = errors.New("forbidden")
)

// maxDetailBytes bounds what a problem says of a request, whatever the request was.
const maxDetailBytes = 1 << 10

// A Writer answers with problems. Its methods may be called concurrently.
type Writer struct {
	log    *slog.Logger
	byCode *prometheus.CounterVec
	failed func(error)
}

// NewWriter makes a Writer that logs what clients do not learn, and counts problems by their code.
// failed is called with each error that Fail gets.
func NewWriter(log *slog.Logger, byCode *prometheus.CounterVec, failed func(error)) *Writer {
	return &Writer{log: log, byCode: byCode, failed: failed}
}

// Count counts a problem by its code that is answered in another form.
func (p *Writer) Count(code string) { p.byCode.WithLabelValues(code).Inc() }

// Write answers with a problem. The detail is cut to 1 KiB.
func (p *Writer) Write(w http.ResponseWriter, status int, code, detail string) {
	p.Count(code)
	detail = excerpt.Of(detail, maxDetailBytes)
	note(w, status, code, detail)
	b, _ := json.Marshal(wire.Problem{Type: "/problems/" + code, Title: http.StatusText(status), Status: status, Code: code, Detail: detail}) // strings and a number
	h := w.Header()
	h.Del("Content-Encoding") // of the file that is refused
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	// An error says that the client has gone.
	_, _ = w.Write(append(b, '\n'))
}

// A Refusal is an error with an answer of its own.
type Refusal struct {
	Status       int
	Code, Detail string
	Retry        time.Duration // when to come back, in whole seconds; 0: not said
}

func (e *Refusal) Error() string { return e.Detail }

// Refuse answers with a Refusal.
func (p *Writer) Refuse(w http.ResponseWriter, e *Refusal) {
	if e.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.Retry.Seconds())))
	}
	p.Write(w, e.Status, e.Code, e.Detail)
}

// Fail answers with what an error means to a client. What is not the client's to know is
// logged, and the client gets an internal error.
func (p *Writer) Fail(w http.ResponseWriter, r *http.Request, err error) {
	p.failed(err)
	var tooLarge *http.MaxBytesError
	var own *Refusal
	switch {
	case errors.As(err, &own):
		p.Refuse(w, own)
	case errors.As(err, &tooLarge):
		p.Write(w, http.StatusRequestEntityTooLarge, "too_large", "the body may have at most "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	case errors.Is(err, ErrRequest), errors.Is(err, engine.ErrInvalid), errors.Is(err, engine.ErrInvalidTopic),
		errors.Is(err, engine.ErrInvalidCursor), errors.Is(err, auth.ErrQueryToken):
		// The code says already that the request is invalid, and people read the rest.
		p.Write(w, http.StatusBadRequest, "invalid", strings.TrimPrefix(err.Error(), ErrRequest.Error()+": "))
	case errors.Is(err, auth.ErrNoCredentials), errors.Is(err, auth.ErrRejected):
		w.Header().Set("WWW-Authenticate", "Bearer")
		p.Write(w, http.StatusUnauthorized, "unauthenticated", "the request carries no valid credentials")
	case errors.Is(err, auth.ErrUnavailable):
		w.Header().Set("Retry-After", "2")
		p.Write(w, http.StatusServiceUnavailable, "unavailable", "the credentials cannot be checked at the moment; nothing was changed")
	case errors.Is(err, auth.ErrDisabled), errors.Is(err, ErrForbidden):
		p.Write(w, http.StatusForbidden, "forbidden", "you may not do this")
	case errors.Is(err, auth.ErrHost):
		p.Write(w, http.StatusForbidden, "host", err.Error())
	case errors.Is(err, auth.ErrOrigin):
		p.Write(w, http.StatusForbidden, "origin", err.Error())
	case errors.Is(err, engine.ErrNoSchedule):
		p.Write(w, http.StatusNotFound, "not_found", "there is no such schedule")
	case errors.Is(err, engine.ErrNoDataset):
		p.Write(w, http.StatusNotFound, "not_found", "there is no such dataset")
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrInvalidJobID):
		// A malformed ID, an unknown job and another's look the same.
		p.Write(w, http.StatusNotFound, "not_found", "there is no such job")
	case errors.Is(err, engine.ErrEnded):
		p.Write(w, http.StatusConflict, "ended", "the job has ended")
	case errors.Is(err, engine.ErrState):
		// What was attempted, which is before it, the client knows.
		why := err.Error()
		p.Write(w, http.StatusConflict, "state", why[max(0, strings.Index(why, engine.ErrState.Error())):])
	case errors.Is(err, engine.ErrLimit):
		why := err.Error()
		p.Write(w, http.StatusTooManyRequests, "limit", why[max(0, strings.Index(why, engine.ErrLimit.Error())):])
	case errors.Is(err, engine.ErrRewritten):
		p.Write(w, http.StatusConflict, "rewritten", "the topic's history is another one than when the snapshot began: ask again without page")
	case errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrClosed):
		w.Header().Set("Retry-After", "2")
		p.Write(w, http.StatusServiceUnavailable, "unavailable", "the storage cannot be reached at the moment; it is not known whether a change was made")
	case errors.Is(err, engine.ErrOutOfMemory):
		w.Header().Set("Retry-After", "30")
		p.Write(w, http.StatusInsufficientStorage, "out_of_memory", "the storage is full; nothing was changed")
	case errors.As(err, new(*storefault.Error)):
		p.log.Warn("the store of files failed a request", "method", r.Method, "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "5")
		p.Write(w, http.StatusServiceUnavailable, "storage_unavailable", "the store of files does not answer at the moment; try again later")
	case r.Context().Err() != nil:
		p.Write(w, http.StatusServiceUnavailable, "timeout", "the request took too long; it is not known whether a change was made")
	default:
		p.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		p.Write(w, http.StatusInternalServerError, "internal", "internal error")
	}
}
