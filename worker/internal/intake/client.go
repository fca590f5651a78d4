package intake

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// asynqClient is the engine's client as asynq's servers get it.
type asynqClient struct {
	redis.UniversalClient
	polls    map[string]*pollGroup // by the first key of the scripts that look into a queue
	sources  map[string]source     // by the key of the pending tasks
	refusals *refusals
	cluster  bool
}

// refusedPause is how long asynq waits after an error before it asks again.
const refusedPause = 250 * time.Millisecond

// Client is a client for an asynq server outside Servers: it goes by Redis's clock.
func Client(e *engine.Engine) redis.UniversalClient {
	return asynqClient{UniversalClient: byRedisClock{e.Redis(), runtime.Of(e)}}
}

// sleep waits until d has passed or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// EvalSha runs a script of asynq's, unless it would look into keys that are empty. It holds
// errors back for a while. After one, asynq asks for the next task at once:
// a Redis that refuses writes would be asked thousands of times a second.
func (c asynqClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := c.evalSha(ctx, sha, keys, args...)
	if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "NOSCRIPT") {
		sleep(ctx, refusedPause)
	}
	return cmd
}

func (c asynqClient) evalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	var group *pollGroup
	if len(keys) > 0 {
		group = c.polls[keys[0]]
	}
	if len(keys) == 1 && len(args) == 2 && kindOf(keys[0]) == "lease" {
		return expired.Run(ctx, c.UniversalClient, keys, args...)
	}
	if group == nil {
		return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	if c.refusals.refused(c.sources[keys[0]].name) {
		group.leave(keys[0])
		return nothing(ctx, keys[0])
	}
	empty, err := group.empty(ctx, c.UniversalClient, args)
	if err != nil {
		cmd := redis.NewCmd(ctx)
		cmd.SetErr(err)
		return cmd
	}
	if empty {
		return nothing(ctx, keys[0])
	}
	sent := time.Now()
	var cmd *redis.Cmd
	if kindOf(keys[0]) == "pending" {
		cmd = c.take(ctx, keys, args)
	} else {
		cmd = c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	group.note(keys[0], sent, isNothing(cmd))
	return cmd
}

// errNoSignals is asynq's to log, at each of its tries to subscribe.
var errNoSignals = errors.New("jobs are canceled without a signal of asynq's")

// Subscribe gives a subscription that cannot be made. asynq's is for its own way to cancel a
// task, which Tidemark does not use: it would take a connection for each server, archive the
// task of a handler that goes on, and panic when the engine is closed before it.
func (c asynqClient) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return redis.NewClient(&redis.Options{
		Dialer:                   func(context.Context, string, string) (net.Conn, error) { return nil, errNoSignals },
		MaxRetries:               -1,
		DialerRetries:            1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}).Subscribe(ctx, channels...)
}
