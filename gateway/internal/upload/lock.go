package upload

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"github.com/tidemark-dev/tidemark/engine"
)

// locks give one request at a time an upload: within the process by a map, and
// between processes by a flock on the ticket, which the kernel gives up when its holder
// is killed. (tusd's own file locks hold a process ID; after a crash in a container the
// successor has the same one, and takes the lock for its own.)
//
// A request that waits asks the holder for the lock, since the holder may be a PATCH whose client has
// gone unnoticed: within the process by closing wanted, in another process by touching the ticket,
// which a PATCH checks with every tick.
type locks struct {
	folder   folder
	stopping <-chan struct{}
	mu       *sync.Mutex
	held     map[engine.JobID]*hold
}

type hold struct {
	wanted   chan struct{} // closed once somebody waits
	asked    sync.Once
	over     chan struct{} // closed once the upload's job has ended
	told     sync.Once
	released chan struct{}
	file     *os.File
	touched  time.Time // the ticket's time when it was locked
}

func (h *hold) want() { h.asked.Do(func() { close(h.wanted) }) }

// end tells the holder that its upload's job has ended.
func (h *hold) end() { h.told.Do(func() { close(h.over) }) }

// look finds out whether another process waits. Only the holder calls it.
func (h *hold) look() {
	if info, err := h.file.Stat(); err == nil && !info.ModTime().Equal(h.touched) {
		h.want()
	}
}

func newLocks(f folder, stopping <-chan struct{}) locks {
	return locks{folder: f, stopping: stopping, mu: &sync.Mutex{}, held: map[engine.JobID]*hold{}}
}

// of is the hold under which its caller works.
func (l *locks) of(job engine.JobID) *hold {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[job]
}

// lock waits for an upload until ctx ends. Its errors are tusd's: ErrNotFound,
// ErrLockTimeout, ErrServerShutdown.
func (l *locks) lock(ctx context.Context, job engine.JobID) error {
	h := &hold{wanted: make(chan struct{}), over: make(chan struct{}), released: make(chan struct{})}
	for {
		l.mu.Lock()
		other := l.held[job]
		if other == nil {
			l.held[job] = h
		}
		l.mu.Unlock()
		if other == nil {
			break
		}
		other.want()
		select {
		case <-other.released:
		case <-ctx.Done():
			return tus.ErrLockTimeout
		case <-l.stopping:
			return tus.ErrServerShutdown
		}
	}
	if err := l.flock(ctx, job, h); err != nil {
		l.release(job, h)
		return err
	}
	return nil
}

// flock keeps other processes away. A flock that waits could not be cancelled, so it
// asks again and again.
func (l *locks) flock(ctx context.Context, job engine.JobID, h *hold) error {
	path := l.folder.ticket(open, job)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		path = l.folder.ticket(settled, job)
		file, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return tus.ErrNotFound
		}
		return err
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
			case <-l.stopping:
				err = tus.ErrServerShutdown
			}
		}
		if err != nil {
			return errors.Join(err, file.Close())
		}
		// Again and again, since there may be another holder by then.
		if now := time.Now(); now.Sub(asked) > receiveTick {
			asked = now
			// Without it the wait is longer, no more.
			_ = os.Chtimes(path, now, now)
		}
	}
	h.file = file
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	h.touched = info.ModTime()
	return nil
}

// unlock ends a hold; the kernel drops the flock with the file.
func (l *locks) unlock(job engine.JobID) error {
	h := l.of(job)
	err := h.file.Close()
	l.release(job, h)
	return err
}

func (l *locks) release(job engine.JobID, h *hold) {
	l.mu.Lock()
	delete(l.held, job)
	l.mu.Unlock()
	close(h.released)
}

// NewLock implements tus.Locker.
func (l *locks) NewLock(id string) (tus.Lock, error) {
	return lock{l, engine.JobID(id)}, nil
}

type lock struct {
	l   *locks
	job engine.JobID
}

// Lock implements tus.Lock. tusd's own way to be asked for the lock is left alone: it
// misses requests that it has not begun to read, and that are asked to stop.
func (l lock) Lock(ctx context.Context, _ func()) error { return l.l.lock(ctx, l.job) }

// Unlock implements tus.Lock.
func (l lock) Unlock() error { return l.l.unlock(l.job) }
