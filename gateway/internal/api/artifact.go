package api

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode"

	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/blobs"
)

// showArtifact streams a file that a job has written, "<job>.<name>", to users who may read the job. A
// browser must save it and not show it: the job's input decides what is in it.
func (s *Server) showArtifact(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	id := r.PathValue("id")
	unknown := fmt.Errorf("artifact: %w", engine.ErrNotFound)
	job, name, ok := blobs.ParseArtifactID(id)
	if s.opts.Blobs == nil || !ok {
		return unknown
	}
	v, err := s.opts.Engine.Job(r.Context(), job)
	if err != nil {
		return err
	}
	if !p.May(auth.Read, v.Topic) {
		return unknown
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = octets
	}
	return s.serveBlob(w, r, blobs.Artifact(job, name), name, kind)
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
		return fmt.Errorf("open a file: %w", err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			s.opts.Logger.Debug("a file was not closed", "path", r.URL.Path, "error", err)
		}
	}()
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", attachment(name))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	s.opts.Problems.ServeContent(&unhurried{ResponseWriter: w, stall: s.opts.StallTimeout}, r, file.ModTime(), file)
	return nil
}

// attachment is a Content-Disposition with a file's name, in the form of RFC 6266 and, for names
// beyond ASCII, RFC 8187. Path separators and control characters become "_".
func attachment(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '/' || r == '\\' || r == '"' {
			return '_'
		}
		return r
	}, name)
	if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return mime.FormatMediaType("attachment", map[string]string{"filename": name})
	}
	return `attachment; filename="` + name + `"`
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
