package api

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"time"

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
	file, err := s.opts.Blobs.NewReader(r.Context(), blobs.Artifact(job, name), nil)
	if err != nil {
		if gcerrors.Code(err) == gcerrors.NotFound {
			return unknown
		}
		return fmt.Errorf("open artifact %s: %w", id, err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			s.opts.Logger.Debug("an artifact was not closed", "artifact", id, "error", err)
		}
	}()
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	s.opts.Problems.ServeContent(&unhurried{ResponseWriter: w, stall: s.opts.StallTimeout}, r, file.ModTime(), file)
	return nil
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
