package engine

import (
	"errors"
	"log/slog"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/logline"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Options say which Redis an Engine uses and what it keeps there. The zero value works: a Redis on
// 127.0.0.1:6379 and the defaults below. Processes that share a namespace must agree on Shards,
// which Open checks. They should agree on the other bounds too: each process applies its own when
// it writes.
type Options struct {
	// URL is the address of Redis, in a form that ParseURL accepts. Defaults to
	// "redis://127.0.0.1:6379/0".
	URL string

	// Redis replaces URL with the client's own options, for settings that a URL cannot express.
	// Open overwrites ContextTimeoutEnabled, DisableIdentity and MaintNotificationsConfig.
	Redis *redis.UniversalOptions

	// Namespace is the prefix of every key, so several installations can share a Redis:
	// [a-z][a-z0-9-]{0,31}. asynq's own keys are not under it, but the names of its queues contain
	// it, see QueueName. Defaults to DefaultNamespace.
	Namespace string

	// DefaultQueue is the queue of jobs whose Spec names none, and the queue of workers whose
	// Options name none. Processes that share a namespace should agree on it. A queue that an
	// application of asynq uses on this Redis is not for it. Defaults to DefaultQueue, "tidemark".
	DefaultQueue string

	// Shards is the number of slices of the key space, from 1 to 100. The first process that opens
	// the namespace fixes it. Defaults to 16.
	Shards int

	// Retention is how long Redis keeps an ended job, from 1 minute to 10 years. Defaults to 7
	// days.
	Retention time.Duration

	// RetryFailed and RetrySucceeded are how long an ended job can be tried again: one that failed
	// or was canceled, and one that succeeded. Redis keeps its payload and its checkpoint for that
	// long, but no longer than Retention. From 1 minute to 10 years. Default to 7 days and 1 day.
	RetryFailed    time.Duration
	RetrySucceeded time.Duration

	// TopicEntries and TopicBytes bound a topic's stream: its number of records and the sum of
	// their JSON in bytes. At least 10 and 64 KiB. A reader whose cursor is older than the stream
	// gets a snapshot and the reason. Default to 5,000 and 1 MiB.
	TopicEntries int
	TopicBytes   int

	// TopicTTL is how long Redis keeps the stream of an idle topic, from 1 minute on. It keeps the
	// topic's head 30 days longer. Defaults to 7 days.
	TopicTTL time.Duration

	// LogAge, LogEntries and LogBytes bound a shard's log, which has to outlast a pause of the
	// processes that tail it. LogBytes is the sum of the records' JSON. From 1 second, 100 entries
	// and 1 MiB on. Default to 60 seconds, 20,000 and 32 MiB.
	LogAge     time.Duration
	LogEntries int
	LogBytes   int

	// OutboxEntries and OutboxBytes are the cap of a shard's outbox, from 1,000 and 1 MiB on;
	// OutboxBytes is the sum of the records' JSON. At the cap Redis drops the oldest records, and
	// counts them, even if a consumer group has not read them. Default to 1,000,000 and 1 GiB.
	OutboxEntries int
	OutboxBytes   int

	// TopicJobs is how many live jobs a topic may have, including children and jobs whose input
	// arrives, from 100 to 10,000,000. Adopted jobs count but are never refused. Enqueue refuses a
	// job beyond that with ErrLimit. Defaults to 250,000, which is more than two fan-outs of the
	// largest size.
	TopicJobs int

	// QueueNames is how many queues there may be, from 1 to 10,000. Enqueue refuses a job that
	// would add another one with ErrLimit. It never refuses a queue that a worker serves. Defaults
	// to 100.
	QueueNames int

	// ScheduleJobs is how many of a schedule's jobs may wait, from 1 to 1,000. While that many are
	// queued, retrying or paused, a tick creates no job, and the schedule's Err says so. Defaults
	// to 10.
	ScheduleJobs int

	// WaitReplicas is how many replicas must acknowledge each batch that holds a milestone (Redis
	// WAIT), within WaitTimeout. A batch that fewer replicas acknowledge is committed, and its
	// callers get ErrUnreplicated. From 0, which does not wait, to 10; not on Redis Cluster.
	// WaitTimeout is at most 2 seconds and half of CommitTimeout; otherwise a commit whose replicas
	// are away would look unreachable. Default to 0 and 1 second.
	WaitReplicas int
	WaitTimeout  time.Duration

	// CommitTimeout is how long one call of the commit script may take, including the client's
	// retries, before its callers get ErrUnreachable. It is also how long a call such as Enqueue
	// waits while Redis Cluster moves a slot. From 100 milliseconds on. Defaults to 5 seconds.
	CommitTimeout time.Duration

	// Logger gets what no call can return to its caller, at most 16 KiB of text a line. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// DefaultNamespace is the namespace of Options without one.
const DefaultNamespace = ground.DefaultNamespace

// An OptionError says which field of Options, or of another struct, is out of bounds, its value and
// the bounds. It wraps ErrInvalid.
type OptionError = option.Error

var namespaceForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Defaults returns o with every zero field set to its default.
func (o Options) Defaults() Options {
	option.Default(&o.URL, "redis://127.0.0.1:6379/0")
	option.Default(&o.Namespace, DefaultNamespace)
	option.Default(&o.DefaultQueue, DefaultQueue)
	option.Default(&o.Shards, 16)
	option.Default(&o.Retention, 7*24*time.Hour)
	option.Default(&o.RetryFailed, 7*24*time.Hour)
	option.Default(&o.RetrySucceeded, 24*time.Hour)
	option.Default(&o.TopicEntries, 5000)
	option.Default(&o.TopicBytes, 1<<20)
	option.Default(&o.TopicTTL, 7*24*time.Hour)
	option.Default(&o.LogAge, time.Minute)
	option.Default(&o.LogEntries, 20_000)
	option.Default(&o.LogBytes, 32<<20)
	option.Default(&o.OutboxEntries, 1_000_000)
	option.Default(&o.TopicJobs, 250_000)
	option.Default(&o.QueueNames, 100)
	option.Default(&o.ScheduleJobs, 10)
	option.Default(&o.OutboxBytes, 1<<30)
	option.Default(&o.WaitTimeout, time.Second)
	option.Default(&o.CommitTimeout, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = logline.Bounded(o.Logger)
	return o
}

// Validate checks o with its defaults set. Its error joins an *OptionError for each field that is
// out of bounds, and wraps ErrInvalid.
func (o Options) Validate() error {
	o = o.Defaults()
	if !namespaceForm.MatchString(o.Namespace) {
		return option.Invalid("Namespace", o.Namespace, "want [a-z][a-z0-9-]{0,31}")
	}
	var queue error
	if wire.CheckQueue(o.DefaultQueue) != nil {
		queue = option.Invalid("DefaultQueue", o.DefaultQueue, "want %s", wire.QueueForm)
	}
	longest := time.Minute
	if o.WaitReplicas > 0 {
		// With a longer WaitTimeout, the client or the commit would give up before the wait ends.
		longest = min(2*time.Second, o.CommitTimeout/2)
	}
	return errors.Join(
		queue,
		option.Within("Shards", o.Shards, 1, 100),
		option.Within("Retention", o.Retention, time.Minute, 10*365*24*time.Hour),
		option.Within("RetryFailed", o.RetryFailed, time.Minute, 10*365*24*time.Hour),
		option.Within("RetrySucceeded", o.RetrySucceeded, time.Minute, 10*365*24*time.Hour),
		option.Within("TopicEntries", o.TopicEntries, 10, 1_000_000),
		option.Within("TopicBytes", o.TopicBytes, 64<<10, 1<<30),
		option.Within("TopicTTL", o.TopicTTL, time.Minute, 10*365*24*time.Hour),
		option.Within("LogAge", o.LogAge, time.Second, time.Hour),
		option.Within("LogEntries", o.LogEntries, 100, 10_000_000),
		option.Within("LogBytes", o.LogBytes, 1<<20, 1<<30),
		option.Within("OutboxEntries", o.OutboxEntries, 1000, 1_000_000_000),
		option.Within("TopicJobs", o.TopicJobs, 100, 10_000_000),
		option.Within("QueueNames", o.QueueNames, 1, 10_000),
		option.Within("ScheduleJobs", o.ScheduleJobs, 1, 1000),
		option.Within("OutboxBytes", o.OutboxBytes, 1<<20, 1<<40),
		option.Within("WaitReplicas", o.WaitReplicas, 0, 10),
		option.Within("WaitTimeout", o.WaitTimeout, time.Millisecond, longest),
		option.Within("CommitTimeout", o.CommitTimeout, 100*time.Millisecond, time.Minute),
	)
}
