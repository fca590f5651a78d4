package worker

import (
	"context"
	"errors"
	"sync"
)

// ending holds why a run is to stop. The handler's context keeps the first cause. The gravest one
// decides the attempt's end, since a client may cancel a paused run while it checkpoints.
type ending struct {
	cancel context.CancelCauseFunc
	urged  chan struct{} // closed at the first cause that bounds how long the handler may take

	mu    sync.Mutex
	cause error
}

// gravity orders causes. From urgent on, the worker continues without a handler that has not returned
// after CancelGrace.
func gravity(cause error) int {
	for i, c := range []error{ErrDraining, ErrPaused, ErrDeadline, ErrCanceled, ErrSuperseded} {
		if errors.Is(cause, c) {
			return i + 1
		}
	}
	return 0
}

const urgent = 3 // ErrDeadline

// end ends the handler's context with a cause.
func (r *Run) end(cause error) {
	g := gravity(cause)
	if g < urgent {
		r.state.due.Store(true) // the handler should checkpoint
	}
	e := &r.ending
	e.mu.Lock()
	if before := gravity(e.cause); g > before {
		e.cause = cause
		if g >= urgent && before < urgent {
			close(e.urged)
		}
	}
	e.mu.Unlock()
	e.cancel(cause)
}

// why returns the gravest cause for which the run is to stop, nil if there is none.
func (r *Run) why(ctx context.Context) error {
	r.ending.mu.Lock()
	defer r.ending.mu.Unlock()
	if cause := context.Cause(ctx); gravity(cause) > gravity(r.ending.cause) {
		return cause
	}
	return r.ending.cause
}
