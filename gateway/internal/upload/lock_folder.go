package upload

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"github.com/tidemark-dev/tidemark/engine"
)

// A flocked ticket keeps other processes away by a flock, which the kernel gives up when its holder
// is killed. (tusd's own file locks hold a process ID; after a crash in a container the
// successor has the same one, and takes the lock for its own.) Who waits touches the ticket.
type flocked struct {
	file    *os.File
	touched time.Time // the ticket's time when it was locked
}

// claim asks for the flock again and again: one that waits could not be cancelled.
func (f folder) claim(ctx context.Context, job engine.JobID, _ bool, stopping <-chan struct{}) (claim, error) {
	path := f.ticket(open, job)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		path = f.ticket(settled, job)
		file, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, tus.ErrNotFound
		}
		return nil, err
	}
	for pause, asked := time.Millisecond, (time.Time{}); ; pause = min(2*pause, 50*time.Millisecond) {
		taken, err := tryFlock(file)
		if taken {
			break
		}
		if err == nil {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				err = tus.ErrLockTimeout
			case <-stopping:
				err = tus.ErrServerShutdown
			}
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		// Again and again, since there may be another holder by then.
		if now := time.Now(); now.Sub(asked) > receiveTick {
			asked = now
			// Without it the wait is longer, no more.
			_ = os.Chtimes(path, now, now)
		}
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &flocked{file, info.ModTime()}, nil
}

func (c *flocked) watch(ctx context.Context, wanted func()) {
	ticker := time.NewTicker(receiveTick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if info, err := c.file.Stat(); err == nil && !info.ModTime().Equal(c.touched) {
			wanted()
			return
		}
	}
}

// release drops the flock with the file.
func (c *flocked) release() error { return c.file.Close() }
