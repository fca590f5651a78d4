package engine

import (
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// The types that travel are package wire's, where their fields are documented.
type (
	// A Topic says whom records are for, such as "user:42".
	Topic = wire.Topic
	// A JobID names a job, and the shard that holds it.
	JobID = wire.JobID
	// A Cursor is the ID of the last record that a reader of a topic holds.
	Cursor = wire.Cursor

	// A Spec is a job to be enqueued.
	Spec = wire.Spec
	// A KeyLife says how long a Spec's Key gives the job that it has made.
	KeyLife = wire.KeyLife
	// Enqueued is what Enqueue and Retry answer.
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
	// JobError is why an attempt or a job ended badly.
	JobError = wire.JobError
	// A View is a job as JSON.
	View = wire.View
	// JobsQuery says which of a topic's jobs are wanted.
	JobsQuery = wire.JobsQuery
	// A Filter selects jobs, and records of jobs.
	Filter = wire.Filter
	// JobsPage is a page of a topic's jobs.
	JobsPage = wire.JobsPage

	// A Snapshot is the present state of a topic's jobs.
	Snapshot = stream.Snapshot
	// A Child is a job that a run makes for a part of its own work.
	Child = runtime.Child

	// A Record is one immutable fact in a topic's stream.
	Record = wire.Record
	// A RecordType says what a record is about.
	RecordType = wire.RecordType
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
	// A Scheduled is a schedule and where it stands.
	Scheduled = wire.Scheduled
	// A MissedPolicy says what becomes of the ticks for which no worker was there.
	MissedPolicy = wire.MissedPolicy
)

// Beginning is the cursor of a reader that holds nothing.
const Beginning = wire.Beginning

// NoParent is the Parent of a Filter for jobs that are no children.
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

// The types of records. JobProgress and JobCheckpoint are ticks: a later one of
// the same job replaces them. All others are milestones, or notifications.
const (
	JobReceiving        = wire.JobReceiving
	JobQueued           = wire.JobQueued
	JobStarted          = wire.JobStarted
	JobProgress         = wire.JobProgress
	JobCheckpoint       = wire.JobCheckpoint
	JobStage            = wire.JobStage
	JobLog              = wire.JobLog
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
	NotificationCreated = wire.NotificationCreated
	NotificationChanged = wire.NotificationChanged
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
	CodeTaskDeleted   = wire.CodeTaskDeleted
	CodeTaskArchived  = wire.CodeTaskArchived
	CodeTaskLost      = wire.CodeTaskLost
	CodeRecordLost    = wire.CodeRecordLost
	CodeUploadExpired = wire.CodeUploadExpired
	CodeUploadVoid    = wire.CodeUploadVoid
)

// The kinds of updates, the verdicts, and Fresh, the reason of the snapshot that a reader without
// a cursor begins with.
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

// The lives of a key that are shorter than its job is kept: until the job fails or is canceled,
// and until it ends in any way.
const (
	KeyUntilFailed = wire.KeyUntilFailed
	KeyWhileLive   = wire.KeyWhileLive
)

// What becomes of ticks that no worker was there for: none, one or all of them make jobs.
const (
	MissedSkip   = wire.MissedSkip
	MissedLatest = wire.MissedLatest
	MissedAll    = wire.MissedAll
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
	MaxSchedulePayloadBytes = wire.MaxSchedulePayloadBytes
	MaxSchedules            = wire.MaxSchedules
	MaxAllSchedules         = wire.MaxAllSchedules
	MaxMissed               = wire.MaxMissed
	MaxSnapshotLimit        = wire.MaxSnapshotLimit
	MaxChildren             = runtime.MaxChildren
	MaxChildWeight          = runtime.MaxChildWeight
	MaxChildDepth           = runtime.MaxChildDepth

	DefaultQueue       = wire.DefaultQueue
	DefaultMaxAttempts = wire.DefaultMaxAttempts
	// ScheduleLabel is the label of a job that names the schedule that made it.
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
	// ErrSchema: the namespace was laid out by another version of Tidemark, or with another
	// number of shards. Nothing was changed.
	ErrSchema = ground.ErrSchema
	// ErrEviction: Redis may throw keys away, and with them jobs.
	ErrEviction = ground.ErrEviction
)

// ParseTopic checks the form of s. Its error wraps ErrInvalidTopic.
func ParseTopic(s string) (Topic, error) { return wire.ParseTopic(s) }

// ParseJobID checks the form of s, not that there is such a job. Its error wraps
// ErrInvalidJobID.
func ParseJobID(s string) (JobID, error) { return wire.ParseJobID(s) }

// ParseCursor checks the form of s. Its error wraps ErrInvalidCursor.
func ParseCursor(s string) (Cursor, error) { return wire.ParseCursor(s) }

// CheckQueue checks the name of a queue. Its error wraps ErrInvalid.
func CheckQueue(name string) error { return wire.CheckQueue(name) }

// CheckScheduleName checks the name of a schedule. Its error wraps ErrInvalid.
func CheckScheduleName(name string) error { return wire.CheckScheduleName(name) }

// ParseURL reads the address of a Redis:
//
//	redis://[user:password@]host[:port][/db]                       one server
//	rediss://…                                                     the same over TLS
//	unix://[user:password@]/path/to/redis.sock[?db=0]              one server, Unix socket
//	redis+sentinel://[user:password@]host:port[,host:port…]/master[/db]
//	redis+cluster://[user:password@]host:port[,host:port…]
//
// The last two take rediss+… for TLS. Client settings, such as pool_size, may
// follow as a query in the forms for one server. Its error wraps ErrInvalid, and
// never shows the password.
func ParseURL(address string) (*redis.UniversalOptions, error) { return ground.ParseURL(address) }
