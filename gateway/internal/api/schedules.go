package api

import (
	"encoding/json"
	"net/http"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// A scheduleRequest is the body of PUT /v1/topics/{topic}/schedules/{name};
// engine.Schedule has the bounds.
type scheduleRequest struct {
	Cron        string            `json:"cron"`
	TimeZone    string            `json:"time_zone"`
	Missed      string            `json:"missed"`
	Type        string            `json:"type"`
	Payload     json.RawMessage   `json:"payload"`
	Title       string            `json:"title"`
	Labels      map[string]string `json:"labels"`
	Queue       string            `json:"queue"`
	MaxAttempts int               `json:"max_attempts"`
}

func (s *Server) listSchedules(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	topic, err := readable(r.PathValue("topic"), p)
	if err != nil {
		return err
	}
	all, err := s.opts.Engine.Schedules(r.Context(), topic)
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, wire.SchedulesAnswer{Topic: topic, Schedules: all})
	return nil
}

func (s *Server) putSchedule(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	topic, err := engine.ParseTopic(r.PathValue("topic"))
	if err != nil {
		return err
	}
	if !p.May(auth.Enqueue, topic) {
		return problem.ErrForbidden
	}
	var body scheduleRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	schedule := engine.Schedule{
		Topic: topic, Name: r.PathValue("name"), Cron: body.Cron, TimeZone: body.TimeZone, Missed: engine.MissedPolicy(body.Missed),
		Type: body.Type, Payload: body.Payload, Title: body.Title, Labels: body.Labels, Queue: body.Queue, MaxAttempts: body.MaxAttempts,
	}
	if err := schedule.Validate(); err != nil {
		return err
	}
	spec := engine.Spec{Type: body.Type, Queue: body.Queue, MaxAttempts: body.MaxAttempts}
	if err := s.opts.Allowed.Fit(p, &spec, len(body.Payload)); err != nil {
		return err
	}
	schedule.Queue, schedule.MaxAttempts = spec.Queue, spec.MaxAttempts
	if err := s.findNamed(r.Context(), p, topic, body.Payload); err != nil {
		return err
	}
	made, created, err := s.opts.Engine.PutSchedule(r.Context(), schedule)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	s.answer(w, status, wire.ScheduleAnswer{Topic: topic, Schedule: made})
	return nil
}

// deleteSchedule is for users who may make jobs for the topic, as the schedule does, and for users who
// may stop them.
func (s *Server) deleteSchedule(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	topic, err := engine.ParseTopic(r.PathValue("topic"))
	if err != nil {
		return err
	}
	if !p.May(auth.Enqueue, topic) && !p.May(auth.Control, topic) {
		return problem.ErrForbidden
	}
	if err := s.opts.Engine.DeleteSchedule(r.Context(), topic, r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
