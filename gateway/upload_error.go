package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"
)

// An uploadError is a refusal with an answer of its own.
type uploadError struct {
	status       int
	code, detail string
	retry        time.Duration // when to come back; 0: not said
}

func (e *uploadError) Error() string { return e.detail }

// What becomes of uploads, but for what g.fail words.
var (
	errGone        = &uploadError{http.StatusGone, "upload_gone", "the upload's job has ended before everything had arrived; upload the file again", 0}
	errQueued      = &uploadError{http.StatusConflict, "upload_complete", "everything has arrived and the job is queued, or further; cancel the job instead", 0}
	errDiskFull    = &uploadError{http.StatusInsufficientStorage, "disk_full", "there is no room for the upload; what has arrived is kept", 30 * time.Second}
	errTooMany     = &uploadError{http.StatusTooManyRequests, "too_many_uploads", "", 0} // the detail names the bound
	errInterrupted = &uploadError{http.StatusConflict, "upload_interrupted", "another request for this upload took over", 0}
	errTooLong     = &uploadError{http.StatusRequestEntityTooLarge, "too_large", "the request has more bytes than the upload lacks; none of them is kept", 0}
	errAnnounced   = &uploadError{http.StatusLocked, "upload_locked", "another announcement with this key is under way", time.Second}
	errStopping    = &uploadError{http.StatusServiceUnavailable, "draining", "the gateway is stopping; go on with its successor", time.Second}
	errNotQueued   = &uploadError{http.StatusServiceUnavailable, "upload_not_queued", "everything has arrived and is kept, but the job cannot be queued at the moment; that is made up for", 5 * time.Second}
)

// tusdErrors gives tusd's refusals the form of all others.
var tusdErrors = map[string]*uploadError{
	tus.ErrUnsupportedVersion.ErrorCode:  {http.StatusPreconditionFailed, "tus_version", "want Tus-Resumable: " + tusVersion, 0},
	tus.ErrMaxSizeExceeded.ErrorCode:     {http.StatusRequestEntityTooLarge, "too_large", "the upload is larger than Tus-Max-Size", 0},
	tus.ErrSizeExceeded.ErrorCode:        errTooLong,
	tus.ErrInvalidContentType.ErrorCode:  {http.StatusUnsupportedMediaType, "content_type", "want Content-Type: " + uploadType, 0},
	tus.ErrInvalidUploadLength.ErrorCode: {http.StatusBadRequest, "invalid", "Upload-Length: want the file's size in bytes", 0},
	tus.ErrNotImplemented.ErrorCode:      {http.StatusBadRequest, "invalid", "the length of an upload is part of its announcement, and stays", 0},
	tus.ErrInvalidOffset.ErrorCode:       {http.StatusBadRequest, "invalid", "Upload-Offset: want the number of bytes that HEAD answers", 0},
	tus.ErrMismatchOffset.ErrorCode:      {http.StatusConflict, "upload_offset", "Upload-Offset is not where the upload stands; ask with HEAD", 0},
	tus.ErrNotFound.ErrorCode:            {http.StatusNotFound, "not_found", "there is no such job", 0},
	tus.ErrLockTimeout.ErrorCode:         {http.StatusLocked, "upload_locked", "another request for this upload is under way", time.Second},
	tus.ErrUploadInterrupted.ErrorCode:   errInterrupted,
	tus.ErrServerShutdown.ErrorCode:      errStopping,
	// A proxy that loses its client ends a chunked body so. Clients take 400 for final.
	tus.ErrUnexpectedEOF.ErrorCode:   {http.StatusServiceUnavailable, "upload_cut", "the request is malformed or ended early; what has arrived is kept", 0},
	tus.ErrReadTimeout.ErrorCode:     {http.StatusServiceUnavailable, "timeout", "nothing has arrived for too long; what has arrived before is kept", time.Second},
	tus.ErrConnectionReset.ErrorCode: {http.StatusServiceUnavailable, "upload_cut", "the connection was lost; what has arrived is kept", 0},
}

// refuse answers with an uploadError.
func (g *Gateway) refuse(w http.ResponseWriter, e *uploadError) {
	if e.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.retry.Seconds())))
	}
	g.problem(w, e.status, e.code, e.detail)
}

// An incoming body tells its transfer how it ends, which tusd keeps from the store: it
// takes all reasons but a few for the server's fault, a malformed chunk among them.
type incoming struct {
	io.ReadCloser
	t *transfer
}

func (b incoming) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.t.arrived += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		b.t.whole = true
	case err != nil:
		b.t.torn = true
	}
	return n, err
}

// A tusAnswer passes tusd's answers on, and keeps its refusals for finish to word.
type tusAnswer struct {
	http.ResponseWriter
	t      *transfer
	failed int // status
	text   bytes.Buffer
}

func (a *tusAnswer) WriteHeader(status int) {
	h := a.Header()
	if h.Get("Location") != "" {
		// A path: what the client calls this gateway is not this gateway's to know.
		h.Set("Location", uploadsPath+string(a.t.upload.Job))
	}
	if status >= http.StatusBadRequest {
		a.failed = status
		return
	}
	// With HEAD tusd says the upload's length in it, and a POST may stand for HEAD. No
	// answer that is passed on has a body.
	h.Del("Content-Length")
	a.ResponseWriter.WriteHeader(status)
}

func (a *tusAnswer) Write(b []byte) (int, error) {
	if a.failed > 0 {
		return a.text.Write(b)
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *tusAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// finish words a refusal: the transfer's own reason first, since tusd only knows that
// something was wrong.
func (a *tusAnswer) finish(g *Gateway, r *http.Request) {
	if a.failed == 0 {
		return
	}
	if a.t.created {
		a.Header().Set("Location", uploadsPath+string(a.t.upload.Job))
	}
	code, _, _ := bytes.Cut(a.text.Bytes(), []byte(":"))
	own, plain := a.t.err.(*uploadError) //nolint:errorlint // never wrapped
	if own == errTooLong {
		// Otherwise the answer waits for the rest of the body. An error is a connection's
		// that is gone.
		_ = http.NewResponseController(a.ResponseWriter).SetReadDeadline(time.Now())
	}
	switch known := tusdErrors[string(code)]; {
	case plain:
		g.refuse(a.ResponseWriter, own)
	case a.t.err != nil:
		g.fail(a.ResponseWriter, r, a.t.err)
	case known != nil:
		g.refuse(a.ResponseWriter, known)
	case a.t.torn:
		g.refuse(a.ResponseWriter, tusdErrors[tus.ErrUnexpectedEOF.ErrorCode])
	default:
		g.opts.Logger.Error("upload failed", "method", r.Method, "upload", a.t.upload.Job, "status", a.failed, "error", a.text.String())
		g.problem(a.ResponseWriter, http.StatusInternalServerError, "internal", "internal error")
	}
}
