package stream

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Ready asks Redis, every node of a Cluster, for a write. An error, which wraps
// ErrUnreachable, says that it gives no answer, or is a replica: nothing works here. writes
// is false when it answers and takes no write, for want of memory, disk or replicas: then
// reading works, here as anywhere else. A slot that moves to another node changes nothing: a
// write of one key is redirected, where a script, which has two, is refused.
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

// refuses reports whether err says that Redis works, but for writes.
func refuses(err error) bool {
	text := err.Error()
	return errors.Is(ground.Failure("", err), wire.ErrOutOfMemory) || strings.Contains(text, "MISCONF") || strings.Contains(text, "NOREPLICAS")
}
