package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// A jobRequest is the body of POST /v1/jobs; engine.Spec has the bounds.
type jobRequest struct {
	Topic       string            `json:"topic"`
	Type        string            `json:"type"`
	Payload     json.RawMessage   `json:"payload"`
	Title       string            `json:"title"`
	Labels      map[string]string `json:"labels"`
	Key         string            `json:"key"`
	KeyLife     engine.KeyLife    `json:"key_life"`
	Queue       string            `json:"queue"`
	DelayMS     int64             `json:"delay_ms"`
	Deadline    time.Time         `json:"deadline"`
	MaxAttempts int               `json:"max_attempts"`
}

func (j jobRequest) spec() (engine.Spec, error) {
	const year = 365 * 24 * time.Hour
	if j.DelayMS < 0 || j.DelayMS > year.Milliseconds() {
		return engine.Spec{}, fmt.Errorf("%w: delay_ms %d: want 0 to %d", problem.ErrRequest, j.DelayMS, year.Milliseconds())
	}
	s := engine.Spec{
		Topic: engine.Topic(j.Topic), Type: j.Type, Title: j.Title, Labels: j.Labels, Key: j.Key, KeyLife: j.KeyLife, Queue: j.Queue,
		Delay: time.Duration(j.DelayMS) * time.Millisecond, Deadline: j.Deadline, MaxAttempts: j.MaxAttempts,
	}
	if len(j.Payload) > 0 {
		s.Payload = j.Payload
	}
	return s, nil
}

func (s *Server) enqueueJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var body jobRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	topic, err := engine.ParseTopic(body.Topic)
	if err != nil {
		return err
	}
	if !p.May(auth.Enqueue, topic) {
		return problem.ErrForbidden
	}
	spec, err := body.spec()
	if err != nil {
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
	s.answer(w, status, struct {
		ID           engine.JobID `json:"id"`
		Topic        engine.Topic `json:"topic"`
		Existing     bool         `json:"existing"`
		Unreplicated bool         `json:"unreplicated,omitempty"`
	}{got.ID, got.Topic, got.Existing, unreplicated})
	return nil
}

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	q := r.URL.Query()
	topic, err := readable(q.Get("topic"), p)
	if err != nil {
		return err
	}
	query := engine.JobsQuery{After: q.Get("after")}
	if query.Filter, err = filterOf(q); err != nil {
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
	s.answer(w, http.StatusOK, struct {
		Topic engine.Topic      `json:"topic"`
		Jobs  []json.RawMessage `json:"jobs"`
		Next  string            `json:"next,omitempty"`
	}{topic, bare(page.Jobs), page.Next})
	return nil
}

// filterOf reads the filter among other parameters of a query.
func filterOf(q url.Values) (engine.Filter, error) {
	own := url.Values{}
	for _, name := range wire.FilterParameters {
		if values, there := q[name]; there {
			own[name] = values
		}
	}
	return wire.ParseFilter(own)
}

func (s *Server) showJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	v, err := s.visible(r, p)
	if err != nil {
		return err
	}
	s.answerJob(w, http.StatusOK, v)
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

func bare(views []engine.View) []json.RawMessage {
	jobs := make([]json.RawMessage, len(views))
	for i, v := range views {
		jobs[i] = v.JSON
	}
	return jobs
}

func (s *Server) answerJob(w http.ResponseWriter, status int, v engine.View) {
	s.answer(w, status, struct {
		Topic engine.Topic    `json:"topic"`
		Job   json.RawMessage `json:"job"`
	}{v.Topic, v.JSON})
}
