package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

// maxBodyBytes bounds the body of a request: a payload, and all else that a job has.
const maxBodyBytes = engine.MaxPayloadBytes + 64<<10

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
		return engine.Spec{}, fmt.Errorf("%w: delay_ms %d: want 0 to %d", errRequest, j.DelayMS, year.Milliseconds())
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

func (g *Gateway) enqueueJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var body jobRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	topic, err := engine.ParseTopic(body.Topic)
	if err != nil {
		return err
	}
	if !p.May(auth.Enqueue, topic) {
		return errForbidden
	}
	spec, err := body.spec()
	if err != nil {
		return err
	}
	got, err := g.opts.Engine.Enqueue(r.Context(), spec)
	return g.answerMade(w, got, err)
}

// answerMade answers with a job that a request has made, or found made.
func (g *Gateway) answerMade(w http.ResponseWriter, got engine.Enqueued, err error) error {
	unreplicated := errors.Is(err, engine.ErrUnreplicated)
	if err != nil && !unreplicated {
		return err
	}
	status := http.StatusCreated
	if got.Existing {
		status = http.StatusOK
	}
	w.Header().Set("Location", "/v1/jobs/"+string(got.ID))
	g.answer(w, status, struct {
		ID           engine.JobID `json:"id"`
		Topic        engine.Topic `json:"topic"`
		Existing     bool         `json:"existing"`
		Unreplicated bool         `json:"unreplicated,omitempty"`
	}{got.ID, got.Topic, got.Existing, unreplicated})
	return nil
}

func (g *Gateway) listJobs(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	q := r.URL.Query()
	topic, err := readable(q.Get("topic"), p)
	if err != nil {
		return err
	}
	query := engine.JobsQuery{After: q.Get("after")}
	if text := q.Get("limit"); text != "" {
		if query.Limit, err = strconv.Atoi(text); err != nil || query.Limit < 1 {
			return fmt.Errorf("%w: limit: want 1 to 500", errRequest)
		}
	}
	page, err := g.opts.Engine.Jobs(r.Context(), topic, query)
	if err != nil {
		return err
	}
	g.answer(w, http.StatusOK, struct {
		Topic engine.Topic      `json:"topic"`
		Jobs  []json.RawMessage `json:"jobs"`
		Next  string            `json:"next,omitempty"`
	}{topic, bare(page.Jobs), page.Next})
	return nil
}

func (g *Gateway) showJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	v, err := g.visible(r, p)
	if err != nil {
		return err
	}
	g.answerJob(w, http.StatusOK, v)
	return nil
}

// showSnapshot answers with a part of a snapshot. What goes on with the next one is in the
// address that asks for it, so that a client costs nothing between two requests.
func (g *Gateway) showSnapshot(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	topic, err := readable(r.PathValue("topic"), p)
	if err != nil {
		return err
	}
	at, err := pagingOf(r.URL.Query())
	if err != nil {
		return err
	}
	jobs, final, err := g.opts.Engine.SnapshotPart(r.Context(), topic, &at)
	if err != nil {
		return err
	}
	body := struct {
		Topic  engine.Topic      `json:"topic"`
		Cursor engine.Cursor     `json:"cursor,omitempty"`
		More   string            `json:"more,omitempty"`
		Jobs   []json.RawMessage `json:"jobs"`
		Next   string            `json:"next,omitempty"`
	}{Topic: topic, Jobs: bare(jobs)}
	if final {
		body.Cursor, body.More = at.Cursor(), at.More()
	} else {
		body.Next = at.String()
	}
	g.answer(w, http.StatusOK, body)
	return nil
}

// pagingOf reads which part of a snapshot a request asks for.
func pagingOf(q url.Values) (engine.Paging, error) {
	if next := q.Get("page"); next != "" {
		if q.Has("after") || q.Has("limit") {
			return engine.Paging{}, fmt.Errorf("%w: page: it goes without after and limit, which it knows", errRequest)
		}
		return engine.ParsePaging(next)
	}
	limit := 0
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return engine.Paging{}, fmt.Errorf("%w: limit: want 1 to %d", errRequest, engine.MaxSnapshotLimit)
		}
	}
	return engine.NewPaging(engine.Cursor(q.Get("after")), limit)
}

// visible reads the job that the path names. To whom may not read its topic there is
// none.
func (g *Gateway) visible(r *http.Request, p *auth.Principal) (engine.View, error) {
	v, err := g.opts.Engine.Job(r.Context(), engine.JobID(r.PathValue("id")))
	if err == nil && !p.May(auth.Read, v.Topic) {
		err = engine.ErrNotFound
	}
	return v, err
}

// readable checks a topic that a request names.
func readable(s string, p *auth.Principal) (engine.Topic, error) {
	topic, err := engine.ParseTopic(s)
	if err == nil && !p.May(auth.Read, topic) {
		err = errForbidden
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

func (g *Gateway) answerJob(w http.ResponseWriter, status int, v engine.View) {
	g.answer(w, status, struct {
		Topic engine.Topic    `json:"topic"`
		Job   json.RawMessage `json:"job"`
	}{v.Topic, v.JSON})
}

func (g *Gateway) answer(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		g.opts.Logger.Error("answer cannot be encoded", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	// Nobody is left to tell when the client has gone.
	_, _ = w.Write(append(b, '\n'))
}

// readJSON takes a body of one JSON value. A field that the request does not have is
// an error: it is more often a slip than a newer client.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fmt.Errorf("%w: want Content-Type application/json", errRequest)
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return err
		}
		if name := jsonerr.UnknownField(err); name != "" {
			return fmt.Errorf("%w: body: unknown field %q", errRequest, name)
		}
		return fmt.Errorf("%w: body: %s", errRequest, jsonerr.Why(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: body: want one JSON object", errRequest)
	}
	return nil
}
