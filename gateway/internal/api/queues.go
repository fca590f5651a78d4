package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// listQueues answers with the queues of jobs that the request names, or, to an admin, with all. A
// job that the user may not read is left out like one that does not exist: names of queues are for
// those whose jobs wait there.
func (s *Server) listQueues(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	named, some := r.URL.Query()["job"]
	if !some {
		if !p.Admin {
			return problem.ErrForbidden
		}
		all, err := s.opts.Engine.Queues(r.Context())
		if err != nil {
			return err
		}
		s.answer(w, http.StatusOK, wire.QueuesAnswer{Queues: all})
		return nil
	}
	if len(named) > engine.MaxQueueJobs {
		return fmt.Errorf("%w: job: %d of them, at most %d; name one of each queue", problem.ErrRequest, len(named), engine.MaxQueueJobs)
	}
	var views []engine.View
	for _, id := range named {
		v, err := s.opts.Engine.Job(r.Context(), engine.JobID(id))
		switch {
		case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrInvalidJobID), err == nil && !p.May(auth.Read, v.Topic):
			continue
		case err != nil:
			return err
		}
		views = append(views, v)
	}
	queues, err := s.queuesOf(r.Context(), p, views)
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, wire.QueuesAnswer{Queues: queues})
	return nil
}

// queuesOf are the queues in which jobs wait, as the user may see them.
func (s *Server) queuesOf(ctx context.Context, p *auth.Principal, views []engine.View) ([]engine.Queue, error) {
	ids, types := make([]engine.JobID, len(views)), make([]string, len(views))
	for i, v := range views {
		j, err := v.Job()
		if err != nil {
			return nil, err
		}
		ids[i], types[i] = v.ID, j.Type
	}
	queues, err := s.opts.Engine.QueuesOf(ctx, ids...)
	if p.Admin || err != nil {
		return queues, err
	}
	for i, q := range queues {
		queues[i].Counts = nil
		queues[i].Types = slices.DeleteFunc(slices.Clone(q.Types), func(t string) bool { return !slices.Contains(types, t) })
	}
	return queues, nil
}

// queuesOfViews are queuesOf for an answer that is about jobs, which does not fail for want of
// them.
func (s *Server) queuesOfViews(ctx context.Context, p *auth.Principal, views ...engine.View) []engine.Queue {
	jobs := make([]engine.Job, 0, len(views))
	for _, v := range views {
		var waits struct { // as much of a job as it takes
			State     engine.State `json:"state"`
			Canceling bool         `json:"canceling"`
			Queue     string       `json:"queue"`
			Adopted   bool         `json:"adopted"`
		}
		if err := json.Unmarshal(v.JSON, &waits); err == nil {
			jobs = append(jobs, engine.Job{ID: v.ID, State: waits.State, Canceling: waits.Canceling, Queue: waits.Queue, Adopted: waits.Adopted})
		}
	}
	first := wire.FirstOfQueues(jobs)
	if len(first) == 0 {
		return nil
	}
	named := slices.DeleteFunc(slices.Clone(views), func(v engine.View) bool { return !slices.Contains(first, v.ID) })
	queues, err := s.queuesOf(ctx, p, named)
	if err != nil {
		s.opts.Logger.Debug("an answer about jobs lacks their queues", "error", err)
	}
	return queues
}
