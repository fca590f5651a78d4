package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Cancel asks a job to stop, as package engine does. Errors to branch on:
// wire.ErrInvalidJobID, wire.ErrNotFound, wire.ErrEnded, ErrRefused,
// wire.ErrUnreachable.
func (c *Client) Cancel(ctx context.Context, id wire.JobID) error {
	return c.control(ctx, id, "cancel")
}

// Pause asks a job to rest until Resume, as package engine does. Errors to branch on:
// those of Cancel, and wire.ErrState for a job that is being canceled or is adopted.
func (c *Client) Pause(ctx context.Context, id wire.JobID) error {
	return c.control(ctx, id, "pause")
}

// Resume lets a paused job go on, as package engine does. Errors to branch on: those of
// Cancel.
func (c *Client) Resume(ctx context.Context, id wire.JobID) error {
	return c.control(ctx, id, "resume")
}

// Remove deletes an ended job and its children, as package engine does, and the files of it that the
// gateway keeps. Errors to branch on: those of Cancel but wire.ErrEnded; wire.ErrNotFound also once
// the job is removed; wire.ErrState for a job that has not ended, or whose family needs it.
func (c *Client) Remove(ctx context.Context, id wire.JobID) error {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return err
	}
	if err := c.call(ctx, http.MethodDelete, "/v1/jobs/"+string(id), nil, nil); err != nil {
		return fmt.Errorf("remove %w", aboutJob(id, err))
	}
	return nil
}

// Kick revokes all credentials of a subject that were issued until now, on all gateways, and returns when that was. It is
// for admins. Errors to branch on: wire.ErrInvalid, wire.ErrState where the gateway's mode of authentication gives no
// credentials, ErrRefused, wire.ErrUnreachable.
func (c *Client) Kick(ctx context.Context, subject string) (wire.Kicked, error) {
	var answer wire.Kicked
	if err := c.call(ctx, http.MethodPost, "/v1/kick", map[string]string{"subject": subject}, &answer); err != nil {
		return wire.Kicked{}, fmt.Errorf("kick: %w", err)
	}
	return answer, nil
}

func (c *Client) control(ctx context.Context, id wire.JobID, verb string) error {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return err
	}
	var answer struct{}
	if err := c.call(ctx, http.MethodPost, "/v1/jobs/"+string(id)+"/"+verb, nil, &answer); err != nil {
		return fmt.Errorf("%s %w", verb, aboutJob(id, err))
	}
	return nil
}

// Retry tries an ended job again, as package engine does. Errors to branch on: those of
// Cancel but wire.ErrEnded; wire.ErrState for a job that has not ended or is adopted,
// wire.ErrInvalid for one whose input never arrived, wire.ErrOutOfMemory, and
// wire.ErrUnreplicated, with which the new job stands and is returned.
func (c *Client) Retry(ctx context.Context, id wire.JobID, q wire.RetryQuery) (wire.Enqueued, error) {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return wire.Enqueued{}, err
	}
	made, err := c.make(ctx, "/v1/jobs/"+string(id)+"/retry", q)
	if err != nil && !errors.Is(err, wire.ErrInvalid) { // which says what was attempted, on which job
		err = fmt.Errorf("retry %w", aboutJob(id, err))
	}
	return made, err
}

// aboutJob gives the errors of requests about one job the words that the engine has.
func aboutJob(id wire.JobID, err error) error {
	for _, kind := range []error{wire.ErrNotFound, wire.ErrEnded} {
		if errors.Is(err, kind) {
			return fmt.Errorf("job %s: %w", id, kind)
		}
	}
	return fmt.Errorf("job %s: %w", id, err)
}
