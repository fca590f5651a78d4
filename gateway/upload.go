package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"
	exp "golang.org/x/exp/slog"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// Uploads are tus 1.0, with creation, creation-with-upload and termination. An upload
// is a job from its announcement, and its ID is the job's: tusd speaks the protocol,
// upload_store.go keeps the bytes, receive.go reports them, sweep.go mends what a crash
// left half done. upload_folder.go describes what is where.
//
// Every step is in an order in which the next process can go on from any crash:
//
//	create:  files, then the job      files alone are removed when they are old
//	finish:  bytes, fsync, queue, settle   the sweep queues what is complete
//	cancel:  job, bytes, settle       the sweep removes the bytes of ended jobs
type uploads struct {
	g       *Gateway
	engine  *engine.Engine
	folder  folder
	locks   uploadLocks
	index   uploadIndex
	late    lateReports
	metrics *uploadMetrics
	tusd    *tus.UnroutedHandler
}

const (
	uploadsPath = "/v1/uploads/"
	tusVersion  = "1.0.0"
	uploadType  = "application/offset+octet-stream" // the Content-Type of a body that is taken
	// lookTimeout bounds a look at the job when bytes can do without it.
	lookTimeout = 2 * time.Second
)

// newUploads prepares the folder. It returns nil where there are no uploads.
func newUploads(g *Gateway) (*uploads, error) {
	if g.opts.Blobs == nil || g.opts.BlobDir == "" {
		return nil, nil
	}
	u := &uploads{g: g, engine: g.opts.Engine, index: newUploadIndex(), late: newLateReports()}
	var err error
	if u.folder, err = openFolder(g.opts.BlobDir); err != nil {
		return nil, err
	}
	u.locks = newUploadLocks(u.folder, g.stopping)
	if u.metrics, err = newUploadMetrics(g.opts.Registry); err != nil {
		return nil, err
	}
	store := &uploadStore{u}
	composer := tus.NewStoreComposer()
	composer.UseCore(store)
	composer.UseTerminater(store)
	composer.UseLocker(&u.locks)
	u.tusd, err = tus.NewUnroutedHandler(tus.Config{
		StoreComposer: composer, BasePath: uploadsPath, MaxSize: g.opts.UploadBytes,
		Cors:            &tus.CorsConfig{Disable: true},
		DisableDownload: true, DisableConcatenation: true,
		NetworkTimeout: g.opts.StallTimeout, AcquireLockTimeout: g.opts.RequestTimeout,
		// The store minds no context, so nothing is gained by keeping one for longer.
		GracefulRequestCompletionTimeout: 50 * time.Millisecond,
		PreUploadCreateCallback:          store.announce, PreFinishResponseCallback: store.finished, PreUploadTerminateCallback: store.terminating,
		// What it has to say is said by answers and metrics; what it logs would name
		// every request, and keep errors that are clients'.
		Logger: exp.New(exp.NewTextHandler(io.Discard, nil)),
	})
	return u, err
}

// route adds the uploads' addresses.
func (u *uploads) route(mux *http.ServeMux) {
	if u == nil {
		return
	}
	one := uploadsPath + "{id}"
	api := func(pattern string, h handler) {
		mux.Handle(pattern, u.g.counted(pattern, u.g.authenticated(u.answering(taking(h)))))
	}
	api("POST /v1/uploads", u.create)
	api("HEAD "+one, u.existing)
	api("PATCH "+one, u.existing)
	api("DELETE "+one, u.existing)
	api("POST "+one, u.overridden)
	for _, pattern := range []string{"OPTIONS /v1/uploads", "OPTIONS " + one} {
		mux.Handle(pattern, u.g.counted(pattern, http.HandlerFunc(u.discover)))
	}
}

// answering says which protocol this is, in errors too, and words the uploads' own.
func (u *uploads) answering(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
		w.Header().Set("Tus-Resumable", tusVersion)
		err := h(w, r, p)
		if own := (*uploadError)(nil); errors.As(err, &own) {
			u.g.refuse(w, own)
			return nil
		}
		return err
	}
}

// discover answers OPTIONS, which a tus client may ask before anything else.
func (u *uploads) discover(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Tus-Resumable", tusVersion)
	h.Set("Tus-Version", tusVersion)
	h.Set("Tus-Extension", u.tusd.SupportedExtensions())
	h.Set("Tus-Max-Size", strconv.FormatInt(u.g.opts.UploadBytes, 10))
	w.WriteHeader(http.StatusNoContent)
}

