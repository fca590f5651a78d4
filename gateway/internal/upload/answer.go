package upload

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// What becomes of uploads, but for what problem.Writer.Fail words.
var (
	errGone        = refusal(http.StatusGone, "upload_gone", "the upload's job has ended before everything had arrived; upload the file again", 0)
	errQueued      = refusal(http.StatusConflict, "upload_complete", "everything has arrived and the job is queued, or further; cancel the job instead", 0)
	errDiskFull    = refusal(http.StatusInsufficientStorage, "disk_full", "there is no room for the upload; what has arrived is kept", 30*time.Second)
	errStorage     = refusal(http.StatusServiceUnavailable, "storage_unavailable", "the store of files does not answer at the moment; HEAD tells what is kept", 5*time.Second)
	errCrowded     = refusal(http.StatusServiceUnavailable, "busy", "the gateway receives too much at once; what has arrived is kept", 5*time.Second)
	errBegunAnew   = refusal(http.StatusConflict, "upload_offset", "the store has dropped what had arrived; ask for the offset with HEAD, and go on from there", 0)
	errInterrupts  = refusal(http.StatusConflict, "upload_spent", "the upload was interrupted too often; delete it, and upload the file again", 0)
	errTooMany     = refusal(http.StatusTooManyRequests, "too_many_uploads", "", 0) // the detail names the bound
	errInterrupted = refusal(http.StatusConflict, "upload_interrupted", "another request for this upload took over", 0)
	errOver        = refusal(http.StatusUnauthorized, "unauthenticated", "the credentials have ended; send new ones, and go on from the offset that HEAD tells", 0)
	errTooLong     = refusal(http.StatusRequestEntityTooLarge, "too_large", "the request has more bytes than the upload lacks; none of them is kept", 0)
	errAnnounced   = refusal(http.StatusLocked, "upload_locked", "another announcement with this key is under way", time.Second)
	errStopping    = refusal(http.StatusServiceUnavailable, "draining", "the gateway is stopping; go on with its successor", time.Second)
	errNotQueued   = refusal(http.StatusServiceUnavailable, "upload_not_queued", "everything has arrived and is kept, but the job cannot be queued at the moment; that is made up for", 5*time.Second)
)

// tusdErrors gives tusd's refusals the form of all others.
var tusdErrors = map[string]*problem.Refusal{
	tus.ErrUnsupportedVersion.ErrorCode:  refusal(http.StatusPreconditionFailed, "tus_version", "want Tus-Resumable: "+tusVersion, 0),
	tus.ErrMaxSizeExceeded.ErrorCode:     refusal(http.StatusRequestEntityTooLarge, "too_large", "the upload is larger than Tus-Max-Size", 0),
	tus.ErrSizeExceeded.ErrorCode:        errTooLong,
	tus.ErrInvalidContentType.ErrorCode:  refusal(http.StatusUnsupportedMediaType, "content_type", "want Content-Type: "+uploadType, 0),
	tus.ErrInvalidUploadLength.ErrorCode: refusal(http.StatusBadRequest, "invalid", "Upload-Length: want the file's size in bytes", 0),
	tus.ErrNotImplemented.ErrorCode:      refusal(http.StatusBadRequest, "invalid", "the length of an upload is part of its announcement, and stays", 0),
	tus.ErrInvalidOffset.ErrorCode:       refusal(http.StatusBadRequest, "invalid", "Upload-Offset: want the number of bytes that HEAD answers", 0),
	tus.ErrMismatchOffset.ErrorCode:      refusal(http.StatusConflict, "upload_offset", "Upload-Offset is not the upload's offset; ask with HEAD", 0),
	tus.ErrNotFound.ErrorCode:            refusal(http.StatusNotFound, "not_found", "there is no such job", 0),
	tus.ErrLockTimeout.ErrorCode:         refusal(http.StatusLocked, "upload_locked", "another request for this upload is under way", time.Second),
	tus.ErrUploadInterrupted.ErrorCode:   errInterrupted,
	tus.ErrServerShutdown.ErrorCode:      errStopping,
	// A proxy that loses its client ends a chunked body so. Clients take 400 for final.
	tus.ErrUnexpectedEOF.ErrorCode:   refusal(http.StatusServiceUnavailable, "upload_cut", "the request is malformed or ended early; what has arrived is kept", 0),
	tus.ErrReadTimeout.ErrorCode:     refusal(http.StatusServiceUnavailable, "timeout", "nothing has arrived for too long; what has arrived before is kept", time.Second),
	tus.ErrConnectionReset.ErrorCode: refusal(http.StatusServiceUnavailable, "upload_cut", "the connection was lost; what has arrived is kept", 0),
}

func refusal(status int, code, detail string, retry time.Duration) *problem.Refusal {
	return &problem.Refusal{Status: status, Code: code, Detail: detail, Retry: retry}
}

// An incoming body tells its transfer how it ends, which tusd keeps from the store: it
// takes all reasons but a few for the server's fault, a malformed chunk among them.
type incoming struct {
	io.ReadCloser
	t    *transfer
	conn *http.ResponseController
}

func (b incoming) Read(p []byte) (int, error) {
	// tusd counts from the last read, and a store may have been slow since then. An error says that
	// the connection has no deadlines.
	_ = b.conn.SetReadDeadline(time.Now().Add(b.t.u.opts.StallTimeout))
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
	// The store may have been slow since the last byte came. An error says that the connection has no deadlines.
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(2 * a.t.u.opts.StallTimeout))
	h := a.Header()
	if h.Get("Location") != "" {
		// A path: what the client calls this gateway is not this gateway's to know.
		h.Set("Location", Path+string(a.t.upload.Job))
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
func (a *tusAnswer) finish(r *http.Request) {
	if a.failed == 0 {
		return
	}
	if a.t.created {
		a.Header().Set("Location", Path+string(a.t.upload.Job))
	}
	code, _, _ := bytes.Cut(a.text.Bytes(), []byte(":"))
	own, plain := a.t.err.(*problem.Refusal) //nolint:errorlint // never wrapped
	problems := a.t.u.opts.Problems
	switch known := tusdErrors[string(code)]; {
	case plain:
		problems.Refuse(a.ResponseWriter, own)
	case a.t.err != nil:
		problems.Fail(a.ResponseWriter, r, a.t.err)
	case known != nil:
		problems.Refuse(a.ResponseWriter, known)
	case a.t.torn:
		problems.Refuse(a.ResponseWriter, tusdErrors[tus.ErrUnexpectedEOF.ErrorCode])
	default:
		a.t.u.opts.Logger.Error("upload failed", "method", r.Method, "upload", a.t.upload.Job, "status", a.failed, "error", a.text.String())
		problems.Write(a.ResponseWriter, http.StatusInternalServerError, "internal", "internal error")
	}
}
