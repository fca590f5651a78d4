package gateway

import (
	"cmp"
	"errors"
	"slices"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// An EnqueueType is a job type that principals may enqueue who are no admins.
type EnqueueType struct {
	// Type is the job's. Required.
	Type string
	// Queue is where such jobs go; a request for another one is refused. Defaults to the engine's
	// default queue.
	Queue string
	// MaxAttempts bounds what a request may ask for, 1 to 1000. Defaults to engine.DefaultMaxAttempts.
	MaxAttempts int
	// MaxPayloadBytes bounds the payload of a request, 1 to engine.MaxPayloadBytes, which is the
	// default.
	MaxPayloadBytes int
}

// maxEnqueueTypes bounds Options.EnqueueTypes.
const maxEnqueueTypes = 1000

// validEnqueueTypes checks Options.EnqueueTypes.
func validEnqueueTypes(types []EnqueueType) error {
	if len(types) > maxEnqueueTypes {
		return option.Invalid("EnqueueTypes", nil, "%d of them; at most %d", len(types), maxEnqueueTypes)
	}
	var problems []error
	for i, t := range types {
		complain := func(format string, args ...any) {
			problems = append(problems, option.Invalid("EnqueueTypes", t.Type, format, args...))
		}
		if wire.CheckName("Type", t.Type) != nil {
			complain("want a job type, [a-z][a-z0-9._-]{0,63}")
		}
		if t.Queue != "" && wire.CheckQueue(t.Queue) != nil {
			complain("its queue: want %s", wire.QueueForm)
		}
		if t.MaxAttempts < 0 || t.MaxAttempts > 1000 {
			complain("its max_attempts: want 1 to 1000")
		}
		if t.MaxPayloadBytes < 0 || t.MaxPayloadBytes > engine.MaxPayloadBytes {
			complain("its max_payload_bytes: want 1 to %d", engine.MaxPayloadBytes)
		}
		if slices.ContainsFunc(types[:i], func(other EnqueueType) bool { return other.Type == t.Type }) {
			complain("it is named twice")
		}
	}
	return errors.Join(problems...)
}

// allowance is what Options.EnqueueTypes allow, with their defaults.
func allowance(types []EnqueueType, defaultQueue string) access.Allowance {
	a := access.Allowance{}
	for _, t := range types {
		a[t.Type] = access.Allowed{
			Queue:           cmp.Or(t.Queue, defaultQueue),
			MaxAttempts:     cmp.Or(t.MaxAttempts, engine.DefaultMaxAttempts),
			MaxPayloadBytes: cmp.Or(t.MaxPayloadBytes, engine.MaxPayloadBytes),
		}
	}
	return a
}
