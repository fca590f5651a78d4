package worker

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/logline"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Options say what a Worker takes and how long it waits for what. Only Engine is
// required; every other field's zero value means its default. Workers of one
// namespace may differ in all of them, but a worker whose Lease is short rescues
// the jobs of one whose HeartbeatInterval is long, so let those two agree.
type Options struct {
	// Engine is the worker's access to jobs. Required. It must stay open until Stop
	// has returned.
	Engine *engine.Engine

	// Queues are the queues from which the worker takes jobs, each named as Spec.Queue names it.
	// It serves each together with its rescue queue, see RescueSlots. Defaults to the engine's
	// default queue alone.
	Queues []string

	// QueueWeights are shares of Queues, each 1 to 1,000: of two that have jobs waiting, one of
	// twice the weight is served twice as often. A queue that is not in it has weight 1.
	QueueWeights map[string]int

	// Concurrency is how many jobs of the queues run at once, 1 to 10,000. Defaults
	// to 10.
	Concurrency int

	// RescueSlots is how many jobs of the rescue queues run at once beside those of Concurrency:
	// jobs that lost their worker, or that a worker handed back. So they wait neither behind a
	// backlog nor for a slot. More of them take free slots of Concurrency too. 1 to 10,000.
	// Defaults to a quarter of Concurrency, at least 1.
	RescueSlots int

	// TickInterval is the least time between two reports of a run's progress, 10 ms to 1
	// minute. Defaults to 200 ms.
	TickInterval time.Duration

	// CheckpointInterval is how often Run.CheckpointDue says yes, 10 ms to 1 hour.
	// Defaults to 1 second.
	CheckpointInterval time.Duration

	// HeartbeatInterval is the time between two heartbeats, 10 ms to 1 minute. It is also how soon
	// a run learns of a cancel. Defaults to 1 second.
	HeartbeatInterval time.Duration

	// Lease is how long a run of any worker may be silent before this one claims
	// its job: at least 2 heartbeats, at most 10 minutes. Defaults to 4 seconds.
	Lease time.Duration

	// SweepInterval is the time between two readings of all workers' heartbeats while jobs run,
	// from 10 ms to a quarter of Lease. While nothing runs it is that quarter. Defaults to 500 ms.
	SweepInterval time.Duration

	// ReconcileInterval is the time between two comparisons of waiting jobs with asynq, and of
	// deadlines with the clock, 10 ms to 10 minutes. Workers share the rounds over all live jobs,
	// so it is also the time between two looks at a job, while up to some 30,000 live. A job
	// whose task is missing gets it back after two to three intervals. Defaults to 5 seconds.
	ReconcileInterval time.Duration

	// CrashLimit is how many lost workers in a row, while they ran the job alone and without
	// a checkpoint between them, end it as failed with code "worker_lost". The first two
	// may be a neighbour's and do not count; from then on the job runs where nothing else
	// does. 1 to 1,000. Defaults to 5.
	CrashLimit int

	// UnknownTypeWait is how long a job waits for a worker that knows its type, when a worker
	// without a handler for it has taken it from their queue. It costs the job no retry. If no
	// worker knows the type by then, the job fails with code "no_handler". 10 ms to 30 days.
	// Defaults to 1 hour.
	UnknownTypeWait time.Duration

	// RescuesPerSecond bounds how fast this worker claims jobs, so that workers do not stampede
	// when a network comes back. Above 0, at most 10,000. Defaults to 50.
	RescuesPerSecond float64

	// BackoffMin and BackoffMax bound the wait before a failed attempt is tried
	// again. It doubles with each retry, and its upper half is random. 1 ms to 24
	// hours. Default to 1 second and 5 minutes.
	BackoffMin time.Duration
	BackoffMax time.Duration

	// DrainGrace is how long Stop lets runs checkpoint and return, 1 ms to 1 hour. Other workers
	// rescue the jobs of later ones after the lease. Defaults to 20 seconds.
	DrainGrace time.Duration

	// CancelGrace is how long a handler may continue after its context has ended by cancel or
	// deadline, 1 ms to 1 hour. Then the worker commits the job's end, whether or not the handler
	// has returned. Defaults to 10 seconds.
	CancelGrace time.Duration

	// LogLines is how many job.log records an attempt may write, 1 to 10,000.
	// Defaults to 200.
	LogLines int

	// Schedules tick beside those that Redis stores, and replace stored ones of their topic and
	// name. Give all workers the same: each worker makes the jobs of its own.
	Schedules []engine.Schedule

	// ScheduleInterval is the time between two readings of the stored schedules, so how soon a new
	// one ticks, 10 ms to 10 minutes. Defaults to 5 seconds.
	ScheduleInterval time.Duration

	// ScheduleGrace is how late a tick may make its job in any case, 10 ms to 1 hour. A later one
	// was missed, and its schedule's Missed says what happens to it. Defaults to 1 minute.
	ScheduleGrace time.Duration

	// Blobs keeps what handlers write with Run.Artifact. Give all workers of a namespace the same
	// store, and gateways too. In a folder that package fileblob opens, an artifact survives a power cut
	// only with its options NoTempDir and MetadataDontWrite. It must stay open until Stop has returned.
	// Defaults to none: Run.Artifact then returns an error.
	Blobs *blob.Bucket

	// ArtifactQuotaBytes is what the artifacts of a topic may take together in Blobs, up to 1 PiB; once
	// an hour one of the workers deletes the oldest beyond it, and those that have expired. Defaults to
	// 0: any.
	ArtifactQuotaBytes int64

	// DatasetAge is the age at which datasets in Blobs go, up to 10 years, and DatasetQuotaBytes what
	// those of a topic may take together, up to 1 PiB, the oldest going first. One of the workers looks once an
	// hour. A dataset stays while a job that names it lives or can be retried, or a stored schedule names it.
	// Default to 0: datasets stay until somebody deletes them.
	DatasetAge        time.Duration
	DatasetQuotaBytes int64

	// Registry gets the worker's metrics: attempts that run and that have ended, by job type and
	// outcome. Workers and Adopters of one registry share them. Defaults to none.
	Registry *prometheus.Registry

	// Logger gets what no caller can get as an error, at most 16 KiB of text a line. At info it gets
	// each attempt's start and end. Defaults to slog.Default().
	Logger *slog.Logger
}

