package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	tus "github.com/tus/tusd/v2/pkg/handler"
	"gocloud.dev/blob"
	exp "golang.org/x/exp/slog"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// Options say where uploads stand, and what a client may cost. All fields but Allowed are required.
type Options struct {
	Engine *engine.Engine
	// Dir is the local folder of the blob store; or "", and Blobs is the bucket of S3 with the name Bucket.
	Dir    string
	Blobs  *blob.Bucket
	Bucket string

	// Allowed is which jobs users may make; nil: none but admins do.
	Allowed access.Allowance

	MaxBytes      int64         // of an upload
	PerPrincipal  int           // uploads that one principal may have unfinished
	Idle          time.Duration // after which an upload that receives nothing ends
	ReceiveShare  int           // of an uploaded job's bar, in percent
	SweepInterval time.Duration

	StallTimeout   time.Duration // how long a request may bring nothing
	RequestTimeout time.Duration // of the work for a request, but for its bytes

	Problems *problem.Writer
	Registry *prometheus.Registry
	Logger   *slog.Logger
	// Stopping is closed when the gateway begins to drain: requests then end, what has
	// arrived is kept, and Run returns.
	Stopping <-chan struct{}
}

// A Server takes uploads. Its methods may be called concurrently.
type Server struct {
	opts    Options
	runtime *runtime.Runtime
	shelf   shelf
	locks   locks
	index   index
	late    lateReports
	metrics *metrics
	tusd    *tus.UnroutedHandler
}

const (
	// Path is where uploads are; an upload's own address has the job behind it.
	Path       = "/v1/uploads/"
	tusVersion = "1.0.0"
	uploadType = "application/offset+octet-stream" // the Content-Type of a body that is taken
	// lookTimeout bounds a look at the job when bytes can do without it.
	lookTimeout = 2 * time.Second
)

// New prepares the folder.
func New(o Options) (*Server, error) {
	u := &Server{opts: o, runtime: runtime.Of(o.Engine), index: newIndex(), late: newLateReports()}
	var err error
	if u.shelf, err = openShelf(o); err != nil {
		return nil, err
	}
	u.locks = newLocks(u.shelf, o.Stopping)
	if u.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, err
	}
	kept := &store{u}
	composer := tus.NewStoreComposer()
	composer.UseCore(kept)
	composer.UseTerminater(kept)
	composer.UseLocker(&u.locks)
	u.tusd, err = tus.NewUnroutedHandler(tus.Config{
		StoreComposer: composer, BasePath: Path, MaxSize: o.MaxBytes,
		Cors:            &tus.CorsConfig{Disable: true},
		DisableDownload: true, DisableConcatenation: true,
		NetworkTimeout: o.StallTimeout, AcquireLockTimeout: o.RequestTimeout,
		// The store minds no context, so nothing is gained by keeping one for longer.
		GracefulRequestCompletionTimeout: 50 * time.Millisecond,
		PreUploadCreateCallback:          kept.announce, PreFinishResponseCallback: kept.finished, PreUploadTerminateCallback: kept.terminating,
		// What it has to say is said by answers and metrics; what it logs would name
		// every request, and keep errors that are clients'.
		Logger: exp.New(exp.NewTextHandler(io.Discard, nil)),
	})
	return u, err
}

// Run sweeps, and reports late, until the gateway stops. Announcements wait for its first
// look at the folder.
func (u *Server) Run() {
	var late sync.WaitGroup
	late.Go(u.reportLate)
	u.sweep()
	late.Wait()
}

// Open is how many uploads count against a principal: announced, and not finished.
func (u *Server) Open(subject string) int { return u.index.count(subject) }

// Routes are the uploads' addresses, but for Discover's.
func (u *Server) Routes() []access.Route {
	one := Path + "{id}"
	var all []access.Route
	add := func(pattern string, h access.Handler) {
		all = append(all, access.Route{Pattern: pattern, Handler: u.answering(access.Taking(h)), Kind: access.Upload, Long: true})
	}
	add("POST "+strings.TrimSuffix(Path, "/"), u.create)
	add("HEAD "+one, u.existing)
	add("PATCH "+one, u.existing)
	add("DELETE "+one, u.existing)
	add("POST "+one, u.overridden)
	return all
}

// answering says which protocol this is, in errors too, and words the uploads' own.
func (u *Server) answering(h access.Handler) access.Handler {
	return func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
		w.Header().Set("Tus-Resumable", tusVersion)
		err := h(w, r, p)
		if own := (*problem.Refusal)(nil); errors.As(err, &own) {
			u.opts.Problems.Refuse(w, own)
			return nil
		}
		return err
	}
}

