package runtime

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// asynqClient is the client that asynq enqueues with. asynq compares the time of a delayed
// task with this machine's clock, and gives out at once what is due by it, while jobs go by
// Redis's. So the engine has asynq delay each such task for long, and the client writes the
// time in that the context holds.
type asynqClient struct{ redis.UniversalClient }

// delayed is what asynq is asked for in place of a task's time.
const delayed = 24 * time.Hour

type delayKey struct{}

// delayUntil gives a context with which a task is handed over that is delayed until a time. asynq
// knows whole seconds; the task is not early.
func delayUntil(ctx context.Context, at time.Time) context.Context {
	return context.WithValue(ctx, delayKey{}, at.Add(time.Second-1).Unix())
}

func (c asynqClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return c.UniversalClient.EvalSha(ctx, sha, keys, withTime(ctx, args)...)
}

func (c asynqClient) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return c.UniversalClient.Eval(ctx, script, keys, withTime(ctx, args)...)
}

// withTime puts the time of a delayed task where asynq's script has it: message, time, task's ID.
func withTime(ctx context.Context, args []any) []any {
	at, ok := ctx.Value(delayKey{}).(int64)
	if !ok || len(args) != 3 {
		return args
	}
	args = slices.Clone(args)
	args[1] = at
	return args
}
