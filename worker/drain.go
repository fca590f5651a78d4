package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stop drains the worker and returns when it has ended. The worker takes nothing new, the contexts of
// runs end with ErrDraining, and the jobs of handlers that return an error then go back to the queue,
// which uses no retry. After DrainGrace, or when ctx ends, Stop abandons the other runs: another
// worker continues their jobs after a lease, and the error says how many there are. If Redis does
// not answer, Stop also takes as long as the client waits for an answer, about 20 seconds unless the
// engine's URL says otherwise, since asynq's acknowledgements wait that long.
//
// It may be called more than once and before Start, which then fails with
// ErrStopped. A call whose ctx ends returns its cause, while the worker goes on
// ending.
func (w *Worker) Stop(ctx context.Context) error {
	w.mu.Lock()
	life := w.life
	first := w.phase != draining
	w.phase = draining
	w.mu.Unlock()
	if first {
		close(w.drained)
		go w.drain(life)
	}
	select {
	case <-w.stopped:
	case <-ctx.Done():
		if life != nil {
			life.abandon(ErrDraining)
		}
		return fmt.Errorf("stop worker: %w", context.Cause(ctx))
	}
	if n := w.left.Load(); n > 0 {
		return fmt.Errorf("stop worker: %d handlers did not return within %s: %w", n, w.opts.DrainGrace, ErrAbandoned)
	}
	return nil
}

// ErrAbandoned says that Stop left handlers behind that do not end with their
// context. Their goroutines still run.
var ErrAbandoned = errors.New("their jobs are left to the lease")

// drain runs once, in a goroutine of its own, which ends with the worker.
func (w *Worker) drain(l *life) {
	defer close(w.stopped)
	if l == nil {
		return
	}
	l.endIntake()
	w.leave()
	// Heartbeats continue meanwhile, so that no worker rescues a job that this one hands back.
	grace := time.AfterFunc(w.opts.DrainGrace, func() { l.abandon(ErrDraining) })
	defer grace.Stop()
	l.end()
}
