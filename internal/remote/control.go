package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tidemark-dev/tidemark/engine"
)

// Cancel asks a job to stop, as engine.Engine does. Errors to branch on:
// engine.ErrInvalidJobID, engine.ErrNotFound, engine.ErrEnded, ErrRefused,
// engine.ErrUnreachable.
func (c *Client) Cancel(ctx context.Context, id engine.JobID) error {
	return c.control(ctx, id, "cancel")
}

// Pause asks a job to rest until Resume, as engine.Engine does. Errors to branch on:
// those of Cancel, and engine.ErrState for a job that is being canceled or is adopted.
func (c *Client) Pause(ctx context.Context, id engine.JobID) error {
	return c.control(ctx, id, "pause")
}

// Resume lets a paused job go on, as engine.Engine does. Errors to branch on: those of
// Cancel.
func (c *Client) Resume(ctx context.Context, id engine.JobID) error {
	return c.control(ctx, id, "resume")
}

func (c *Client) control(ctx context.Context, id engine.JobID, verb string) error {
	if _, err := engine.ParseJobID(string(id)); err != nil {
		return err
	}
	var answer struct{}
	if err := c.call(ctx, http.MethodPost, "/v1/jobs/"+string(id)+"/"+verb, nil, &answer); err != nil {
		return fmt.Errorf("%s %w", verb, aboutJob(id, err))
	}
	return nil
}

// Retry tries an ended job again, as engine.Engine does. Errors to branch on: those of
// Cancel but engine.ErrEnded; engine.ErrState for a job that has not ended or is adopted,
// engine.ErrInvalid for one whose input never arrived, engine.ErrOutOfMemory, and
// engine.ErrUnreplicated, with which the new job stands and is returned.
func (c *Client) Retry(ctx context.Context, id engine.JobID, q engine.RetryQuery) (engine.Enqueued, error) {
	if _, err := engine.ParseJobID(string(id)); err != nil {
		return engine.Enqueued{}, err
	}
	made, err := c.make(ctx, "/v1/jobs/"+string(id)+"/retry", q)
	if err != nil && !errors.Is(err, engine.ErrInvalid) { // which says what was attempted, on which job
		err = fmt.Errorf("retry %w", aboutJob(id, err))
	}
	return made, err
}

// aboutJob gives the errors of requests about one job the words that the engine has.
func aboutJob(id engine.JobID, err error) error {
	for _, kind := range []error{engine.ErrNotFound, engine.ErrEnded} {
		if errors.Is(err, kind) {
			return fmt.Errorf("job %s: %w", id, kind)
		}
	}
	return fmt.Errorf("job %s: %w", id, err)
}
