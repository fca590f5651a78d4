package runtime

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Tidy corrects the lists of live jobs, heartbeats and deadlines to match a job's hash. A job
// without a hash, as when it was deleted by hand, leaves the lists. A job that does not run leaves
// the heartbeats. One that runs without a heartbeat gets one, so that sweeps claim it unless its
// worker beats. One that waits is listed by its deadline. Its error wraps ErrUnreachable or
// ErrOutOfMemory.
func (rt *Runtime) Tidy(ctx context.Context, id wire.JobID) error {
	if !rt.g.Keys.Holds(id) {
		return nil
	}
	return ground.Failure("tidy job "+string(id), rt.g.Scripts.Tidy.Run(ctx, rt.g.Redis, rt.g.Keys.Declared(id.Shard()), string(id)).Err())
}

// Unwatched returns those of the jobs that have no heartbeat, in their order. All are read in
// one round trip. Its error wraps ErrUnreachable.
func (rt *Runtime) Unwatched(ctx context.Context, jobs []wire.JobID) ([]wire.JobID, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	pipe := rt.g.Redis.Pipeline()
	marks := make([]*redis.FloatCmd, len(jobs))
	for i, id := range jobs {
		marks[i] = pipe.ZScore(ctx, rt.g.Keys.Beats(id.Shard()), string(id))
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	var unwatched []wire.JobID
	for i, mark := range marks {
		switch err := mark.Err(); {
		case errors.Is(err, redis.Nil):
			unwatched = append(unwatched, jobs[i])
		case err != nil:
			return nil, ground.Failure("look for heartbeats", err)
		}
	}
	return unwatched, nil
}
