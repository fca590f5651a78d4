package worker

import (
	"context"
	"errors"
	"sync"
)

// ending is why a run is to stop. The handler's context keeps the first cause that it was
// given; what becomes of the attempt goes by the gravest, since a paused run may be
// canceled while it checkpoints.
type ending struct {
	cancel context.CancelCauseFunc
	urged  chan struct{} // closed at the first cause that does not wait for ever

	mu    sync.Mutex
	cause error
}

// gravity orders causes. From urgent on a handler that does not return is left behind
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

// end tells the handler to return, and why.
func (r *Run) end(cause error) {
	g := gravity(cause)
	if g < urgent {
		r.state.due.Store(true) // it is to checkpoint
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

// why is the gravest cause for which the run was told to return, nil when there is none.
func (r *Run) why(ctx context.Context) error {
	r.ending.mu.Lock()
	defer r.ending.mu.Unlock()
	if cause := context.Cause(ctx); gravity(cause) > gravity(r.ending.cause) {
		return cause
	}
	return r.ending.cause
}
