package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

// handler is a job type's, with its payload still to be decoded.
type handler func(ctx context.Context, r *Run, payload []byte) error

// Handle registers the handler of a job type, [a-z][a-z0-9._-]{0,63}. The payload is
// decoded into T as JSON; a []byte is given as it is. An empty payload is T's zero
// value, and one that does not fit T fails the job for good.
//
// A handler that returns nil has done the job. An error is tried again from the last
// checkpoint while the job has retries left, unless it is Permanent. A panic fails
// the job. When ctx ends, the handler should return; context.Cause tells why.
//
// A handler may run more than once for a job: everything after its last checkpoint
// is repeated if its worker is lost.
//
// Handle panics when jobType is malformed or has a handler already, and after Start:
// these are mistakes in the program.
func Handle[T any](w *Worker, jobType string, h func(ctx context.Context, run *Run, payload T) error) {
	if err := (engine.Spec{Topic: "system:all", Type: jobType}).Validate(); err != nil {
		panic(fmt.Sprintf("worker.Handle: %v", err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.phase != idle:
		panic(fmt.Sprintf("worker.Handle %q: the worker has started; register handlers before", jobType))
	case w.handlers[jobType] != nil:
		panic(fmt.Sprintf("worker.Handle %q: the type has a handler already", jobType))
	}
	w.handlers[jobType] = func(ctx context.Context, r *Run, payload []byte) error {
		var value T
		if err := decodePayload(payload, &value); err != nil {
			return Permanent(err)
		}
		return h(ctx, r, value)
	}
}

// decodePayload words errors without the payload's values: payloads never appear in
// records.
func decodePayload(payload []byte, value any) error {
	if raw, ok := value.(*[]byte); ok {
		*raw = payload
		return nil
	}
	if len(payload) == 0 {
		return nil
	}
	if err := json.Unmarshal(payload, value); err != nil {
		return fmt.Errorf("the payload of %d bytes does not decode into what the handler takes: %s; enqueue what does, or handle it as []byte", len(payload), jsonerr.Why(err))
	}
	return nil
}