// overridden is for clients that can send POST alone. What the request is to be is
// decided here, before any check, and nobody behind looks at the header again.
func (u *uploads) overridden(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	method := strings.ToUpper(r.Header.Get("X-HTTP-Method-Override"))
	switch method {
	case http.MethodHead, http.MethodPatch, http.MethodDelete:
	default:
		w.Header().Set("Allow", "HEAD, PATCH, DELETE, OPTIONS")
		return &uploadError{http.StatusMethodNotAllowed, "method", "an upload takes POST only with X-HTTP-Method-Override: HEAD, PATCH or DELETE", 0}
	}
	r = r.Clone(r.Context())
	r.Method = method
	return u.existing(w, r, p)
}

// create makes an upload and its job, and takes the first bytes if the request has
// some.
func (u *uploads) create(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	a, err := u.announced(r, p)
	if err != nil {
		return err
	}
	if a.spec.Key != "" {
		if there, err := u.again(w, r, p, a.spec); there || err != nil {
			return err
		}
	}
	if err := u.index.reserve(r.Context(), a.upload, u.g.opts.UploadsPerPrincipal); err != nil {
		return err
	}
	t := &transfer{u: u, upload: a.upload, spec: &a.spec}
	defer func() { u.index.kept(a.upload.Job, t.created) }()
	u.serve(w, r, t, u.tusd.PostFile)
	return nil
}

// again answers an announcement whose key has an upload already: what the answer to the
// first one said. Bytes that come with it are not taken.
func (u *uploads) again(w http.ResponseWriter, r *http.Request, p *auth.Principal, spec engine.Spec) (bool, error) {
	ctx, cancel := context.WithTimeout(r.Context(), u.g.opts.RequestTimeout)
	defer cancel()
	job, err := u.engine.ReceivedAs(ctx, spec.Topic, spec.Key)
	if errors.Is(err, engine.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	up, err := u.visible(string(job), p)
	if errors.Is(err, engine.ErrNotFound) {
		return false, errGone
	}
	if err != nil {
		return false, err
	}
	n, _, there, err := u.folder.offset(up)
	if err != nil {
		return false, err
	}
	if up.place == settled && !there {
		return false, errGone
	}
	w.Header().Set("Location", uploadsPath+string(job))
	w.Header().Set("Upload-Offset", strconv.FormatInt(n, 10))
	w.WriteHeader(http.StatusCreated)
	return true, nil
}

// existing is HEAD, PATCH and DELETE of an upload, for its owner.
func (u *uploads) existing(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	up, err := u.visible(r.PathValue("id"), p)
	if err != nil {
		return err
	}
	t := &transfer{u: u, upload: up}
	if r.Method == http.MethodDelete {
		u.serve(w, r, t, u.tusd.DelFile)
		return nil
	}
	if up.place == open {
		ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
		t.reception, err = u.engine.Receiver(ctx, up.Job)
		cancel()
		switch {
		case err == nil:
			t.known = true
		case errors.Is(err, engine.ErrEnded):
			return errGone
		case errors.Is(err, engine.ErrNotFound):
			return err
		}
		// Queued already, or Redis is away: the bytes can do without it.
	}
	do := u.tusd.PatchFile
	switch {
	case r.Method == http.MethodHead:
		do = u.tusd.HeadFile
	case r.ContentLength > up.Size:
		// tusd adds it to the offset, and the sum may overflow: then it stores without a bound.
		return errTooLong
	}
	u.serve(w, r, t, do)
	return nil
}

// visible finds an upload of the principal. Any other is as unknown as one that never
// was.
func (u *uploads) visible(id string, p *auth.Principal) (*upload, error) {
	job, err := engine.ParseJobID(id)
	if err != nil {
		return nil, err
	}
	up, err := u.folder.find(job)
	if err != nil {
		return nil, err
	}
	if up.Owner != p.Subject || !p.May(auth.Enqueue, up.Topic) {
		return nil, fmt.Errorf("upload %s: %w", job, engine.ErrNotFound)
	}
	return up, nil
}

// serve has tusd answer a request that is checked.
func (u *uploads) serve(w http.ResponseWriter, r *http.Request, t *transfer, do http.HandlerFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), transferKey{}, t))
	defer cancel(nil)
	t.cancel = cancel
	r = r.Clone(ctx)
	r.Header.Del("X-HTTP-Method-Override")
	r.URL.Path = "/" + string(t.upload.Job)
	if r.Body != nil {
		r.Body = incoming{r.Body, t}
	}
	said := &tusAnswer{ResponseWriter: w, t: t}
	u.tusd.Middleware(do).ServeHTTP(said, r)
	said.finish(u.g, r)
}

type transferKey struct{}

// transferOf is the request's in whose name tusd calls.
func transferOf(ctx context.Context) *transfer { return ctx.Value(transferKey{}).(*transfer) }
