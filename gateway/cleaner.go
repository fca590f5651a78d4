package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway/internal/upload"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
)

const (
	// cleanInterval is the time between two looks for jobs that others removed: Go programs, the
	// command line, gateways with other files.
	cleanInterval = time.Hour
	// cleanTimeout bounds the files of one look.
	cleanTimeout = 10 * time.Minute
	// cleanOverlap is how far back a look goes behind the one before, since clocks differ.
	cleanOverlap = time.Minute
)

// A cleaner deletes the files of jobs that were removed: their artifacts, of which a retry may still need the
// parts, and their uploads once nothing refers to those. Redis lists the jobs, so a look repeats what another could not do.
type cleaner struct {
	runtime *runtime.Runtime
	blobs   *blob.Bucket   // nil: there are no files
	dir     string         // of blobs, where that is a folder; or ""
	uploads *upload.Server // nil: there are none
	log     *slog.Logger

	one   sync.Mutex // one look at a time
	since time.Time  // up to when all is done, by Redis's clock
}

// run looks at once and every cleanInterval, until stopping is closed.
func (c *cleaner) run(stopping <-chan struct{}) {
	if c.blobs == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	ticker := time.NewTicker(cleanInterval)
	defer ticker.Stop()
	for {
		c.clean(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// clean deletes what there is to delete. The end of ctx does not end it, since the jobs are gone
// already.
func (c *cleaner) clean(ctx context.Context) {
	if c.blobs == nil {
		return
	}
	c.one.Lock()
	defer c.one.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	now := c.runtime.Now()
	jobs, err := c.runtime.Removed(ctx, c.since)
	for _, job := range jobs {
		err = errors.Join(err, artifacts.Delete(ctx, c.blobs, c.dir, job, c.runtime.ArtifactsPinned))
		if c.uploads != nil {
			err = errors.Join(err, c.uploads.Discard(ctx, job))
		}
	}
	switch {
	case err == nil:
		c.since = now.Add(-cleanOverlap)
	case errors.Is(err, engine.ErrUnreachable):
		c.log.Debug("files of removed jobs are deleted later", "error", err)
	default:
		c.log.Warn("files of removed jobs could not be deleted; the gateway tries again", "error", err)
	}
}