// Discover answers OPTIONS, which a tus client may ask before anything else.
func (u *Server) Discover(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Tus-Resumable", tusVersion)
	h.Set("Tus-Version", tusVersion)
	h.Set("Tus-Extension", u.tusd.SupportedExtensions())
	h.Set("Tus-Max-Size", strconv.FormatInt(u.opts.MaxBytes, 10))
	w.WriteHeader(http.StatusNoContent)
}

// overridden is for clients that can only send POST. It decides which method the request means, before
// any check; no later code reads the header.
func (u *Server) overridden(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	method := strings.ToUpper(r.Header.Get("X-HTTP-Method-Override"))
	switch method {
	case http.MethodHead, http.MethodPatch, http.MethodDelete:
	default:
		w.Header().Set("Allow", "HEAD, PATCH, DELETE, OPTIONS")
		return refusal(http.StatusMethodNotAllowed, "method", "an upload takes POST only with X-HTTP-Method-Override: HEAD, PATCH or DELETE", 0)
	}
	r = r.Clone(r.Context())
	r.Method = method
	return u.existing(w, r, p)
}

// create makes an upload and its job, and takes the first bytes if the request has
// some.
func (u *Server) create(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	a, err := u.announced(r, p)
	if err != nil {
		return err
	}
	if a.spec.Key != "" {
		if there, err := u.again(w, r, p, a.spec); there || err != nil {
			return err
		}
	}
	if err := u.index.reserve(r.Context(), a.upload, u.opts.PerPrincipal); err != nil {
		return err
	}
	t := &transfer{u: u, upload: a.upload, spec: &a.spec}
	defer func() { u.index.kept(a.upload.Job, t.created) }()
	u.serve(w, r, t, u.tusd.PostFile)
	return nil
}

// again answers an announcement whose key has an upload already: what the answer to the
// first one said, or errGone when its job has ended before all bytes were there. Bytes that
// come with it are not taken.
func (u *Server) again(w http.ResponseWriter, r *http.Request, p *auth.Principal, spec engine.Spec) (bool, error) {
	ctx, cancel := context.WithTimeout(r.Context(), u.opts.RequestTimeout)
	defer cancel()
	job, err := u.runtime.ReceivedAs(ctx, spec.Topic, spec.Key)
	if errors.Is(err, engine.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	up, err := u.visible(ctx, string(job), p)
	if errors.Is(err, engine.ErrNotFound) {
		return false, errGone
	}
	if err != nil {
		return false, err
	}
	n, _, there, err := u.shelf.offset(ctx, up)
	if err != nil {
		return false, u.shelf.refused(err)
	}
	if up.place == settled && !there {
		return false, errGone
	}
	if up.place == open && n < up.Size {
		states, err := u.runtime.States(ctx, []engine.JobID{job})
		if err != nil {
			return false, err
		}
		if states[0].Ended() {
			return false, errGone // the sweep removes its bytes
		}
	}
	h := w.Header()
	h.Set("Location", Path+string(job))
	h.Set("Upload-Offset", strconv.FormatInt(n, 10))
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return true, nil
}

// existing is HEAD, PATCH and DELETE of an upload, for its owner.
func (u *Server) existing(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	up, err := u.visible(r.Context(), r.PathValue("id"), p)
	if err != nil {
		return err
	}
	t := &transfer{u: u, upload: up, reader: r.Method == http.MethodHead}
	if r.Method == http.MethodDelete {
		u.serve(w, r, t, u.tusd.DelFile)
		return nil
	}
	if up.place == open {
		ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
		t.reception, err = u.runtime.Receiver(ctx, up.Job)
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
func (u *Server) visible(ctx context.Context, id string, p *auth.Principal) (*upload, error) {
	job, err := engine.ParseJobID(id)
	if err != nil {
		return nil, err
	}
	up, err := u.find(ctx, job)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return nil, err
	case err != nil:
		return nil, u.shelf.refused(err)
	}
	if up.Owner != p.Subject || !p.May(auth.Enqueue, up.Topic) {
		return nil, fmt.Errorf("upload %s: %w", job, engine.ErrNotFound)
	}
	return up, nil
}

// serve has tusd answer a request that is checked.
func (u *Server) serve(w http.ResponseWriter, r *http.Request, t *transfer, do http.HandlerFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), transferKey{}, t))
	defer cancel(nil)
	t.cancel = cancel
	r = r.Clone(ctx)
	r.Header.Del("X-HTTP-Method-Override")
	r.URL.Path = "/" + string(t.upload.Job)
	if r.Body != nil {
		r.Body = incoming{r.Body, t, http.NewResponseController(w)}
	}
	said := &tusAnswer{ResponseWriter: w, t: t}
	u.tusd.Middleware(do).ServeHTTP(said, r)
	said.finish(r)
}

type transferKey struct{}

// transferOf is the request's in whose name tusd calls.
func transferOf(ctx context.Context) *transfer { return ctx.Value(transferKey{}).(*transfer) }
