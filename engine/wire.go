package engine

import (
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// These types travel. Package wire declares them and documents their fields.
type (
	// A Topic names the audience of records, such as "user:42".
	Topic = wire.Topic
	// A JobID identifies a job, and the shard that holds it.
	JobID = wire.JobID
	// A Cursor is the ID of the last record that a reader of a topic holds.
	Cursor = wire.Cursor

	// A Spec is a job to be enqueued.
	Spec = wire.Spec
	// A KeyLife says how long a Spec's Key returns the job that it created.
	KeyLife = wire.KeyLife
	// Enqueued is what Enqueue and Retry return.
	Enqueued = wire.Enqueued
	// RetryQuery says how an ended job is tried again.
	RetryQuery = wire.RetryQuery

	// A Job is a job as its records show it.
	Job = wire.Job
	// A State is where a job is in its life.
	State = wire.State
	// Progress is how far a run has come in units of its own.
	Progress = wire.Progress
	// A Stage is the named part of a job that a run is in.
	Stage = wire.Stage
	// Children counts the children of a job's fan-out.
	Children = wire.Children
	// An Artifact is a file that a job has written.
	Artifact = wire.Artifact
	// JobError is why an attempt or a job ended badly.
	JobError = wire.JobError
	// A View is a job as JSON.
	View = wire.View
	// JobsQuery selects jobs of a topic, by pages.
	JobsQuery = wire.JobsQuery
	// A Filter selects jobs, and records of jobs.
	Filter = wire.Filter
	// JobsPage is a page of a topic's jobs.
	JobsPage = wire.JobsPage

	// A Queue is how a queue of jobs is served at the moment.
	Queue = wire.Queue
	// QueueCounts is what asynq holds of a queue.
	QueueCounts = wire.QueueCounts
	// A Hold says why no worker takes a waiting job.
	Hold = wire.Hold

	// A Snapshot is the present state of a topic's jobs.
	Snapshot = stream.Snapshot
	// A Child is a job that a run creates for a part of its own work.
	Child = runtime.Child

	// A Record is one immutable fact in a topic's stream.
	Record = wire.Record
	// A RecordType says what a record is about.
	RecordType = wire.RecordType
	// A Download is a watched download of an artifact.
	Download = wire.Download
	// A DownloadState is how far a download is.
	DownloadState = wire.DownloadState
	// An ExpiredArtifact is a file that is no longer kept.
	ExpiredArtifact = wire.ExpiredArtifact
	// A LogLine is what a job.log record says.
	LogLine = wire.LogLine
	// An Entry is a record as the stream holds it.
	Entry = wire.Entry

	// FollowQuery says what to follow.
	FollowQuery = wire.FollowQuery
	// An Update is one step of Follow.
	Update = wire.Update
	// UpdateKind says what an Update brings.
	UpdateKind = wire.UpdateKind
	// A Verdict says whether a reader can go on from its cursor.
	Verdict = wire.Verdict

	// A Schedule makes a job each time it ticks.
	Schedule = wire.Schedule
	// A Scheduled is a schedule and its state.
	Scheduled = wire.Scheduled
	// A MissedPolicy says what happens to ticks missed while no worker ran.
	MissedPolicy = wire.MissedPolicy
)

// Beginning is the cursor of a reader without records.
const Beginning = wire.Beginning

// NoParent is the Parent of a Filter that selects jobs without a parent.
const NoParent = wire.NoParent

// The states of a job.
const (
	Receiving = wire.Receiving
	Queued    = wire.Queued
	Running   = wire.Running
	Awaiting  = wire.Awaiting
	Paused    = wire.Paused
	Retrying  = wire.Retrying
	Succeeded = wire.Succeeded
	Failed    = wire.Failed
	Canceled  = wire.Canceled
)

// The states of watched downloads.
const (
	DownloadStateRunning   = wire.DownloadStateRunning
	DownloadStateCompleted = wire.DownloadStateCompleted
	DownloadStateAborted   = wire.DownloadStateAborted
)

// The types of records. JobProgress and JobCheckpoint are ticks: a later record of the same job
// replaces them. All others are milestones, or notifications.
const (
	JobReceiving        = wire.JobReceiving
	JobQueued           = wire.JobQueued
	JobStarted          = wire.JobStarted
	JobProgress         = wire.JobProgress
	JobCheckpoint       = wire.JobCheckpoint
	JobStage            = wire.JobStage
	JobLog              = wire.JobLog
	JobArtifact         = wire.JobArtifact
	JobAwaiting         = wire.JobAwaiting
	JobPausing          = wire.JobPausing
	JobPaused           = wire.JobPaused
	JobRetrying         = wire.JobRetrying
	JobStalled          = wire.JobStalled
	JobResumed          = wire.JobResumed
	JobCanceling        = wire.JobCanceling
	JobSucceeded        = wire.JobSucceeded
	JobFailed           = wire.JobFailed
	JobCanceled         = wire.JobCanceled
	JobRemoved          = wire.JobRemoved
	NotificationCreated = wire.NotificationCreated
	NotificationChanged = wire.NotificationChanged
	ArtifactExpired     = wire.ArtifactExpired
	DownloadStarted     = wire.DownloadStarted
	DownloadProgress    = wire.DownloadProgress
	DownloadCompleted   = wire.DownloadCompleted
	DownloadAborted     = wire.DownloadAborted
)

// Codes of a JobError; package wire says what each means.
const (
	CodeError         = wire.CodeError
	CodePermanent     = wire.CodePermanent
	CodePanic         = wire.CodePanic
	CodeDeadline      = wire.CodeDeadline
	CodeWorkerLost    = wire.CodeWorkerLost
	CodeNoHandler     = wire.CodeNoHandler
	CodeChildFailed   = wire.CodeChildFailed
	CodeParentEnded   = wire.CodeParentEnded
	CodeTaskDeleted   = wire.CodeTaskDeleted
	CodeTaskArchived  = wire.CodeTaskArchived
	CodeTaskLost      = wire.CodeTaskLost
	CodeRecordLost    = wire.CodeRecordLost
	CodeUploadExpired = wire.CodeUploadExpired
	CodeUploadVoid    = wire.CodeUploadVoid
)

// The kinds of updates, the verdicts, and Fresh, the reason of the snapshot for a reader without a
// cursor.
const (
	UpdateRecord      = wire.UpdateRecord
	UpdateSnapshot    = wire.UpdateSnapshot
	UpdateLive        = wire.UpdateLive
	UpdateInterrupted = wire.UpdateInterrupted

	Resumed   = wire.Resumed
	Trimmed   = wire.Trimmed
	Rewritten = wire.Rewritten
	Fresh     = wire.Fresh
)

// The shorter lives of a key: until the job fails or is canceled, and until it ends in any way. The
// zero KeyLife lasts as long as the job is kept.
const (
	KeyUntilFailed = wire.KeyUntilFailed
	KeyWhileLive   = wire.KeyWhileLive
)

// What happens to ticks missed while no worker ran: none, one or all of them create jobs.
const (
	MissedSkip   = wire.MissedSkip
	MissedLatest = wire.MissedLatest
	MissedAll    = wire.MissedAll
)

// The holds; package wire says what each means.
const (
	HoldPaused      = wire.HoldPaused
	HoldRefused     = wire.HoldRefused
	HoldNoWorker    = wire.HoldNoWorker
	HoldUnknownType = wire.HoldUnknownType
)

// Bounds and defaults.
const (
	MaxRecordBytes          = wire.MaxRecordBytes
	MaxPayloadBytes         = wire.MaxPayloadBytes
	MaxResultBytes          = wire.MaxResultBytes
	MaxMessageBytes         = wire.MaxMessageBytes
	MaxTitleRunes           = wire.MaxTitleRunes
	MaxErrorBytes           = wire.MaxErrorBytes
	MaxCheckpointBytes      = wire.MaxCheckpointBytes
	MaxArtifacts            = wire.MaxArtifacts
	ReasonExpired           = wire.ReasonExpired
	ReasonQuota             = wire.ReasonQuota
	ReasonCanceled          = wire.ReasonCanceled
	ReasonLapsed            = wire.ReasonLapsed
	MaxDownloads            = wire.MaxDownloads
	MaxArtifactTypeBytes    = wire.MaxArtifactTypeBytes
	MaxSchedulePayloadBytes = wire.MaxSchedulePayloadBytes
	MaxSchedules            = wire.MaxSchedules
	MaxAllSchedules         = wire.MaxAllSchedules
	MaxMissed               = wire.MaxMissed
	MaxSnapshotLimit        = wire.MaxSnapshotLimit
	MaxQueueJobs            = wire.MaxQueueJobs
	MaxChildren             = runtime.MaxChildren
	MaxChildWeight          = runtime.MaxChildWeight
	MaxChildDepth           = runtime.MaxChildDepth

	DefaultQueue       = wire.DefaultQueue
	FormerQueue        = wire.FormerQueue
	DefaultMaxAttempts = wire.DefaultMaxAttempts
	// ScheduleLabel is the label that names the schedule that created a job.
	ScheduleLabel = wire.ScheduleLabel
	// TopicForm says in words what form a Topic has.
	TopicForm = wire.TopicForm
)

// Errors to branch on; package wire says what each means.
var (
	ErrInvalid       = wire.ErrInvalid
	ErrInvalidTopic  = wire.ErrInvalidTopic
	ErrInvalidJobID  = wire.ErrInvalidJobID
	ErrInvalidCursor = wire.ErrInvalidCursor
	ErrNotFound      = wire.ErrNotFound
	ErrNoSchedule    = wire.ErrNoSchedule
	ErrNoDataset     = wire.ErrNoDataset
	ErrEnded         = wire.ErrEnded
	ErrState         = wire.ErrState
	ErrLimit         = wire.ErrLimit
	ErrAhead         = wire.ErrAhead
	ErrRewritten     = wire.ErrRewritten
	ErrUnreachable   = wire.ErrUnreachable
	ErrOutOfMemory   = wire.ErrOutOfMemory
	ErrUnreplicated  = wire.ErrUnreplicated

	// ErrClosed: the engine was closed.
	ErrClosed = ground.ErrClosed
	// ErrSchema: another version of Tidemark created the namespace, or with another number of
	// shards. Open has changed nothing.
	ErrSchema = ground.ErrSchema
	// ErrEviction: Redis is configured to evict keys, and would lose jobs.
	ErrEviction = ground.ErrEviction
)

// ParseTopic checks the form of s. Its error wraps ErrInvalidTopic.
func ParseTopic(s string) (Topic, error) { return wire.ParseTopic(s) }

// ParseJobID checks the form of s, not whether the job exists. Its error wraps ErrInvalidJobID.
func ParseJobID(s string) (JobID, error) { return wire.ParseJobID(s) }

// ParseCursor checks the form of s. Its error wraps ErrInvalidCursor.
func ParseCursor(s string) (Cursor, error) { return wire.ParseCursor(s) }

// CheckQueue checks the name of a queue. Its error wraps ErrInvalid.
func CheckQueue(name string) error { return wire.CheckQueue(name) }

// CheckScheduleName checks the name of a schedule. Its error wraps ErrInvalid.
func CheckScheduleName(name string) error { return wire.CheckScheduleName(name) }

// ParseURL parses the address of a Redis:
//
//	redis://[user:password@]host[:port][/db]                       one server
//	rediss://…                                                     the same over TLS
//	unix://[user:password@]/path/to/redis.sock[?db=0]              one server, Unix socket
//	redis+sentinel://[user:password@]host:port[,host:port…]/master[/db]
//	redis+cluster://[user:password@]host:port[,host:port…]
//
// For TLS, use rediss+sentinel and rediss+cluster. Settings of the client, such as pool_size, may
// follow as a query, as with one server. Its error wraps ErrInvalid, and never shows the password.
func ParseURL(address string) (*redis.UniversalOptions, error) { return ground.ParseURL(address) }
