package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// showArtifact streams a file that a job has written, "<job>.<name>", to users who may read the job. A
// browser must save it and not show it: the job's input decides what is in it.
func (s *Server) showArtifact(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	m, err := s.artifact(r, p)
	if err != nil {
		return err
	}
	counts, err := s.watched(r, p, m)
	if err != nil {
		return err
	}
	if err := kept(m); err != nil {
		return err
	}
	if counts != nil {
		var end func()
		w, end = counts.around(w, func() { access.End(r) })
		defer end()
	}
	file := artifacts.NewReader(r.Context(), s.opts.Blobs, m)
	w.Header().Set("ETag", `"`+m.SHA256+`"`)
	s.serveFile(w, r, m.Name, m.Type, m.ClosedAt, file)
	return nil
}

// artifact finds the artifact that the path names, which may be kept no longer.
func (s *Server) artifact(r *http.Request, p *auth.Principal) (*artifacts.Manifest, error) {
	job, name, ok := blobs.ParseArtifactID(r.PathValue("id"))
	unknown := fmt.Errorf("artifact: %w", engine.ErrNotFound)
	if s.opts.Blobs == nil || !ok {
		return nil, unknown
	}
	m, err := s.manifest(r.Context(), p, job, name)
	if errors.Is(err, artifacts.ErrNotFound) {
		return nil, unknown
	}
	return m, err
}

// kept is an error that says why an artifact is kept no longer; nil if it is.
func kept(m *artifacts.Manifest) error {
	if why := m.GoneAt(time.Now()); why != "" {
		return &problem.Refusal{Status: http.StatusGone, Code: "gone", Detail: "the file is no longer kept: " + why}
	}
	return nil
}

// manifest finds an artifact for a user who may read its job, also where Redis has forgotten the job. To
// all others there is none.
func (s *Server) manifest(ctx context.Context, p *auth.Principal, job engine.JobID, name string) (*artifacts.Manifest, error) {
	v, err := s.opts.Engine.Job(ctx, job)
	if errors.Is(err, engine.ErrNotFound) {
		return s.outlived(ctx, p, job, name)
	}
	if err != nil {
		return nil, err
	}
	if !p.May(auth.Read, v.Topic) {
		return nil, artifacts.ErrNotFound
	}
	j, err := v.Job()
	if err != nil {
		return nil, err
	}
	for _, a := range j.Artifacts {
		if a.Name == name {
			return artifacts.Find(ctx, s.opts.Blobs, artifacts.Place{Topic: v.Topic, Job: job, Name: name}, a)
		}
	}
	return nil, artifacts.ErrNotFound
}

// outlived finds an artifact of a job that Redis has forgotten. One that was removed has none, although a
// cleaner may not have come to its files yet.
func (s *Server) outlived(ctx context.Context, p *auth.Principal, job engine.JobID, name string) (*artifacts.Manifest, error) {
	if removed, err := s.opts.Removed(ctx, job); removed || err != nil {
		return nil, cmp.Or(err, artifacts.ErrNotFound)
	}
	topic, err := artifacts.Owner(ctx, s.opts.Blobs, job)
	if err != nil {
		return nil, err
	}
	if !p.May(auth.Read, topic) {
		return nil, artifacts.ErrNotFound
	}
	return artifacts.Published(ctx, s.opts.Blobs, artifacts.Place{Topic: topic, Job: job, Name: name})
}

const octets = "application/octet-stream"

// showUpload streams the uploaded file that a job works on, to every client that may read the job.
// The file is there once a worker has begun the job for which it was uploaded: before, bytes of it
// may be missing.
func (s *Server) showUpload(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	v, err := s.visible(r, p)
	if err != nil {
		return err
	}
	unknown := fmt.Errorf("upload: %w", engine.ErrNotFound)
	if s.opts.Blobs == nil {
		return unknown
	}
	upload, err := s.opts.UploadOf(r.Context(), v.ID)
	if err != nil {
		return err
	}
	own, err := v.Job()
	if err != nil {
		return err
	}
	first := own // the job for which the file was uploaded
	if upload != v.ID && upload != "" {
		switch of, err := s.opts.Engine.Job(r.Context(), upload); {
		case errors.Is(err, engine.ErrNotFound): // it was removed, so it had ended
		case err != nil:
			return err
		default:
			if first, err = of.Job(); err != nil {
				return err
			}
		}
	}
	if upload == "" || first.Attempt == 0 {
		return unknown
	}
	name := own.Title
	if name == "" {
		name = string(v.ID)
	}
	return s.serveBlob(w, r, blobs.Upload(v.Topic, upload), name, octets)
}

// serveBlob streams a blob as a file of a name, for the browser to keep.
func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request, key, name, kind string) error {
	file, err := s.opts.Blobs.NewReader(r.Context(), key, nil)
	if err != nil {
		if gcerrors.Code(err) == gcerrors.NotFound {
			return fmt.Errorf("file: %w", engine.ErrNotFound)
		}
		return fmt.Errorf("open a file: %w", storefault.Of(err))
	}
	s.serveFile(w, r, name, kind, file.ModTime(), file)
	return nil
}

// serveFile streams a file, and closes it.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, name, kind string, modified time.Time, file io.ReadSeekCloser) {
	defer func() {
		if err := file.Close(); err != nil {
			s.opts.Logger.Debug("a file was not closed", "path", r.URL.Path, "error", storefault.Of(err))
		}
	}()
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", attachment(name))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	s.opts.Problems.ServeContent(&unhurried{ResponseWriter: w, stall: s.opts.StallTimeout}, r, modified, file)
}

// attachment is a Content-Disposition with a file's name (RFC 6266): as ASCII, with "_" for what has no
// place in it, and where that differs also as UTF-8 (RFC 8187). Path separators and control characters
// become "_".
func attachment(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '/' || r == '\\' || r == '"' {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	plain := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || r == '%' { // some browsers decode %41
			return '_'
		}
		return r
	}, name)
	if plain == name {
		return `attachment; filename="` + name + `"`
	}
	var b strings.Builder
	for _, c := range []byte(name) {
		if c < utf8.RuneSelf && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("!#$&+-.^_`|~", c) >= 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + b.String()
}

// An unhurried writer ends an answer whose reader takes nothing for a while, however
// long the whole takes.
type unhurried struct {
	http.ResponseWriter
	stall time.Duration
}

func (u *unhurried) Write(b []byte) (int, error) {
	c, until := http.NewResponseController(u.ResponseWriter), time.Now().Add(u.stall)
	// That to read too, since its end ends the request.
	err := errors.Join(c.SetReadDeadline(until), c.SetWriteDeadline(until))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return u.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (u *unhurried) Unwrap() http.ResponseWriter { return u.ResponseWriter }
