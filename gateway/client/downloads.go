package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// StartDownload begins a watched download of an artifact, whose bytes are then at address; records of it
// come to those who follow its topic. Errors to branch on: wire.ErrNotFound, wire.ErrLimit, ErrRefused,
// wire.ErrUnreachable.
func (c *Client) StartDownload(ctx context.Context, artifact string) (d wire.Download, address string, err error) {
	var answer wire.DownloadAnswer
	if err := c.call(ctx, http.MethodPost, "/v1/artifacts/"+url.PathEscape(artifact)+"/downloads", nil, &answer); err != nil {
		return wire.Download{}, "", fmt.Errorf("download %s: %w", artifact, err)
	}
	return answer.Download, c.at(answer.URL), nil
}

// Download reads a watched download of the user's. Its error wraps wire.ErrNotFound, ErrRefused or
// wire.ErrUnreachable.
func (c *Client) Download(ctx context.Context, id string) (wire.Download, error) {
	var d wire.Download
	if err := c.call(ctx, http.MethodGet, "/v1/downloads/"+url.PathEscape(id), nil, &d); err != nil {
		return wire.Download{}, fmt.Errorf("read a download: %w", err)
	}
	return d, nil
}

// Downloads lists the user's watched downloads that are running, newest first. Its error wraps ErrRefused
// or wire.ErrUnreachable.
func (c *Client) Downloads(ctx context.Context) ([]wire.Download, error) {
	var answer wire.DownloadsAnswer
	if err := c.call(ctx, http.MethodGet, "/v1/downloads", nil, &answer); err != nil {
		return nil, fmt.Errorf("list downloads: %w", err)
	}
	return answer.Downloads, nil
}

// CancelDownload aborts a watched download. Its error wraps wire.ErrNotFound, wire.ErrEnded where it has
// ended otherwise, ErrRefused or wire.ErrUnreachable.
func (c *Client) CancelDownload(ctx context.Context, id string) error {
	if err := c.call(ctx, http.MethodDelete, "/v1/downloads/"+url.PathEscape(id), nil, nil); err != nil {
		return fmt.Errorf("cancel a download: %w", err)
	}
	return nil
}
