package config

import (
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// A Setting is one line of the table of settings.
type Setting struct {
	// Key is its name in a file, with dots for the sections.
	Key string
	// Flag is its own flag, without the dashes; "" where --set alone reaches it.
	Flag string
	// Brief is the flag's help, with the value's placeholder in backquotes.
	Brief string
	// Doc says what it is for.
	Doc string
	// Secret says that the value may hold a password.
	Secret bool

	// field is the field of the part's Options that it sets, and beside another one that it sets
	// with it; "" where there is none.
	field, beside string
	codec
}

// Variable is the setting's environment variable.
func (s Setting) Variable() string { return variable(s.Key) }

// settings is every setting but the processors', in the order in which they are shown: see
// allSettings. Defaults and
// bounds are not here: they stand in the parts' Options.
var settings = slices.Concat(processSettings, gatewaySettings, logSettings)

// processSettings are those before the gateway's.
var processSettings = []Setting{
	{
		Key: "data", Flag: "data", field: "Dir",
		Brief: "data folder `DIR`: files taken, profiles, and the Redis that is started where no URL is given",
		Doc: "The data folder: the files that were taken and what jobs wrote, under blobs, and, where redis.url is not set, " +
			"the Redis that is started for it, under redis. Processes that share a Redis must share it.",
		codec: word("a path", func(c *Config) *string { return &c.Data.Dir }),
	},
	{
		Key: "topic", Flag: "topic", field: "Topic",
		Brief: "`TOPIC` of the jobs",
		Doc:   "Whom the command line's jobs are for, and whose jobs it lists. A command that names a job by its ID finds it in any topic.",
		codec: word("a topic, such as user:42", func(c *Config) *engine.Topic { return &c.Topic }),
	},
	{
		Key: "server", Flag: "server", field: "Server", Secret: true,
		Brief: "`URL` of the gateway to speak to, instead of opening a data folder or Redis",
		Doc: "The gateway that analyze, jobs, job, watch, cancel, enqueue, schedules and schedule speak to over HTTP " +
			"and WebSocket, such as http://127.0.0.1:8080; they then open no data folder and no Redis. --data or --redis on the command line " +
			"go before a server that a variable or the file names. Credentials, where the gateway wants some, are a " +
			"token in the variable TIDEMARK_TOKEN.",
		codec: word("a URL, such as http://127.0.0.1:8080", func(c *Config) *string { return &c.Server }),
	},
	{
		Key: "redis.url", Flag: "redis", field: "URL", Secret: true,
		Brief: "`URL` of the Redis to use instead of the data folder's own",
		Doc: "The Redis to use: redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path/redis.sock, " +
			"redis+sentinel://host:port,…/master or redis+cluster://host:port,…. Without it a redis-server or " +
			"valkey-server of this machine is run on a socket in the data folder, or, where there is none, an " +
			"embedded Redis whose content ends with the process.",
		codec: word("a Redis URL", func(c *Config) *string { return &c.Data.URL }),
	},
	{
		Key: "redis.server", field: "ServerPath",
		Doc:   "The redis-server or valkey-server to run for the data folder, instead of the first on the PATH.",
		codec: word("a path", func(c *Config) *string { return &c.Data.ServerPath }),
	},
	{
		Key: "redis.embedded", field: "Embedded",
		Doc:   "When to take the embedded Redis: auto, where no server is installed; always; or never, which makes a missing server an error.",
		codec: fallback(),
	},

	{
		Key: "storage.url", field: "URL", Secret: true,
		Doc: "Where uploads and artifacts are kept: s3://bucket?region=REGION, for a store other than AWS with " +
			"&endpoint=https://host[:port], whose buckets are taken to be in the path unless path_style=false is there as well. Without it they " +
			"are in the data folder. All gateways and workers of a Redis must have the same. Credentials are no part of " +
			"it: they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS's shared files, the machine's role, or " +
			"storage.credentials_file. docs/storage.md says which rights they need.",
		codec: word("s3://bucket?region=REGION", func(c *Config) *string { return &c.Storage.URL }),
	},
	{
		Key: "storage.credentials_file", field: "CredentialsFile",
		Doc: "A file with the credentials for storage.url, in the form of AWS's shared credentials file: its profile " +
			"default is used, and read again every 5 minutes, so credentials can be renewed while a process runs.",
		codec: word("a path", func(c *Config) *string { return &c.Storage.CredentialsFile }),
	},
	{
		Key: "engine.namespace", field: "Namespace",
		Doc:   "The prefix of every key, so that several installations can share a Redis.",
		codec: word("a name", func(c *Config) *string { return &c.Engine.Namespace }),
	},
	{
		Key: "engine.default_queue", field: "DefaultQueue",
		Doc:   "The queue of jobs and workers that name none. Processes of one namespace should agree on it, and no other program that uses asynq on this Redis may use it.",
		codec: word("a name", func(c *Config) *string { return &c.Engine.DefaultQueue }),
	},
	{
		Key: "engine.shards", field: "Shards",
		Doc:   "The number of slices of the key space. It is fixed by the first process that opens the namespace.",
		codec: count(func(c *Config) *int { return &c.Engine.Shards }),
	},
	{
		Key: "engine.retention", field: "Retention",
		Doc:   "How long an ended job can be looked up.",
		codec: duration(func(c *Config) *time.Duration { return &c.Engine.Retention }),
	},
	{
		Key: "engine.retry_failed", field: "RetryFailed",
		Doc:   "How long a job that failed or was canceled can be tried again: its payload and checkpoint are kept for that long, and no longer than engine.retention.",
		codec: duration(func(c *Config) *time.Duration { return &c.Engine.RetryFailed }),
	},
	{
		Key: "engine.retry_succeeded", field: "RetrySucceeded",
		Doc:   "The same of a job that succeeded.",
		codec: duration(func(c *Config) *time.Duration { return &c.Engine.RetrySucceeded }),
	},
	{
		Key: "engine.topic_entries", field: "TopicEntries",
		Doc:   "The most records that a topic's stream keeps. A reader whose cursor is older gets a snapshot, and the reason.",
		codec: count(func(c *Config) *int { return &c.Engine.TopicEntries }),
	},
	{
		Key: "engine.topic_bytes", field: "TopicBytes",
		Doc:   "The most bytes of records that a topic's stream keeps.",
		codec: size(func(c *Config) *int { return &c.Engine.TopicBytes }),
	},
	{
		Key: "engine.topic_ttl", field: "TopicTTL",
		Doc:   "How long the stream of an idle topic stays.",
		codec: duration(func(c *Config) *time.Duration { return &c.Engine.TopicTTL }),
	},
	{
		Key: "engine.log_age", field: "LogAge",
		Doc:   "How far back a shard's log reaches; it must outlast a pause of the gateways that tail it.",
		codec: duration(func(c *Config) *time.Duration { return &c.Engine.LogAge }),
	},
	{
		Key: "engine.log_entries", field: "LogEntries",
		Doc:   "The most records that a shard's log keeps.",
		codec: count(func(c *Config) *int { return &c.Engine.LogEntries }),
	},
	{
		Key: "engine.log_bytes", field: "LogBytes",
		Doc:   "The most bytes of records that a shard's log keeps.",
		codec: size(func(c *Config) *int { return &c.Engine.LogBytes }),
	},
	{
		Key: "engine.outbox_entries", field: "OutboxEntries",
		Doc:   "The most records that a shard's outbox keeps for its consumer groups. At the cap the oldest go, counted, although a group has not read them.",
		codec: count(func(c *Config) *int { return &c.Engine.OutboxEntries }),
	},
	{
		Key: "engine.outbox_bytes", field: "OutboxBytes",
		Doc:   "The most bytes of records that it keeps, likewise.",
		codec: size(func(c *Config) *int { return &c.Engine.OutboxBytes }),
	},
	{
		Key: "engine.topic_jobs", field: "TopicJobs",
		Doc:   "The most live jobs that a topic may have, children and uploads included; one more is refused.",
		codec: count(func(c *Config) *int { return &c.Engine.TopicJobs }),
	},
	{
		Key: "engine.queue_names", field: "QueueNames",
		Doc:   "How many queues there may be before a job that names another one is refused. Those that workers serve are never refused.",
		codec: count(func(c *Config) *int { return &c.Engine.QueueNames }),
	},
	{
		Key: "engine.schedule_jobs", field: "ScheduleJobs",
		Doc:   "How many jobs a schedule may leave waiting: while so many of them are queued, retrying or paused, its ticks make none, and it says so.",
		codec: count(func(c *Config) *int { return &c.Engine.ScheduleJobs }),
	},
	{
		Key: "engine.wait_replicas", field: "WaitReplicas",
		Doc:   "How many replicas are asked to acknowledge each batch that holds a milestone (Redis WAIT); 0 waits for none.",
		codec: count(func(c *Config) *int { return &c.Engine.WaitReplicas }),
	},
	{
		Key: "engine.wait_timeout", field: "WaitTimeout",
		Doc:   "How long they are waited for.",
		codec: duration(func(c *Config) *time.Duration { return &c.Engine.WaitTimeout }),
	},
	{
		Key: "engine.commit_timeout", field: "CommitTimeout",
		Doc:   "How long a commit may take, retries included, before Redis counts as unreachable.",
		codec: duration(func(c *Config) *time.Duration { return &c.Engine.CommitTimeout }),
	},

	{
		Key: "worker.queues", Flag: "queues", field: "Queues", beside: "QueueWeights",
		Brief: "queues to take jobs from, as `NAME=WEIGHT,…`",
		Doc: "The queues that a worker takes jobs from. Of two that wait, one of twice the weight is served twice " +
			"as often. Without it a worker serves engine.default_queue.",
		codec: queues(func(c *Config) *[]string { return &c.Worker.Queues },
			func(c *Config) *map[string]int { return &c.Worker.QueueWeights }),
	},
	{
		Key: "worker.concurrency", Flag: "concurrency", field: "Concurrency",
		Brief: "`N` jobs at once",
		Doc:   "How many jobs a worker runs at once from its queues.",
		codec: count(func(c *Config) *int { return &c.Worker.Concurrency }),
	},
	{
		Key: "worker.rescue_slots", field: "RescueSlots",
		Doc:   "How many further jobs it runs at once that lost their worker or were handed back, so that these do not wait behind a queue.",
		codec: count(func(c *Config) *int { return &c.Worker.RescueSlots }),
	},
	{
		Key: "worker.tick_interval", field: "TickInterval",
		Doc:   "The shortest time between two progress records of a job.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.TickInterval }),
	},
	{
		Key: "worker.checkpoint_interval", field: "CheckpointInterval",
		Doc:   "How often a run's CheckpointDue says yes: the most work that a crash repeats.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.CheckpointInterval }),
	},
	{
		Key: "worker.heartbeat_interval", field: "HeartbeatInterval",
		Doc:   "How often a worker says that its runs are alive.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.HeartbeatInterval }),
	},
	{
		Key: "worker.lease", field: "Lease",
		Doc:   "How long a run may be silent before another worker takes its job over; at least two heartbeats.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.Lease }),
	},
	{
		Key: "worker.sweep_interval", field: "SweepInterval",
		Doc:   "How often a worker looks for silent runs of others.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.SweepInterval }),
	},
	{
		Key: "worker.reconcile_interval", field: "ReconcileInterval",
		Doc:   "How often a worker compares live jobs with asynq's tasks, and mends what is missing.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.ReconcileInterval }),
	},
	{
		Key: "worker.crash_limit", field: "CrashLimit",
		Doc:   "How many crashes, with no checkpoint between them, end a job as failed. The first two may be a neighbour's and do not count; then the job runs alone in its process.",
		codec: count(func(c *Config) *int { return &c.Worker.CrashLimit }),
	},
	{
		Key: "worker.unknown_type_wait", field: "UnknownTypeWait",
		Doc:   "How long a job waits for a worker that knows its type, when one that does not has taken it. If none comes by then, the job fails with code no_handler.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.UnknownTypeWait }),
	},
	{
		Key: "worker.rescues_per_second", field: "RescuesPerSecond",
		Doc:   "How fast a worker takes over the jobs of lost ones.",
		codec: decimal(func(c *Config) *float64 { return &c.Worker.RescuesPerSecond }),
	},
	{
		Key: "worker.backoff_min", field: "BackoffMin",
		Doc:   "The wait before a failed attempt's first retry; it doubles with each, jittered.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.BackoffMin }),
	},
	{
		Key: "worker.backoff_max", field: "BackoffMax",
		Doc:   "The longest wait before a retry.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.BackoffMax }),
	},
	{
		Key: "worker.drain_grace", field: "DrainGrace",
		Doc:   "How long a worker that stops waits for its runs to checkpoint and return.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.DrainGrace }),
	},
	{
		Key: "worker.cancel_grace", field: "CancelGrace",
		Doc:   "How long a canceled run may take to return before its job is ended without it.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.CancelGrace }),
	},
	{
		Key: "worker.log_lines", field: "LogLines",
		Doc:   "The most log lines of a run that become records; the rest is counted.",
		codec: count(func(c *Config) *int { return &c.Worker.LogLines }),
	},
	{
		Key: "worker.artifact_quota_bytes", field: "ArtifactQuotaBytes",
		Doc:   "What the artifacts of a topic may take together; 0 is any. Once an hour one of the workers deletes the oldest beyond it, and those that have expired.",
		codec: size(func(c *Config) *int64 { return &c.Worker.ArtifactQuotaBytes }),
	},
	{
		Key: "worker.dataset_age", field: "DatasetAge",
		Doc: "The age at which datasets go; 0 is none. Once an hour one of the workers looks. A dataset stays while a job that names " +
			"it lives or can be retried, or a stored schedule names it.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.DatasetAge }),
	},
	{
		Key: "worker.dataset_quota_bytes", field: "DatasetQuotaBytes",
		Doc:   "What the datasets of a topic may take together; 0 is any. The oldest beyond it go, as with `worker.dataset_age`.",
		codec: size(func(c *Config) *int64 { return &c.Worker.DatasetQuotaBytes }),
	},
	{
		Key: "worker.schedule_interval", field: "ScheduleInterval",
		Doc:   "How often a worker reads the schedules that are stored in Redis: how soon a new one ticks.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.ScheduleInterval }),
	},
	{
		Key: "worker.schedule_grace", field: "ScheduleGrace",
		Doc:   "How late a tick of a schedule may make its job in any case. Later ones were missed, and the schedule says what happens to them.",
		codec: duration(func(c *Config) *time.Duration { return &c.Worker.ScheduleGrace }),
	},

	{
		Key: "health.addr", Flag: "health-addr", field: "Addr",
		Brief: "`HOST:PORT` for probes and metrics; port 0 takes a free one",
		Doc: "Where tidemark worker answers GET /healthz and /readyz and shows its metrics under /metrics, as host:port, " +
			"without credentials; port 0 takes a free one. Nowhere unless set. up and gateway show theirs at gateway.addr.",
		codec: word("host:port, such as 127.0.0.1:9091", func(c *Config) *string { return &c.Health.Addr }),
	},

	{
		Key: "schedules", field: "Schedules",
		Doc: "Schedules that every worker with this configuration runs, beside those that are stored in Redis. " +
			"Each has a name of its own within its topic, the topic and type of its jobs, and cron, which says when it " +
			"ticks: five fields (minute, hour, day of month, month, day of week), or @hourly, @daily, @weekly, " +
			"@monthly, @yearly, or @every with a duration in whole seconds, in quotes, as YAML wants them. It may have a " +
			"time_zone, which is UTC if absent; missed, for ticks that no worker was there for: skip, latest (a job for " +
			"the newest of them, the default) or all (a job for each of the newest 100); and payload, title, queue, " +
			"labels and max_attempts, as a job has them. A payload is at most 16 KiB, and config print shows it.",
		codec: schedules(func(c *Config) *[]engine.Schedule { return &c.Worker.Schedules }),
	},

	{
		Key: "sources", field: "Sources", Secret: true,
		Doc: "Tables and queries of SQL databases that exports may name; tidemark sources lists them. Each has a name; url, " +
			"postgres://user:password@host:port/database?sslmode=… or sqlite:///path/to/file.db, or url_file, a file that holds it " +
			"and is read at each opening; table, a table or view, with a dot after its schema if it has one, or query, one SELECT; and key, 1 to 8 of its columns " +
			"that together are unique and NOT NULL, in whose order the rows come. Those of a table must be declared so; those " +
			"of a view or a query are checked by reading all rows, at each opening. A query may name params as :name, at most 32; users give " +
			"a text of at most 4 KiB for each, which is bound. Postgres finds a parameter's type by its use; in SQLite it is a text, which CAST(:name AS INTEGER) makes a number. " +
			"topics, at most 1000, are those whose jobs may export it: user:42, team:* for all of a kind, * for all, which is the default; to others there is no such source. " +
			"connections is how many exports of a process read the source at a time, 1 to 100, 4 if absent; timeout, 10m if absent, is how long the " +
			"database may take to check the key, and then to give each row. Each session can only read, in one snapshot. " +
			"A row may have 1000 columns and 32 MiB, a cell 8 MiB, a key 1 KiB.",
		codec: sources(func(c *Config) *[]sqlsource.Source { return &c.Sources }),
	},
}

var logSettings = []Setting{
	{
		Key: "log.level", Flag: "log-level", field: "Level",
		Brief: "least `LEVEL` of what is logged: debug, info, warn or error",
		Doc: "The least level of what is logged on standard error. Commands other than up, gateway and worker " +
			"log errors alone when this is not set.",
		codec: word("debug, info, warn or error", func(c *Config) *string { return &c.Log.Level }),
	},
	{
		Key: "log.format", field: "Format",
		Doc:   "text or json.",
		codec: word("text or json", func(c *Config) *string { return &c.Log.Format }),
	},
}
