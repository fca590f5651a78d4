package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// An Engine is a process's access to jobs and topics. Its methods may be called
// concurrently. Open makes one, Close ends it.
type Engine struct {
	opts  Options
	keys  keys
	redis redis.UniversalClient
	// blocking has a pool of its own: a reader that blocks in Redis must not keep
	// a commit waiting for a connection.
	blocking redis.UniversalClient
	// vital, likewise, is for heartbeats and who reads them: they never wait behind
	// reports for a connection, or on it.
	vital   redis.UniversalClient
	queue   *asynq.Client
	tasks   *asynq.Inspector
	scripts scripts
	commits *committer
	clock   *clock
	tail    *tail
	// connections are all that the clients have.
	connections *connections
	// lingering are reads that wait in Redis for a consumer that has ended.
	lingering lingering
	queues    queueNames

	cascades cascades

	closing sync.Once
}

// Open connects to Redis, checks that it keeps what it is given, and lays the
// namespace out or checks that it matches. Errors to branch on: ErrInvalid,
// ErrUnreachable, ErrSchema, ErrEviction.
func Open(ctx context.Context, o Options) (*Engine, error) {
	o = o.Defaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Redis == nil {
		parsed, err := ParseURL(o.URL)
		if err != nil {
			return nil, err
		}
		o.Redis = parsed
	}
	if o.WaitReplicas > 0 && (o.Redis.IsClusterMode || (len(o.Redis.Addrs) > 1 && o.Redis.MasterName == "")) {
		return nil, fmt.Errorf("%w WaitReplicas %d: Redis Cluster cannot be waited for; want 0", ErrInvalid, o.WaitReplicas)
	}
	all := newConnections()
	e := &Engine{
		opts:        o,
		keys:        newKeys(o.Namespace, o.Shards),
		redis:       connect(*o.Redis, all),
		blocking:    connect(blockingOptions(o), all),
		vital:       connect(vitalOptions(o), all),
		scripts:     loadScripts(o),
		clock:       newClock(),
		connections: all,
		queues:      queueNames{admitted: map[string]bool{}},
	}
	e.queue = asynq.NewClientFromRedisClient(asynqClient{e.redis})
	e.tasks = asynq.NewInspectorFromRedisClient(e.redis)
	if err := e.check(ctx); err != nil {
		return nil, errors.Join(err, e.blocking.Close(), e.vital.Close(), e.redis.Close())
	}
	e.commits = newCommitter(e)
	e.cascades.running = map[JobID]*goingOn{}
	e.tail = newTail(e)
	return e, nil
}

// blockingOptions are those of the readers that block, on a Cluster one a shard for the tail and
// one for each consumer of the outbox, and of their pages.
func blockingOptions(o Options) redis.UniversalOptions {
	b := *o.Redis
	b.PoolSize = max(b.PoolSize, 4*o.Shards+1)
	return b
}

// vitalOptions are those of heartbeats. A worker uses two connections, and there is none
// before the first heartbeat. The pool's bound is far above that because it is also the
// number of dials that may fail, over an outage, before the client answers without
// dialing, which would keep heartbeats away for up to a second after it.
func vitalOptions(o Options) redis.UniversalOptions {
	v := *o.Redis
	v.PoolSize, v.MinIdleConns, v.MaxIdleConns, v.MaxActiveConns = 256, 0, 0, 0
	v.PipelinePoolSize = -1 // no second pool: they are pipelines, all of them
	return v
}

func (e *Engine) check(ctx context.Context) error {
	if err := e.redis.Ping(ctx).Err(); err != nil {
		return failure("connect to Redis", err)
	}
	began := time.Now()
	if now, err := e.redis.Time(ctx).Result(); err == nil { // who may not ask learns it with the first schedules
		e.clock.look(now, began, time.Now())
	}
	if err := e.checkEviction(ctx); err != nil {
		return err
	}
	if err := e.settle(ctx); err != nil {
		return err
	}
	// Who only reads may have no right to write, or find a Redis that takes no writes.
	if history, err := e.History(ctx); err == nil && history != "" {
		if err := e.KeepHistory(ctx, history); err != nil {
			e.opts.Logger.Debug("which Redis this is was not kept; a worker will do it", "error", err)
		}
	}
	return nil
}

// Close waits for commits that were taken, and closes all connections. Children of jobs that have
// not followed their parent yet are left to the workers' reconcilers. Iterators
// of Follow end with ErrClosed. It may be called more than once.
func (e *Engine) Close() error {
	var err error
	e.closing.Do(func() {
		err = e.tail.close()
		e.cascades.close()
		e.commits.close()
		err = errors.Join(err, e.vital.Close(), e.redis.Close())
		// Only now: a reader may be asking a silent Redis who it is.
		e.tail.readers.Wait()
		e.lingering.end()
	})
	return err
}

// Redis returns the engine's client, for a queue or an inspector to share.
func (e *Engine) Redis() redis.UniversalClient { return e.redis }

// Retention is how long an ended job can be looked up.
func (e *Engine) Retention() time.Duration { return e.opts.Retention }

// Cluster says that jobs and asynq's tasks may stand in different servers, one of which
// may lose what the other keeps.
func (e *Engine) Cluster() bool {
	_, cluster := e.redis.(*redis.ClusterClient)
	return cluster
}

// Shards returns the number of shards of the namespace.
func (e *Engine) Shards() int { return e.opts.Shards }
