package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// DeleteDataset deletes a topic's dataset. Jobs that name it go on with it, and can be tried again. Errors to branch on:
// wire.ErrNoDataset, wire.ErrState while the job that makes the dataset has not ended, ErrRefused,
// wire.ErrUnreachable.
func (c *Client) DeleteDataset(ctx context.Context, topic wire.Topic, id wire.JobID) error {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return err
	}
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return err
	}
	err := c.call(ctx, http.MethodDelete, "/v1/datasets/"+string(id)+"?topic="+url.QueryEscape(string(topic)), nil, nil)
	if errors.Is(err, wire.ErrNotFound) {
		err = wire.ErrNoDataset
	}
	if err != nil {
		return fmt.Errorf("delete dataset %s of %s: %w", id, topic, err)
	}
	return nil
}
