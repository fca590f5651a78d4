package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// showSnapshot answers with a part of a snapshot. What goes on with the next one is in the
// address that asks for it, so that a client costs nothing between two requests.
func (s *Server) showSnapshot(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	topic, err := readable(r.PathValue("topic"), p)
	if err != nil {
		return err
	}
	at, err := pagingOf(r.URL.Query())
	if err != nil {
		return err
	}
	jobs, final, err := s.stream.SnapshotPart(r.Context(), topic, &at)
	if err != nil {
		return err
	}
	body := wire.SnapshotAnswer{Topic: topic, Jobs: listed(jobs)}
	if final {
		body.Cursor, body.More = at.Cursor(), at.More()
	} else {
		body.Next = at.String()
	}
	s.answer(w, http.StatusOK, body)
	return nil
}

// pagingOf reads which part of a snapshot a request asks for.
func pagingOf(q url.Values) (stream.Paging, error) {
	if next := q.Get("page"); next != "" {
		if len(q) > 1 {
			return stream.Paging{}, fmt.Errorf("%w: page: it goes without other parameters, which it knows", problem.ErrRequest)
		}
		return stream.ParsePaging(next)
	}
	limit := 0
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return stream.Paging{}, fmt.Errorf("%w: limit: want 1 to %d", problem.ErrRequest, engine.MaxSnapshotLimit)
		}
	}
	filter, err := access.FilterOf(q)
	if err != nil {
		return stream.Paging{}, err
	}
	return stream.NewPaging(engine.Cursor(q.Get("after")), limit, filter)
}
