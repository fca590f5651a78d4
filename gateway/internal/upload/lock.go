package upload

import (
	"context"
	"errors"
	"sync"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"github.com/tidemark-dev/tidemark/engine"
)

// locks give one request at a time an upload: within the process by a map, and between
// processes by the shelf's claims.
//
// A request that waits asks the holder for the lock, since the holder may be a PATCH whose client has
// gone unnoticed: within the process by closing wanted, in another process by what the claim watches.
type locks struct {
	shelf    shelf
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
	claim    claim
}

func (h *hold) want() { h.asked.Do(func() { close(h.wanted) }) }

// end tells the holder that its upload's job has ended.
func (h *hold) end() { h.told.Do(func() { close(h.over) }) }

func newLocks(s shelf, stopping <-chan struct{}) locks {
	return locks{shelf: s, stopping: stopping, mu: &sync.Mutex{}, held: map[engine.JobID]*hold{}}
}

// of is the hold under which its caller works.
func (l *locks) of(job engine.JobID) *hold {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[job]
}

// lock waits for an upload until ctx ends. A reader changes nothing under it. Its errors are tusd's:
// ErrNotFound, ErrLockTimeout, ErrServerShutdown; or the shelf's.
func (l *locks) lock(ctx context.Context, job engine.JobID, reader bool) error {
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
	claim, err := l.shelf.claim(ctx, job, reader, l.stopping)
	if err != nil {
		l.release(job, h)
		return err
	}
	h.claim = claim
	return nil
}

// unlock ends a hold.
func (l *locks) unlock(job engine.JobID) error {
	h := l.of(job)
	err := h.claim.release()
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
func (l lock) Lock(ctx context.Context, _ func()) error {
	t := transferOf(ctx)
	err := l.l.lock(ctx, l.job, t.reader)
	if known := (tus.Error{}); err == nil || errors.As(err, &known) {
		return err
	}
	return t.fail(l.l.shelf.refused(err))
}

// Unlock implements tus.Lock.
func (l lock) Unlock() error { return l.l.unlock(l.job) }
