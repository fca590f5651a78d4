package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Runtime is what a worker asks of an engine. Its methods may be called concurrently.
type Runtime struct {
	g        *ground.Ground
	queue    *asynq.Client
	tasks    *asynq.Inspector
	queues   queueNames
	status   *queueStatus
	cascades cascades
}

// New makes the runtime of a ground. Package engine makes one; others ask Of.
func New(g *ground.Ground) *Runtime {
	return &Runtime{
		g: g, queue: asynq.NewClientFromRedisClient(asynqClient{g.Redis}), tasks: asynq.NewInspectorFromRedisClient(g.Redis),
		queues: queueNames{admitted: map[string]bool{}}, status: newQueueStatus(), cascades: cascades{running: map[wire.JobID]*goingOn{}},
	}
}

// An Engine is an *engine.Engine, which this package cannot name: engine is built on it.
type Engine interface {
	Wait(ctx context.Context, id wire.JobID) (wire.Job, error)
}

// Of returns the runtime of an *engine.Engine. nil for a nil one. It panics for anything else.
func Of(e Engine) *Runtime {
	parts, ok := ground.PartsOf(e)
	if !ok {
		panic(fmt.Sprintf("runtime.Of(%T): want an *engine.Engine", e))
	}
	return parts.Runtime.(*Runtime)
}

// Close ends what goes on in the background. Children of jobs that have not followed their parent
// yet are left to the workers' reconcilers. It may be called more than once.
func (rt *Runtime) Close() { rt.cascades.close() }

// Now is Redis's clock, by which all times are that records show: as this process last read
// it, with its own monotonic clock for the time since. It makes no call to Redis.
func (rt *Runtime) Now() time.Time { return rt.g.Now() }

// Past reports whether a time has passed by Redis's clock; false while that has just jumped.
func (rt *Runtime) Past(t time.Time) bool { return rt.g.Past(t) }

// DefaultQueue is the queue of jobs and workers that name none.
func (rt *Runtime) DefaultQueue() string { return rt.g.Opts.DefaultQueue }

// Retention is how long an ended job can be looked up.
func (rt *Runtime) Retention() time.Duration { return rt.g.Opts.Retention }

// Shards is the number of shards of the namespace.
func (rt *Runtime) Shards() int { return rt.g.Opts.Shards }

// Cluster says that different servers may hold jobs and asynq's tasks. One of them may lose what
// the other keeps.
func (rt *Runtime) Cluster() bool { return rt.g.Cluster() }

// Batch has all that submit submits travel as one batch a lane, instead of the first report at
// once and the others after its answer. What else is committed meanwhile waits and travels with
// it, so submit must not wait for an answer. Done functions are called after submit has returned.
func (rt *Runtime) Batch(submit func()) { rt.g.Batch(submit) }

// Identity names the Redis behind the engine: another text means another process or another
// replication history, of any master of a Cluster. "" where Redis does not tell. Its error wraps
// ErrUnreachable.
func (rt *Runtime) Identity(ctx context.Context) (string, error) { return rt.g.Identity(ctx) }

// History is a short name of Identity's answer. What Redis acknowledged under one name is
// still there while the name is the same; once it is another, a failover or a restart may
// have lost the newest of it. "" where Redis does not tell. Its error wraps ErrUnreachable.
func (rt *Runtime) History(ctx context.Context) (string, error) { return rt.g.History(ctx) }

// KeepHistory keeps History's answer in every shard. Later commits copy it into each attempt that
// begins to wait: see Attempt.History. Its error wraps ErrUnreachable.
func (rt *Runtime) KeepHistory(ctx context.Context, history string) error {
	return rt.g.KeepHistory(ctx, history)
}
