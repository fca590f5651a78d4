package ground

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// DefaultNamespace is the namespace in which asynq's queues have their plain names.
const DefaultNamespace = "tm"

// Settings are the engine's Options, complete and valid, with Redis set. Package engine says what
// each of them means.
type Settings struct {
	URL            string
	Redis          *redis.UniversalOptions
	Namespace      string
	Shards         int
	Retention      time.Duration
	RetryFailed    time.Duration
	RetrySucceeded time.Duration
	TopicEntries   int
	TopicBytes     int
	TopicTTL       time.Duration
	LogAge         time.Duration
	LogEntries     int
	LogBytes       int
	OutboxEntries  int
	OutboxBytes    int
	TopicJobs      int
	QueueNames     int
	ScheduleJobs   int
	WaitReplicas   int
	WaitTimeout    time.Duration
	CommitTimeout  time.Duration
	Logger         *slog.Logger
}

// A Ground is a process's access to the Redis of a namespace. Its methods may be called
// concurrently. Open makes one.
type Ground struct {
	Opts  Settings
	Keys  Keys
	Redis redis.UniversalClient
	// Blocking has a pool of its own: a reader that blocks in Redis must not keep
	// a commit waiting for a connection.
	Blocking redis.UniversalClient
	// Vital, likewise, is for heartbeats and who reads them: they never wait behind
	// reports for a connection, or on it.
	Vital   redis.UniversalClient
	Scripts Scripts
	Commits *Committer
	Clock   *Clock
	// Connections are all that the clients have.
	Connections *Connections
}

// Open connects to Redis, checks that it keeps what it is given, and lays the namespace out
// or checks that it matches. Errors to branch on: ErrUnreachable, ErrSchema, ErrEviction.
func Open(ctx context.Context, s Settings) (*Ground, error) {
	all := newConnections()
	g := &Ground{
		Opts:        s,
		Keys:        newKeys(s.Namespace, s.Shards),
		Redis:       connect(*s.Redis, all),
		Blocking:    connect(blockingOptions(s), all),
		Vital:       connect(vitalOptions(s), all),
		Scripts:     NewScripts(s, ScriptTexts()),
		Clock:       newClock(),
		Connections: all,
	}
	if err := g.check(ctx); err != nil {
		return nil, errors.Join(err, g.Blocking.Close(), g.Vital.Close(), g.Redis.Close())
	}
	g.Commits = NewCommitter(g)
	return g, nil
}

// blockingOptions are those of the readers that block, on a Cluster one a shard for the tail and
// one for each consumer of the outbox, and of their pages.
func blockingOptions(s Settings) redis.UniversalOptions {
	b := *s.Redis
	b.PoolSize = max(b.PoolSize, 4*s.Shards+1)
	return b
}

// vitalOptions are those of heartbeats. A worker uses two connections, and there is none
// before the first heartbeat. The pool's bound is far above that because it is also the
// number of dials that may fail, over an outage, before the client answers without
// dialing, which would keep heartbeats away for up to a second after it.
func vitalOptions(s Settings) redis.UniversalOptions {
	v := *s.Redis
	v.PoolSize, v.MinIdleConns, v.MaxIdleConns, v.MaxActiveConns = 256, 0, 0, 0
	v.PipelinePoolSize = -1 // no second pool: they are pipelines, all of them
	return v
}

func (g *Ground) check(ctx context.Context) error {
	if err := g.Redis.Ping(ctx).Err(); err != nil {
		return Failure("connect to Redis", err)
	}
	began := time.Now()
	if now, err := g.Redis.Time(ctx).Result(); err == nil { // who may not ask learns it with the first schedules
		g.Clock.Look(now, began, time.Now())
	}
	if err := g.checkEviction(ctx); err != nil {
		return err
	}
	if err := g.settle(ctx); err != nil {
		return err
	}
	// Who only reads may have no right to write, or find a Redis that takes no writes.
	if history, err := g.History(ctx); err == nil && history != "" {
		if err := g.KeepHistory(ctx, history); err != nil {
			g.Opts.Logger.Debug("which Redis this is was not kept; a worker will do it", "error", err)
		}
	}
	return nil
}

// CloseBlocking ends reads that wait in Redis.
func (g *Ground) CloseBlocking() error { return g.Blocking.Close() }

// Close waits for commits that were taken, and closes the other connections.
func (g *Ground) Close() error {
	g.Commits.Close()
	return errors.Join(g.Vital.Close(), g.Redis.Close())
}

// Cluster says that jobs and asynq's tasks may stand in different servers, one of which
// may lose what the other keeps.
func (g *Ground) Cluster() bool {
	_, cluster := g.Redis.(*redis.ClusterClient)
	return cluster
}
