package intake

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// byRedisClock is a client with which an asynq server goes by Redis's clock. asynq sends its
// machine's time: to move what is due into a queue, to lease a task, and to take tasks whose
// lease has run out from other servers. One machine whose clock is ahead would begin every
// worker's delayed attempts early, and take their tasks away.
type byRedisClock struct {
	redis.UniversalClient
	runtime *runtime.Runtime
}

func (c byRedisClock) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	args, held := c.correct(keys, args)
	if held != nil {
		return held
	}
	return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

func (c byRedisClock) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	args, held := c.correct(keys, args)
	if held != nil {
		return held
	}
	return c.UniversalClient.Eval(ctx, script, keys, args...)
}

// ZAddXX extends leases.
func (c byRedisClock) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	if kindOf(key) == "lease" {
		members = slices.Clone(members)
		for i := range members {
			members[i].Score += float64(c.ahead())
		}
	}
	return c.UniversalClient.ZAddXX(ctx, key, members...)
}

// correct gives the arguments of one of asynq's scripts with Redis's time in them. While
// Redis's clock has jumped, nothing is due: it gives the answer that says so.
func (c byRedisClock) correct(keys []string, args []any) ([]any, *redis.Cmd) {
	if len(keys) == 0 || len(args) == 0 {
		return args, nil
	}
	switch kind := kindOf(keys[0]); kind {
	case "scheduled", "retry": // seconds, prefix of tasks, nanoseconds, prefix of groups
		now := c.runtime.Now()
		if !c.runtime.Past(now) {
			return nil, redis.NewCmdResult(int64(0), nil)
		}
		args = slices.Clone(args)
		args[0] = now.Unix()
		if len(args) > 2 {
			args[2] = now.UnixNano()
		}
	case "pending", "lease", "completed": // seconds, prefix of tasks
		if at, ok := args[0].(int64); ok {
			args = slices.Clone(args)
			args[0] = at + c.ahead()
		}
	}
	return args, nil
}

// ahead is by how many seconds Redis's clock is ahead of this machine's.
func (c byRedisClock) ahead() int64 {
	return int64(time.Until(c.runtime.Now()).Round(time.Second) / time.Second)
}

// kindOf tells what a key of a queue of asynq's is.
func kindOf(key string) string {
	_, kind, _ := strings.Cut(key, "}:")
	return kind
}
