package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Queues lists all queues, as package engine does; it is for admins. Errors to branch on:
// ErrRefused, wire.ErrUnreachable.
func (c *Client) Queues(ctx context.Context) ([]wire.Queue, error) {
	return c.queues(ctx, nil)
}

// QueuesOf returns the queues in which jobs wait, each once, as package engine does. A user who is
// no admin gets no counts, and of the types those of the jobs. Errors to branch on: ErrRefused,
// wire.ErrUnreachable.
func (c *Client) QueuesOf(ctx context.Context, jobs ...wire.JobID) ([]wire.Queue, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	query := url.Values{}
	for _, id := range jobs {
		query.Add("job", string(id))
	}
	return c.queues(ctx, query)
}

func (c *Client) queues(ctx context.Context, query url.Values) ([]wire.Queue, error) {
	path := "/v1/queues"
	if query != nil {
		path += "?" + query.Encode()
	}
	var answer wire.QueuesAnswer
	if err := c.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return answer.Queues, nil
}
