package engine

import (
	"errors"
	"log/slog"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/internal/logline"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Options say which Redis an Engine uses and what it keeps there. The zero value
// works: a Redis on 127.0.0.1:6379 and the defaults below. Processes that share a
// namespace must agree on Shards, which Open checks; the other bounds are applied
// by whoever writes, so let them agree too.
type Options struct {
	// URL names the Redis, in a form that ParseURL takes. Defaults to
	// "redis://127.0.0.1:6379/0".
	URL string

	// Redis replaces URL with the client's own options, for what a URL cannot say.
	// Open overwrites ContextTimeoutEnabled, DisableIdentity and
	// MaintNotificationsConfig.
	Redis *redis.UniversalOptions

	// Namespace is the prefix of every key, so that several installations share a
	// Redis: [a-z][a-z0-9-]{0,31}. asynq's own keys are not under it, but its queues
	// are named for it, see QueueName. Defaults to DefaultNamespace.
	Namespace string

	// Shards is the number of slices of the key space, from 1 to 100. It is fixed
	// by the first process that opens the namespace. Defaults to 16.
	Shards int

	// Retention is how long an ended job can be looked up, from 1 minute to 10
	// years. Defaults to 7 days.
	Retention time.Duration

	// RetryFailed and RetrySucceeded are how long an ended job can be tried again, one
	// that failed or was canceled and one that succeeded: its payload and its checkpoint
	// are kept for that long, and no longer than Retention. From 1 minute to 10 years.
	// Default to 7 days and 1 day.
	RetryFailed    time.Duration
	RetrySucceeded time.Duration

	// TopicEntries and TopicBytes bound a topic's stream: the records that it
	// holds and the sum of their JSON. At least 10 and 64 KiB. A reader that was
	// away for longer than the stream reaches back is told so and gets a snapshot.
	// Default to 5,000 and 1 MiB.
	TopicEntries int
	TopicBytes   int

	// TopicTTL is how long the stream of an idle topic stays, from 1 minute on; its
	// head stays 30 days longer. Defaults to 7 days.
	TopicTTL time.Duration

	// LogAge, LogEntries and LogBytes bound a shard's log, which only has to outlast a
	// pause of whoever tails it; LogBytes is the sum of the records' JSON. From 1
	// second, 100 entries and 1 MiB on. Default to 60 seconds, 20,000 and 32 MiB.
	LogAge     time.Duration
	LogEntries int
	LogBytes   int

	// OutboxEntries and OutboxBytes are the cap of a shard's outbox, from 1,000 and 1
	// MiB on; OutboxBytes is the sum of the records' JSON. At the cap the oldest records
	// go, counted, although a consumer group has not read them. Default to 1,000,000 and
	// 1 GiB.
	OutboxEntries int
	OutboxBytes   int

	// TopicJobs is how many live jobs a topic may have, children and those whose input
	// arrives included, from 100 to 10,000,000; adopted ones count and are never refused.
	// One more is refused with ErrLimit. Defaults to 250,000, which are two fan-outs of the
	// largest kind with room beside them.
	TopicJobs int

	// QueueNames is how many queues there may be before a job that names another one is
	// refused with ErrLimit, from 1 to 10,000. Those that workers serve are never refused.
	// Defaults to 100.
	QueueNames int

	// ScheduleJobs is how many jobs a schedule may leave waiting, from 1 to 1,000: while so
	// many of its jobs are queued, retrying or paused, a tick makes none, and the schedule
	// says so. Defaults to 10.
	ScheduleJobs int

	// WaitReplicas asks this many replicas to acknowledge each batch that holds a
	// milestone (Redis WAIT), for at most WaitTimeout. A batch that fewer
	// acknowledged stands, and is answered with ErrUnreplicated. From 0, which does
	// not wait, to 10; not on Redis Cluster. Default to 0 and 1 second;
	// WaitTimeout is at most 2 seconds and half of CommitTimeout, or a commit without
	// its replicas would look unreachable.
	WaitReplicas int
	WaitTimeout  time.Duration

	// CommitTimeout is how long one call of the commit script may take, retries of
	// the client included, before it is answered with ErrUnreachable, and how long a
	// call such as Enqueue waits while Redis Cluster moves a slot. From 100
	// milliseconds on. Defaults to 5 seconds.
	CommitTimeout time.Duration

	// Logger hears of what no caller can be told, at most 16 KiB of text a line. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// DefaultNamespace is the namespace of Options that name none.
const DefaultNamespace = ground.DefaultNamespace

// An OptionError says which field of Options, or of another struct, has a value that it does
// not take, and its bounds. It wraps ErrInvalid.
type OptionError = option.Error

var namespaceForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Defaults returns o with every zero field set to its default.
func (o Options) Defaults() Options {
	option.Default(&o.URL, "redis://127.0.0.1:6379/0")
	option.Default(&o.Namespace, DefaultNamespace)
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

// Validate checks o as Defaults completes it. Its error joins an *OptionError for each
// field that is out of bounds, and wraps ErrInvalid.
func (o Options) Validate() error {
	o = o.Defaults()
	if !namespaceForm.MatchString(o.Namespace) {
		return option.Invalid("Namespace", o.Namespace, "want [a-z][a-z0-9-]{0,31}")
	}
	longest := time.Minute
	if o.WaitReplicas > 0 {
		// Beyond that, the client or the commit would give up before the wait does.
		longest = min(2*time.Second, o.CommitTimeout/2)
	}
	return errors.Join(
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
