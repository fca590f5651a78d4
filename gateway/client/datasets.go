package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Dataset is a topic's, as lists have it.
type Dataset struct {
	ID        wire.JobID `json:"id"`
	Name      string     `json:"name,omitempty"`
	Size      int64      `json:"size"` // bytes
	SHA256    string     `json:"sha256"`
	MediaType string     `json:"media_type"`
	Format    string     `json:"format"`
	Rows      int64      `json:"rows"`
	Rejected  int64      `json:"rejected"`
	Columns   int        `json:"columns"` // how many
	CreatedAt time.Time  `json:"created_at"`
}

// Datasets returns a page of a topic's datasets, and what to give as after for the next; "" at the end. A page may be
// short, or empty. Errors to branch on: wire.ErrInvalid, ErrRefused, wire.ErrUnreachable.
func (c *Client) Datasets(ctx context.Context, topic wire.Topic, after string) (page []Dataset, next string, err error) {
	query := url.Values{"topic": {string(topic)}}
	if after != "" {
		query.Set("after", after)
	}
	var answer struct {
		Datasets []Dataset `json:"datasets"`
		Next     string    `json:"next"`
	}
	if err := c.call(ctx, http.MethodGet, "/v1/datasets?"+query.Encode(), nil, &answer); err != nil {
		return nil, "", fmt.Errorf("list the datasets of %s: %w", topic, err)
	}
	return answer.Datasets, answer.Next, nil
}

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
