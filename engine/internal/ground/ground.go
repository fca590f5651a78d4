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

// Settings are the engine's Options, complete and valid, with Redis set. Package engine documents
// them.
type Settings struct {
	URL            string
	Redis          *redis.UniversalOptions
	Namespace      string
	DefaultQueue   string
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
// concurrently. Open returns one.
type Ground struct {
	Opts  Settings
	Keys  Keys
	Redis redis.UniversalClient
	// Blocking has its own pool: a reader that blocks in Redis must not keep a commit waiting for a
	// connection.
	Blocking redis.UniversalClient
	// Vital has its own pool too, for heartbeats and their readers: they never wait behind reports.
	Vital   redis.UniversalClient
	Scripts Scripts
	Commits *Committer
	Clock   *Clock
	// Connections are those of all three clients.
	Connections *Connections
}

// Open connects to Redis, checks that Redis does not evict keys, and creates the namespace or
// checks that it matches. Errors to branch on: ErrUnreachable, ErrSchema, ErrEviction.
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

// blockingOptions are for readers that block, and their pages: on a Cluster one reader a shard for
// the tail, and one for each consumer of the outbox.
func blockingOptions(s Settings) redis.UniversalOptions {
	b := *s.Redis
	b.PoolSize = max(b.PoolSize, 4*s.Shards+1)
	return b
}

// vitalOptions are for heartbeats. A worker uses two connections, and opens none before its first
// heartbeat. The pool's size is far larger because it is also how many dials may fail during an
// outage before the client answers without dialing, which would delay heartbeats by up to a second
// after it.
func vitalOptions(s Settings) redis.UniversalOptions {
	v := *s.Redis
	v.PoolSize, v.MinIdleConns, v.MaxIdleConns, v.MaxActiveConns = 256, 0, 0, 0
	v.PipelinePoolSize = -1 // no second pool: heartbeats are all pipelines
	return v
}

func (g *Ground) check(ctx context.Context) error {
	if err := g.Redis.Ping(ctx).Err(); err != nil {
		return Failure("connect to Redis", err)
	}
	began := time.Now()
	if now, err := g.Redis.Time(ctx).Result(); err == nil { // a user without the right to TIME gets the error from the first schedules
		g.Clock.Look(now, began, time.Now())
	}
	if err := g.checkEviction(ctx); err != nil {
		return err
	}
	if err := g.settle(ctx); err != nil {
		return err
	}
	// A process that only reads may have no right to write, or Redis may refuse writes.
	if history, err := g.History(ctx); err == nil && history != "" {
		if err := g.KeepHistory(ctx, history); err != nil {
			g.Opts.Logger.Debug("cannot record Redis's identity; a worker does so later", "error", err)
		}
	}
	return nil
}

// CloseBlocking ends reads that block in Redis.
func (g *Ground) CloseBlocking() error { return g.Blocking.Close() }

// Close waits for commits in progress, and closes the other connections.
func (g *Ground) Close() error {
	g.Commits.Close()
	return errors.Join(g.Vital.Close(), g.Redis.Close())
}

// Cluster reports whether jobs and asynq's tasks may be on different servers, of which one may lose
// what the other keeps.
func (g *Ground) Cluster() bool {
	_, cluster := g.Redis.(*redis.ClusterClient)
	return cluster
}
