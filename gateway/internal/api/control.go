package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// controlJob makes the handler of a request that asks something of a job. It answers
// with the job as it is then, which may not have done yet what it was asked.
func (s *Server) controlJob(ask func(context.Context, engine.JobID) error) access.Handler {
	return func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
		v, err := s.permitted(r, p, auth.Control)
		if err != nil {
			return err
		}
		if err := ask(r.Context(), v.ID); err != nil && !errors.Is(err, engine.ErrUnreplicated) {
			return err
		}
		if v, err = s.visible(r, p); err != nil {
			return err
		}
		s.answerJob(r.Context(), w, http.StatusAccepted, p, v)
		return nil
	}
}

func (s *Server) retryJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	v, err := s.permitted(r, p, auth.Enqueue)
	if err != nil {
		return err
	}
	job, err := v.Job()
	if err != nil {
		return err
	}
	if err := s.opts.Allowed.MayRetry(p, job.Type, job.Queue); err != nil {
		return err
	}
	var body engine.RetryQuery
	if r.ContentLength != 0 { // it may be left out
		if err := readJSON(w, r, &body); err != nil {
			return err
		}
	}
	got, err := s.opts.Engine.Retry(r.Context(), v.ID, body)
	return s.answerMade(w, got, err)
}

// removeJob removes an ended job, and with it the files of it that this gateway keeps.
func (s *Server) removeJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	v, err := s.permitted(r, p, auth.Control)
	if err != nil {
		return err
	}
	if err := s.opts.Engine.Remove(r.Context(), v.ID); err != nil && !errors.Is(err, engine.ErrUnreplicated) {
		return err
	}
	s.opts.Clean(r.Context())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// permitted is visible for a request that needs a right beside reading.
func (s *Server) permitted(r *http.Request, p *auth.Principal, right auth.Rights) (engine.View, error) {
	v, err := s.visible(r, p)
	if err == nil && !p.May(right, v.Topic) {
		err = problem.ErrForbidden
	}
	return v, err
}
