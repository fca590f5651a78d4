package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
)

// startDownload begins a watched download of an artifact. Its records go to all who follow the topic of
// the artifact's job; only its user may use it.
func (s *Server) startDownload(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	m, err := s.artifact(r, p)
	if err != nil {
		return err
	}
	if err := kept(m); err != nil {
		return err
	}
	var until time.Time
	if m.ExpiresAt != nil {
		until = *m.ExpiresAt
	}
	d, err := s.runtime.BeginDownload(r.Context(), m.Topic, m.Artifact, p.Subject, until, s.opts.DownloadLease)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/downloads/"+d.ID)
	s.answer(w, http.StatusCreated, wire.DownloadAnswer{Download: d, URL: "/v1/artifacts/" + d.Artifact + "?download=" + d.ID})
	return nil
}

// listDownloads answers with the user's downloads that are running, newest first.
func (s *Server) listDownloads(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	all, err := s.runtime.Downloads(r.Context(), p.Subject)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(d engine.Download) bool { return !p.May(auth.Read, d.Topic) })
	slices.SortFunc(all, func(a, b engine.Download) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	s.answer(w, http.StatusOK, wire.DownloadsAnswer{Downloads: all})
	return nil
}

func (s *Server) showDownload(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	d, err := s.ownDownload(r.Context(), r.PathValue("id"), p)
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, d)
	return nil
}

// cancelDownload aborts a download. Gateways that write its bytes notice, and stop.
func (s *Server) cancelDownload(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	d, err := s.ownDownload(r.Context(), r.PathValue("id"), p)
	if err != nil {
		return err
	}
	if d, err = s.runtime.AbortDownload(r.Context(), d.ID, engine.ReasonCanceled); err != nil {
		return err
	}
	if d.Reason != engine.ReasonCanceled {
		return &problem.Refusal{Status: http.StatusConflict, Code: "ended", Detail: "the download has ended"}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ownDownload finds a download of the user's, who may still read its topic. Any other is as unknown as one
// that never was.
func (s *Server) ownDownload(ctx context.Context, id string, p *auth.Principal) (engine.Download, error) {
	d, err := s.runtime.Download(ctx, id, p.Subject)
	if err == nil && !p.May(auth.Read, d.Topic) {
		err = engine.ErrNotFound
	}
	if errors.Is(err, engine.ErrNotFound) {
		err = &problem.Refusal{Status: http.StatusNotFound, Code: "not_found", Detail: "there is no such download"}
	}
	return d, err
}

// watched finds the download that a request for an artifact names, and returns what counts its bytes; nil
// where there is nothing to count.
func (s *Server) watched(r *http.Request, p *auth.Principal, m *artifacts.Manifest) (*watch, error) {
	id := r.URL.Query().Get("download")
	if id == "" {
		if r.URL.Query().Has("download") {
			return nil, fmt.Errorf("%w: download: it is empty; want the ID of a watched download", problem.ErrRequest)
		}
		return nil, nil
	}
	d, err := s.ownDownload(r.Context(), id, p)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Artifact != m.ID:
		return nil, &problem.Refusal{Status: http.StatusNotFound, Code: "not_found", Detail: "there is no such download"}
	case d.Reason == engine.ReasonCanceled:
		return nil, &problem.Refusal{Status: http.StatusConflict, Code: "ended", Detail: "the download was canceled; begin another one"}
	case kept(m) != nil:
		reason := engine.ReasonExpired
		if m.GoneAt(time.Now()) == artifacts.OverQuota {
			reason = engine.ReasonQuota
		}
		_, err := s.runtime.AbortDownload(r.Context(), d.ID, reason)
		return nil, err
	case d.State != engine.DownloadStateRunning || r.Method != http.MethodGet:
		return nil, nil
	}
	return newWatch(s, d), nil
}

// looksALease is how often Run looks for lapsed downloads while a lease lasts.
const looksALease = 4

// Run ends watched downloads whose lease is over, until stopping is closed, and reports what could not be
// reported when it was written.
func (s *Server) Run(stopping <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ticker := time.NewTicker(s.opts.DownloadLease / looksALease)
	defer ticker.Stop()
	// Redis has answered this many looks in a row. While it was away nobody could renew a lease, so for
	// as long as a lease none counts as over.
	answered := 0
	for {
		select {
		case <-stopping:
			return
		case <-ticker.C:
		}
		if err := s.look(ctx, answered > looksALease); err != nil {
			answered = 0
			s.opts.Logger.Debug("watched downloads are looked at later", "error", err)
			continue
		}
		answered++
	}
}

func (s *Server) look(ctx context.Context, lapse bool) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := s.late.report(ctx, s); err != nil {
		return err
	}
	if !lapse {
		return s.runtime.PingDownloads(ctx)
	}
	return s.runtime.LapseDownloads(ctx)
}
