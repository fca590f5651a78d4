package runtime

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
)

// Refuse says, until ttl has passed, that this process serves queues and takes nothing from them,
// since it found a task of another program there. worker tells the workers of a process apart. The
// caller repeats it while that is so. Its error wraps ErrUnreachable.
func (rt *Runtime) Refuse(ctx context.Context, worker string, ttl time.Duration, queues ...string) error {
	key, now := rt.g.Keys.Refusals(), rt.g.Now()
	old, err := rt.g.Redis.HGetAll(ctx, key).Result()
	if err != nil {
		return ground.Failure("read which queues are refused", err)
	}
	pipe := rt.g.Redis.TxPipeline()
	for field, until := range old {
		if ms, _ := strconv.ParseInt(until, 10, 64); ms <= now.UnixMilli() {
			pipe.HDel(ctx, key, field)
		}
	}
	for _, q := range queues {
		pipe.HSet(ctx, key, refusalField(q, worker), now.Add(ttl).UnixMilli())
	}
	_, err = pipe.Exec(ctx)
	return ground.Failure("note which queues are refused", err)
}

// Accept ends what Refuse says. Its error wraps ErrUnreachable.
func (rt *Runtime) Accept(ctx context.Context, worker string, queues ...string) error {
	fields := make([]string, len(queues))
	for i, q := range queues {
		fields[i] = refusalField(q, worker)
	}
	return ground.Failure("note which queues are refused", rt.g.Redis.HDel(ctx, rt.g.Keys.Refusals(), fields...).Err())
}

// refusalField is the field of a refusal: the queue, the process as asynq names it, and the worker.
func refusalField(queue, worker string) string {
	host, _ := os.Hostname() // asynq ignores the error too
	return fmt.Sprintf("%s %s:%d %s", queue, host, os.Getpid(), worker)
}
