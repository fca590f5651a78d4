package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

func (s *Server) enqueueJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var body wire.JobRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	topic, err := engine.ParseTopic(string(body.Topic))
	if err != nil {
		return err
	}
	if !p.May(auth.Enqueue, topic) {
		return problem.ErrForbidden
	}
	spec, err := body.Spec()
	if err != nil {
		return err
	}
	if err := s.opts.Allowed.Fit(p, &spec, len(body.Payload)); err != nil {
		return err
	}
	if err := s.findNamed(r.Context(), p, topic, body.Payload); err != nil {
		return err
	}
	got, err := s.opts.Engine.Enqueue(r.Context(), spec)
	return s.answerMade(w, got, err)
}

// answerMade answers with a job that a request has made, or found made.
func (s *Server) answerMade(w http.ResponseWriter, got engine.Enqueued, err error) error {
	unreplicated := errors.Is(err, engine.ErrUnreplicated)
	if err != nil && !unreplicated {
		return err
	}
	status := http.StatusCreated
	if got.Existing {
		status = http.StatusOK
	}
	w.Header().Set("Location", "/v1/jobs/"+string(got.ID))
	s.answer(w, status, wire.EnqueueAnswer{Enqueued: got, Unreplicated: unreplicated})
	return nil
}

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	q := r.URL.Query()
	topic, err := readable(q.Get("topic"), p)
	if err != nil {
		return err
	}
	query := engine.JobsQuery{After: q.Get("after")}
	if query.Filter, err = access.FilterOf(q); err != nil {
		return err
	}
	if text := q.Get("limit"); text != "" {
		if query.Limit, err = strconv.Atoi(text); err != nil || query.Limit < 1 {
			return fmt.Errorf("%w: limit: want 1 to 500", problem.ErrRequest)
		}
	}
	page, err := s.opts.Engine.Jobs(r.Context(), topic, query)
	if err != nil {
		return err
	}
	page.Jobs = listed(page.Jobs)
	s.answer(w, http.StatusOK, wire.JobsAnswer{Topic: topic, JobsPage: page, Queues: s.queuesOfViews(r.Context(), p, page.Jobs...)})
	return nil
}

func (s *Server) showJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	v, err := s.visible(r, p)
	if err != nil {
		return err
	}
	s.answerJob(r.Context(), w, http.StatusOK, p, v)
	return nil
}

// visible reads the job that the path names. To whom may not read its topic there is
// none.
func (s *Server) visible(r *http.Request, p *auth.Principal) (engine.View, error) {
	v, err := s.opts.Engine.Job(r.Context(), engine.JobID(r.PathValue("id")))
	if err == nil && !p.May(auth.Read, v.Topic) {
		err = engine.ErrNotFound
	}
	return v, err
}

// readable checks a topic that a request names.
func readable(s string, p *auth.Principal) (engine.Topic, error) {
	topic, err := engine.ParseTopic(s)
	if err == nil && !p.May(auth.Read, topic) {
		err = problem.ErrForbidden
	}
	return topic, err
}

// listed has no jobs encode as an empty list.
func listed(jobs []engine.View) []engine.View {
	if jobs == nil {
		return []engine.View{}
	}
	return jobs
}

func (s *Server) answerJob(ctx context.Context, w http.ResponseWriter, status int, p *auth.Principal, v engine.View) {
	s.answer(w, status, wire.JobAnswer{Topic: v.Topic, Job: v, Queues: s.queuesOfViews(ctx, p, v)})
}
