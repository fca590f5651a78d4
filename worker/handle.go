package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

// A HandlerFunc executes an attempt of a job of any type: what middleware wraps. The payload is
// decoded within it.
type HandlerFunc func(ctx context.Context, run *Run) error

// Use puts middleware around the handlers of all types, whether they are registered before or
// after. The one that is named first is the outermost, over all calls of Use:
//
//	w.Use(trace, log)   // trace(log(handler))
//
// A middleware may replace ctx, which the handler then gets, as long as it derives from the
// one given. It sees the handler's error, and what it returns in place of it decides about the
// attempt. It need not call next. A panic passes through it and fails the job, as one of the
// handler does.
//
// Use panics after Start: that is a mistake in the program.
func (w *Worker) Use(middleware ...func(next HandlerFunc) HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != idle {
		panic("worker.Use: the worker has started; add middleware before")
	}
	w.middleware = append(w.middleware, middleware...)
}

// wrap puts the middleware around the handlers. The caller holds the lock.
func (w *Worker) wrap() {
	w.wrapped = make(map[string]HandlerFunc, len(w.handlers))
	for jobType, h := range w.handlers {
		for _, m := range slices.Backward(w.middleware) {
			h = m(h)
		}
		w.wrapped[jobType] = h
	}
}

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
	w.handlers[jobType] = func(ctx context.Context, r *Run) error {
		var value T
		if err := decodePayload(r.started.Payload, &value); err != nil {
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
