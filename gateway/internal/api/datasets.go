package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
)

// A dataset as lists have it: without what makes a manifest large.
type briefDataset struct {
	ID        engine.JobID `json:"id"`
	Name      string       `json:"name,omitempty"`
	Size      int64        `json:"size"`
	SHA256    string       `json:"sha256"`
	MediaType string       `json:"media_type"`
	Format    string       `json:"format"`
	Rows      int64        `json:"rows"`
	Rejected  int64        `json:"rejected"`
	Columns   int          `json:"columns"` // how many
	CreatedAt time.Time    `json:"created_at"`
}

// listDatasets answers with a page of a topic's datasets.
func (s *Server) listDatasets(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	q := r.URL.Query()
	topic, err := readable(q.Get("topic"), p)
	if err != nil {
		return err
	}
	limit := datasets.MaxPage
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > datasets.MaxPage {
			return fmt.Errorf("%w: limit: want 1 to %d", problem.ErrRequest, datasets.MaxPage)
		}
	}
	answer := struct {
		Topic    engine.Topic   `json:"topic"`
		Datasets []briefDataset `json:"datasets"`
		Next     string         `json:"next,omitempty"`
	}{Topic: topic, Datasets: []briefDataset{}}
	if s.opts.Blobs != nil {
		page, err := datasets.List(r.Context(), s.opts.Blobs, topic, q.Get("after"), limit)
		if errors.Is(err, datasets.ErrCursor) {
			return fmt.Errorf("%w: after: want next of an earlier page", problem.ErrRequest)
		}
		if err != nil {
			return err
		}
		answer.Next = page.Next
		for _, m := range page.Datasets {
			answer.Datasets = append(answer.Datasets, briefDataset{
				m.ID, m.Name, m.Size, m.SHA256, m.MediaType, m.Format, m.Rows, m.Rejected, len(m.Columns), m.CreatedAt,
			})
		}
	}
	s.answer(w, http.StatusOK, answer)
	return nil
}

// showDataset answers with a dataset's manifest. To whom may not read its topic there is none.
func (s *Server) showDataset(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	m, err := s.dataset(r, p)
	if err != nil {
		return err
	}
	m.Start, m.MaxRecordBytes = nil, 0 // for readers of its bytes
	s.answer(w, http.StatusOK, m)
	return nil
}

// dataset finds the dataset that a request names for a user who may read its topic. To all others there is
// none.
func (s *Server) dataset(r *http.Request, p *auth.Principal) (*datasets.Manifest, error) {
	topic, err := engine.ParseTopic(r.URL.Query().Get("topic"))
	if err != nil {
		return nil, err
	}
	if s.opts.Blobs == nil || !p.May(auth.Read, topic) {
		return nil, engine.ErrNoDataset
	}
	return datasets.Get(r.Context(), s.opts.Blobs, topic, engine.JobID(r.PathValue("id")))
}

// deleteDataset deletes a dataset, for all readers at once. Its bytes stay while jobs hold them.
func (s *Server) deleteDataset(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	m, err := s.dataset(r, p)
	if err != nil {
		return err
	}
	if !p.May(auth.Control, m.Topic) {
		return problem.ErrForbidden
	}
	switch states, err := s.runtime.States(r.Context(), []engine.JobID{m.ID}); {
	case err != nil:
		return err
	case states[0] != "" && !states[0].Ended(): // its next attempt would write the manifest anew
		return fmt.Errorf("%w: the job that makes the dataset is %s; wait for its end, or cancel it", engine.ErrState, states[0])
	}
	if _, err := datasets.Delete(r.Context(), s.opts.Blobs, s.runtime, m.Topic, m.ID); err != nil && !errors.Is(err, datasets.ErrNotFound) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// findNamed refuses a payload of a job for the topic that names a dataset which the topic does not have. Blobs that
// belong to no topic, which other programs may have put into the store, are named by admins alone.
func (s *Server) findNamed(ctx context.Context, p *auth.Principal, topic engine.Topic, payload json.RawMessage) error {
	named := blobs.NamedBy(topic, payload)
	if named.Foreign && !p.Admin {
		return &problem.Refusal{
			Status: http.StatusForbidden, Code: "forbidden",
			Detail: "payload: its blob is no file that was uploaded for the topic; upload it, or name a dataset",
		}
	}
	if named.Dataset == "" || s.opts.Blobs == nil {
		return nil
	}
	_, err := datasets.Get(ctx, s.opts.Blobs, topic, named.Dataset)
	return err
}
