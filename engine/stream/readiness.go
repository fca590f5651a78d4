package stream

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Ready sends a write to Redis, on a Cluster to every node. An error, which wraps ErrUnreachable,
// says that Redis gives no answer or is a replica: nothing works. writes is false when Redis
// answers but refuses writes, for lack of memory, disk or replicas: reading then works. A slot that
// is moving to another node does not matter: Redis redirects a write of one key, but refuses a
// script with two.
func (st *Stream) Ready(ctx context.Context) (writes bool, err error) {
	pipe := st.g.Redis.Pipeline()
	for shard := range st.g.Opts.Shards {
		pipe.Set(ctx, st.g.Keys.Probe(shard), 1, time.Minute)
	}
	cmds, err := pipe.Exec(ctx)
	if err == nil {
		return true, nil
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !refuses(err) {
			return false, ground.Failure("write to Redis", err)
		}
	}
	return false, nil
}

// refuses reports whether err says that Redis works except for writes.
func refuses(err error) bool {
	text := err.Error()
	return errors.Is(ground.Failure("", err), wire.ErrOutOfMemory) || strings.Contains(text, "MISCONF") || strings.Contains(text, "NOREPLICAS")
}

// How long a Readiness repeats an answer, and how long Redis may take for one.
const (
	readinessAge     = time.Second
	readinessTimeout = 3 * time.Second
)

// A Readiness answers for a probe that anyone may ask, at any rate: it asks Redis at most once a
// second. Its methods may be called concurrently.
type Readiness struct {
	stream *Stream

	mu     sync.Mutex
	asked  time.Time
	writes bool
	err    error
}

// Readiness makes a Readiness.
func (st *Stream) Readiness() *Readiness { return &Readiness{stream: st} }

// Ready returns what Stream.Ready does, or did less than a second ago. It waits at most 3 seconds for
// Redis.
func (r *Readiness) Ready(ctx context.Context) (writes bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asked) >= readinessAge {
		// A caller that hangs up does not end the question for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readinessTimeout)
		defer cancel()
		r.writes, r.err = r.stream.Ready(ctx)
		r.asked = time.Now()
	}
	return r.writes, r.err
}
