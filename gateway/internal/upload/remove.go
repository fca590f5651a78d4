package upload

import (
	"context"
	"errors"
	"io/fs"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"github.com/tidemark-dev/tidemark/engine"
)

// Discard deletes the upload of a job that was removed, unless a job or a schedule refers to it: then
// the sweep does so once none does. A job without an upload is no error.
func (u *Server) Discard(ctx context.Context, job engine.JobID) error {
	for _, at := range []place{open, settled, orphaned} {
		up, err := u.shelf.read(ctx, at, job)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		pinned, err := u.runtime.Pinned(ctx, up.Topic, []engine.JobID{job})
		if err != nil || pinned[job] {
			return err
		}
		return u.discardRemoved(ctx, up)
	}
	return nil
}

// discardRemoved waits for a request that works at the upload, which has no job any more.
func (u *Server) discardRemoved(ctx context.Context, up *upload) error {
	if up.place != orphaned { // which no request works at
		lock, cancel := context.WithTimeout(ctx, sweepLock)
		defer cancel()
		if err := u.locks.lock(lock, up.Job, false); err != nil {
			if errors.Is(err, tus.ErrNotFound) {
				return nil // another gateway was faster
			}
			return err
		}
		defer func() { _ = u.locks.unlock(up.Job) }() // of a file that is deleted
	}
	u.index.remove(up.Job)
	u.metrics.swept.WithLabelValues("removed").Inc()
	return u.shelf.forget(ctx, up)
}
