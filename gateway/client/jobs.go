package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Enqueue makes a job, as package engine does. Errors to branch on: wire.ErrInvalid,
// wire.ErrInvalidTopic, ErrRefused, wire.ErrUnreachable, after which it may or may
// not have been made, wire.ErrOutOfMemory, and wire.ErrUnreplicated, with which
// the job stands and is returned.
func (c *Client) Enqueue(ctx context.Context, s wire.Spec) (wire.Enqueued, error) {
	body, err := wire.NewJobRequest(s)
	if err != nil {
		return wire.Enqueued{}, fmt.Errorf("enqueue %s for %s: %w", s.Type, s.Topic, err)
	}
	e, err := c.make(ctx, "/v1/jobs", body)
	if err != nil {
		err = fmt.Errorf("enqueue %s for %s: %w", s.Type, s.Topic, err)
	}
	return e, err
}

// make sends a request that makes a job. With wire.ErrUnreplicated the job stands.
func (c *Client) make(ctx context.Context, path string, body any) (wire.Enqueued, error) {
	var made wire.EnqueueAnswer
	if err := c.call(ctx, http.MethodPost, path, body, &made); err != nil {
		return wire.Enqueued{}, err
	}
	if made.Unreplicated {
		return made.Enqueued, wire.ErrUnreplicated
	}
	return made.Enqueued, nil
}

// Job reads a job's view. Its error wraps wire.ErrInvalidJobID, wire.ErrNotFound,
// ErrRefused or wire.ErrUnreachable.
func (c *Client) Job(ctx context.Context, id wire.JobID) (wire.View, error) {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return wire.View{}, err
	}
	var answer wire.JobAnswer
	if err := c.call(ctx, http.MethodGet, "/v1/jobs/"+string(id), nil, &answer); err != nil {
		return wire.View{}, aboutJob(id, err)
	}
	return wire.View{ID: id, Topic: answer.Topic, JSON: answer.Job.JSON}, nil
}

// Jobs lists a topic's jobs, as package engine does. Errors to branch on:
// wire.ErrInvalidTopic, wire.ErrInvalid, ErrRefused, wire.ErrUnreachable.
func (c *Client) Jobs(ctx context.Context, topic wire.Topic, q wire.JobsQuery) (wire.JobsPage, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return wire.JobsPage{}, err
	}
	if err := q.Filter.Validate(); err != nil {
		return wire.JobsPage{}, err
	}
	query := q.Filter.Values()
	query.Set("topic", string(topic))
	if q.After != "" {
		query.Set("after", q.After)
	}
	if q.Limit != 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	var answer wire.JobsAnswer
	if err := c.call(ctx, http.MethodGet, "/v1/jobs?"+query.Encode(), nil, &answer); err != nil {
		return wire.JobsPage{}, fmt.Errorf("list jobs of %s: %w", topic, err)
	}
	return wire.JobsPage{Jobs: within(topic, answer.Jobs), Next: answer.Next}, nil
}

// Artifact reads what a job has left, by its ID, "<job>.<name>". It is of at most
// mostBytes, or the error wraps wire.ErrInvalid; otherwise of those that Job has.
func (c *Client) Artifact(ctx context.Context, id string, mostBytes int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errTook)
	defer cancel()
	r, err := c.request(ctx, http.MethodGet, c.ArtifactURL(id), nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.send(r)
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", id, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, mostBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", id, c.unreachable(ctx, err))
	}
	if int64(len(b)) > mostBytes {
		return nil, fmt.Errorf("%w artifact %s: it has more than %d bytes", wire.ErrInvalid, id, mostBytes)
	}
	return b, nil
}

// ArtifactURL is where an artifact can be read.
func (c *Client) ArtifactURL(id string) string { return c.at("/v1/artifacts/" + url.PathEscape(id)) }

// within gives views the topic that their JSON does not have.
func within(topic wire.Topic, views []wire.View) []wire.View {
	for i := range views {
		views[i].Topic = topic
	}
	return views
}
