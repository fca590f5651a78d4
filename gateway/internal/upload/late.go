package upload

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// lateReports are of uploads whose last request has ended before it could report all
// that it stored: it was cut, or too small to be worth a report of its own. They wait for
// a tick, together, so many small requests report no more than a long one.
type lateReports struct {
	mu      *sync.Mutex
	uploads map[engine.JobID]*upload
	some    chan struct{} // holds one when there are any
}

func newLateReports() lateReports {
	return lateReports{mu: &sync.Mutex{}, uploads: map[engine.JobID]*upload{}, some: make(chan struct{}, 1)}
}

func (l *lateReports) add(up *upload) {
	l.mu.Lock()
	l.uploads[up.Job] = up
	l.mu.Unlock()
	select {
	case l.some <- struct{}{}:
	default:
	}
}

// next waits until there are some, and for a tick more, in which others join them. It gives
// each upload once, and none after ctx has ended.
func (l *lateReports) next(ctx context.Context) []*upload {
	select {
	case <-l.some:
	case <-ctx.Done():
		return nil
	}
	if !pause(ctx, receiveTick) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Collect(maps.Values(l.uploads))
	clear(l.uploads)
	return all
}

// pause waits, and says whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// reportLate reports until the gateway stops. While Redis is away it tries again each
// second.
func (u *Server) reportLate() {
	ctx, cancel := u.untilStop()
	defer cancel()
	for ctx.Err() == nil {
		for _, up := range u.late.next(ctx) {
			if errors.Is(u.reportOnce(ctx, up), engine.ErrUnreachable) {
				u.late.add(up)
				pause(ctx, lookInterval)
			}
		}
	}
}

// reportOnce reports an upload's offset, whichever request brings its bytes now.
func (u *Server) reportOnce(ctx context.Context, up *upload) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	r, err := u.runtime.Receiver(ctx, up.Job)
	if err != nil {
		return err // or it is received, or has ended
	}
	// Again, since what was read before may say less.
	up, err = u.shelf.read(ctx, open, up.Job)
	if err != nil {
		return err // or it is settled
	}
	n, _, _, err := u.shelf.offset(ctx, up)
	if err == nil {
		u.tick(up, r.Fence, n, 0, func([]runtime.Ack, error) {})
	}
	return err
}
