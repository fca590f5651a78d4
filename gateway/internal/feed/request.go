package feed

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Bounds of a request.
const (
	maxTopics   = 8
	defaultWait = 25 * time.Second
	maxWait     = time.Minute
)

// A request is what a client asks for: a subscription for each topic, whose sid it is.
type request struct {
	subscribes []wire.Message
	wait       time.Duration // of a poll
}

// cursors are those that the client holds.
func (q request) cursors() []wire.Cursor {
	held := make([]wire.Cursor, len(q.subscribes))
	for i, m := range q.subscribes {
		held[i] = m.After
	}
	return held
}

// index is the place of a topic in the request; -1: it has none.
func (q request) index(sid string) int {
	return slices.IndexFunc(q.subscribes, func(m wire.Message) bool { return m.SID == sid })
}

// parse reads a request: of a poll for the topic of its path, or else of events.
func parse(r *http.Request, topic string) (request, error) {
	if r.ContentLength != 0 { // the server would wait for it, and an answer of no end has no bound in time
		return request{}, fmt.Errorf("%w: body: none is taken here", problem.ErrRequest)
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return request{}, fmt.Errorf("%w: the query is malformed", problem.ErrRequest)
	}
	var out request
	topics, after := q["topic"], q["after"]
	takes := append([]string{"after", "limit"}, wire.FilterParameters...)
	if topic == "" {
		takes = append(takes, "topic")
		if held := r.Header.Get("Last-Event-ID"); held != "" {
			after = strings.Split(held, ",") // it is newer than the address, which stays
			if len(after) != len(topics) {
				return request{}, fmt.Errorf("%w: Last-Event-ID: it has %d cursors for %d topics", problem.ErrRequest, len(after), len(topics))
			}
		}
	} else {
		takes, topics = append(takes, "wait"), []string{topic}
		if out.wait, err = waitOf(q); err != nil {
			return request{}, err
		}
	}
	if err := only(q, takes); err != nil {
		return request{}, err
	}
	switch {
	case len(topics) == 0:
		return request{}, fmt.Errorf("%w: topic: it is required", problem.ErrRequest)
	case len(topics) > maxTopics:
		return request{}, fmt.Errorf("%w: topic: it is there %d times: want at most %d", problem.ErrRequest, len(topics), maxTopics)
	case len(after) > 0 && len(after) != len(topics):
		return request{}, fmt.Errorf("%w: after: it is there %d times for %d topics: want one for each, or none", problem.ErrRequest, len(after), len(topics))
	}
	filter, limit, err := selection(q)
	if err != nil {
		return request{}, err
	}
	for i, name := range topics {
		t, err := wire.ParseTopic(name)
		if err != nil {
			return request{}, err
		}
		if out.index(name) >= 0 {
			return request{}, fmt.Errorf("%w: topic %s: it is there twice", problem.ErrRequest, t)
		}
		m := wire.Message{Type: "subscribe", SID: name, Topic: t, Filter: filter, Limit: limit}
		if len(after) > 0 && after[i] != "" {
			if m.After, err = wire.ParseCursor(after[i]); err != nil {
				return request{}, err
			}
		}
		out.subscribes = append(out.subscribes, m)
	}
	return out, nil
}

// only refuses parameters that are not taken, and those that are there twice.
func only(q url.Values, takes []string) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case !slices.Contains(takes, name):
			return fmt.Errorf("%w: query parameter %q: want %s", problem.ErrRequest, excerpt.Of(name, 80), strings.Join(takes, ", "))
		case len(q[name]) > 1 && !slices.Contains([]string{"topic", "after", "label"}, name):
			return fmt.Errorf("%w: query parameter %s: it is there %d times", problem.ErrRequest, name, len(q[name]))
		}
	}
	return nil
}

// selection is what all subscriptions of a request share: the filter, as a message has it, and the most
// live jobs of a snapshot.
func selection(q url.Values) (json.RawMessage, int, error) {
	limit := 0
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > wire.MaxSnapshotLimit {
			return nil, 0, fmt.Errorf("%w: limit: want 1 to %d", problem.ErrRequest, wire.MaxSnapshotLimit)
		}
	}
	filter, err := access.FilterOf(q)
	if err != nil || filter.IsZero() {
		return nil, limit, err
	}
	text, err := json.Marshal(filter)
	return text, limit, err
}

func waitOf(q url.Values) (time.Duration, error) {
	text := q.Get("wait")
	if text == "" {
		return defaultWait, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, fmt.Errorf("%w: wait %q: want a duration such as 25s, 0s to %s", problem.ErrRequest, excerpt.Of(text, 40), maxWait)
	}
	return wait, nil
}
