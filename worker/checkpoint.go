package worker

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

// keeper knows when a checkpoint is due. A timer sets a flag, so that a loop may
// ask at each turn for what a flag costs.
type keeper struct {
	interval time.Duration
	always   bool // it is due whenever the handler asks: in tests of handlers
	due      atomic.Bool
	watched  atomic.Bool

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// watch starts the interval anew.
func (k *keeper) watch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.stopped:
	case k.timer == nil:
		k.timer = time.AfterFunc(k.interval, func() { k.due.Store(true) })
	default:
		k.timer.Reset(k.interval)
	}
}

func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// CheckpointDue says whether it is time for a checkpoint: CheckpointInterval after
// the last one (or the first call), and at once when the worker is draining. It
// costs a few nanoseconds.
func (r *Run) CheckpointDue() bool {
	if r.state.due.Load() {
		return true
	}
	if !r.state.watched.Load() && r.state.watched.CompareAndSwap(false, true) {
		r.state.watch()
	}
	return false
}

// Checkpoint keeps state for a later attempt, together with the present progress and with what
// has been written to open artifacts: all are committed, or none. state is an encoding.BinaryMarshaler or anything
// that encodes to JSON, and at most 1 MiB then.
//
// It returns once Redis has committed them, so it waits while Redis is away. It still
// works after the context has ended with ErrDraining, ErrCanceled or ErrDeadline, for
// as long as the grace period. Errors to branch on: engine.ErrInvalid, when state
// cannot be kept as it is, and ErrSuperseded.
func (r *Run) Checkpoint(state any) error {
	b, err := encodeState(state)
	if err == nil && len(b) > engine.MaxCheckpointBytes {
		err = fmt.Errorf("%w state of %d bytes: at most %d; store it as a blob and name that", engine.ErrInvalid, len(b), engine.MaxCheckpointBytes)
	}
	if err == nil && !r.detached {
		err = r.files.checkpoint(func(files []byte) error {
			return r.out.Ask(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: b, ArtifactState: files})
		})
	}
	if err != nil {
		return fmt.Errorf("checkpoint of job %s: %w", r.job, err)
	}
	if r.seat != nil {
		r.seat.Share() // it is no suspect any more
	}
	r.state.due.Store(r.state.always)
	if r.state.watched.Load() {
		r.state.watch()
	}
	return nil
}

func encodeState(state any) ([]byte, error) {
	encode := func() ([]byte, error) { return json.Marshal(state) }
	if m, ok := state.(encoding.BinaryMarshaler); ok {
		encode = m.MarshalBinary
	}
	b, err := encode()
	if err != nil {
		return nil, fmt.Errorf("%w state: %w", engine.ErrInvalid, err)
	}
	if b == nil {
		b = []byte{} // nil would be no checkpoint
	}
	return b, nil
}

// Resume reads the checkpoint of an earlier attempt into state, a pointer to what
// Checkpoint was given, and reports false when there is none. An error means that
// the checkpoint does not fit state, as after a change of its type; the handler may
// then begin anew.
func (r *Run) Resume(state any) (bool, error) {
	b := r.started.Checkpoint
	if b == nil {
		return false, nil
	}
	decode := func() error {
		if err := json.Unmarshal(b, state); err != nil {
			return errors.New(jsonerr.Why(err)) // a checkpoint's text is as private as a payload's
		}
		return nil
	}
	if u, ok := state.(encoding.BinaryUnmarshaler); ok {
		decode = func() error { return u.UnmarshalBinary(b) }
	}
	if err := decode(); err != nil {
		return false, fmt.Errorf("resume job %s from its checkpoint of %d bytes into %T: %w", r.job, len(b), state, err)
	}
	return true, nil
}