// Defaults returns o with every zero field set to its default.
func (o Options) Defaults() Options {
	if rt := runtime.Of(o.Engine); len(o.Queues) == 0 && rt != nil {
		o.Queues = []string{rt.DefaultQueue()}
	} else if len(o.Queues) == 0 {
		o.Queues = []string{engine.DefaultQueue}
	}
	o.Queues = slices.Clone(o.Queues) // the caller keeps its own
	o.QueueWeights = maps.Clone(o.QueueWeights)
	option.Default(&o.Concurrency, 10)
	option.Default(&o.RescueSlots, max(1, o.Concurrency/4))
	option.Default(&o.TickInterval, 200*time.Millisecond)
	option.Default(&o.CheckpointInterval, time.Second)
	option.Default(&o.HeartbeatInterval, time.Second)
	option.Default(&o.Lease, 4*time.Second)
	option.Default(&o.SweepInterval, 500*time.Millisecond)
	option.Default(&o.ReconcileInterval, 5*time.Second)
	option.Default(&o.CrashLimit, 5)
	option.Default(&o.UnknownTypeWait, time.Hour)
	option.Default(&o.RescuesPerSecond, 50)
	option.Default(&o.BackoffMin, time.Second)
	option.Default(&o.BackoffMax, 5*time.Minute)
	option.Default(&o.DrainGrace, 20*time.Second)
	option.Default(&o.CancelGrace, 10*time.Second)
	option.Default(&o.LogLines, 200)
	option.Default(&o.ScheduleInterval, 5*time.Second)
	option.Default(&o.ScheduleGrace, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = logline.Bounded(o.Logger)
	return o
}

// Validate checks o as Defaults completes it, apart from Engine, so that a program can check
// settings before it opens one. Its error joins an *engine.OptionError for each field that is out
// of bounds, and wraps engine.ErrInvalid.
func (o Options) Validate() error {
	o = o.Defaults()
	const least = 10 * time.Millisecond
	problems := []error{
		option.Within("Concurrency", o.Concurrency, 1, 10_000),
		option.Within("RescueSlots", o.RescueSlots, 1, 10_000),
		option.Within("TickInterval", o.TickInterval, least, time.Minute),
		option.Within("CheckpointInterval", o.CheckpointInterval, least, time.Hour),
		option.Within("HeartbeatInterval", o.HeartbeatInterval, least, time.Minute),
		option.Within("Lease", o.Lease, 2*o.HeartbeatInterval, 10*time.Minute),
		option.Within("SweepInterval", o.SweepInterval, least, max(least, o.Lease/4)),
		option.Within("ReconcileInterval", o.ReconcileInterval, least, 10*time.Minute),
		option.Within("CrashLimit", o.CrashLimit, 1, 1000),
		option.Within("UnknownTypeWait", o.UnknownTypeWait, least, 30*24*time.Hour),
		option.Within("RescuesPerSecond", o.RescuesPerSecond, 0.001, 10_000),
		option.Within("BackoffMin", o.BackoffMin, time.Millisecond, 24*time.Hour),
		option.Within("BackoffMax", o.BackoffMax, o.BackoffMin, 24*time.Hour),
		option.Within("DrainGrace", o.DrainGrace, time.Millisecond, time.Hour),
		option.Within("CancelGrace", o.CancelGrace, time.Millisecond, time.Hour),
		option.Within("LogLines", o.LogLines, 1, 10_000),
		option.Within("ScheduleInterval", o.ScheduleInterval, least, 10*time.Minute),
		option.Within("ArtifactQuotaBytes", o.ArtifactQuotaBytes, 0, 1<<50),
		option.Within("DatasetAge", o.DatasetAge, 0, 10*365*24*time.Hour),
		option.Within("DatasetQuotaBytes", o.DatasetQuotaBytes, 0, 1<<50),
		option.Within("ScheduleGrace", o.ScheduleGrace, least, time.Hour),
	}
	seen := map[string]bool{}
	for _, q := range o.Queues {
		if engine.CheckQueue(q) != nil {
			problems = append(problems, option.Invalid("Queues", nil, "name %.80q: want [a-z0-9][a-z0-9_-]{0,63}, not ending in %s", q, runtime.RescueQueue("")))
		} else if seen[q] {
			problems = append(problems, option.Invalid("Queues", nil, "%s is named twice", q))
		}
		seen[q] = true
	}
	for _, q := range slices.Sorted(maps.Keys(o.QueueWeights)) {
		if weight := o.QueueWeights[q]; !seen[q] {
			problems = append(problems, option.Invalid("QueueWeights", nil, "%.80q is none of Queues", q))
		} else if weight < 1 || weight > 1000 {
			problems = append(problems, option.Invalid("QueueWeights", nil, "weight of %.80s %d: want 1 to 1000", q, weight))
		}
	}
	named := map[[2]string]bool{}
	for _, s := range o.Schedules {
		if err := s.Validate(); err != nil {
			for fault := range strings.SplitSeq(err.Error(), "\n") {
				problems = append(problems, option.Invalid("Schedules", nil, "%.64s of %.64s: %s", s.Name, s.Topic, fault))
			}
		} else if name := [2]string{string(s.Topic), s.Name}; named[name] {
			problems = append(problems, option.Invalid("Schedules", nil, "%s of %s is named twice", s.Name, s.Topic))
		} else {
			named[name] = true
		}
	}
	return errors.Join(problems...)
}
