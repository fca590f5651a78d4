package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// A RecordType says what a record is about.
type RecordType string

// The types of records. JobProgress and JobCheckpoint are ticks: a later record of the same job
// replaces them. All others are milestones, or notifications. JobRemoved comes after a job's end,
// and shows it as it was: a reader drops the job.
const (
	JobReceiving        RecordType = "job.receiving"
	JobQueued           RecordType = "job.queued"
	JobStarted          RecordType = "job.started"
	JobProgress         RecordType = "job.progress"
	JobCheckpoint       RecordType = "job.checkpoint"
	JobStage            RecordType = "job.stage"
	JobLog              RecordType = "job.log"
	JobArtifact         RecordType = "job.artifact"
	JobAwaiting         RecordType = "job.awaiting"
	JobPausing          RecordType = "job.pausing"
	JobPaused           RecordType = "job.paused"
	JobRetrying         RecordType = "job.retrying"
	JobStalled          RecordType = "job.stalled"
	JobResumed          RecordType = "job.resumed"
	JobCanceling        RecordType = "job.canceling"
	JobSucceeded        RecordType = "job.succeeded"
	JobFailed           RecordType = "job.failed"
	JobCanceled         RecordType = "job.canceled"
	JobRemoved          RecordType = "job.removed"
	NotificationCreated RecordType = "notification.created"
	NotificationChanged RecordType = "notification.changed"
	// ArtifactExpired: a file is no longer kept. Its job, which may be forgotten, does not change.
	ArtifactExpired RecordType = "artifact.expired"
	// Those of a watched download are passing records, see Record.ID.
	DownloadStarted   RecordType = "download.started"
	DownloadProgress  RecordType = "download.progress"
	DownloadCompleted RecordType = "download.completed"
	DownloadAborted   RecordType = "download.aborted"
)

// Tick reports whether a later record of the same job replaces this one.
func (t RecordType) Tick() bool { return t == JobProgress || t == JobCheckpoint }

// Terminal reports whether the job ended with the record. No other follows but JobRemoved.
func (t RecordType) Terminal() bool {
	return t == JobSucceeded || t == JobFailed || t == JobCanceled
}

// A Record is one immutable fact in a topic's stream. A job's record contains the whole view of the
// job, so a reader may skip any tick.
type Record struct {
	// ID is "" for a passing record: no stream has it, so a reader that is not live misses it.
	ID           Cursor          `json:"id"`
	Type         RecordType      `json:"type"`
	Time         time.Time       `json:"time"`
	Topic        Topic           `json:"topic"`
	Job          *Job            `json:"job,omitempty"`
	Log          *LogLine        `json:"log,omitempty"`
	Notification json.RawMessage `json:"notification,omitempty"`
	// Artifact is that of an ArtifactExpired record.
	Artifact *ExpiredArtifact `json:"artifact,omitempty"`
	// Download is that of a Download… record.
	Download *Download `json:"download,omitempty"`
}

// An ExpiredArtifact is a file that is no longer kept.
type ExpiredArtifact struct {
	Artifact
	// Reason is ReasonExpired or ReasonQuota.
	Reason string `json:"reason"`
}

// Why a file is no longer kept.
const (
	ReasonExpired = "expired" // its time was over
	ReasonQuota   = "quota"   // its topic had more than it may keep
)

// A LogLine is the text of a job.log record.
type LogLine struct {
	// Level is "info", "warn" or "error".
	Level string `json:"level"`
	Text  string `json:"text"`
	// Suppressed counts the lines that the run's cap has dropped so far.
	Suppressed int `json:"suppressed,omitempty"`
}

// An Entry is a record as the stream holds it.
type Entry struct {
	Topic Topic
	ID    Cursor // "" for a passing record
	// Prev is the ID of the record before it in the topic. Entries of the log and the outbox have
	// it. A page of a replay is contiguous, and its entries have none.
	Prev Cursor
	JSON json.RawMessage
	// Subject is set if the entry came from the log, which has it in fields; otherwise nil.
	Subject *Subject
}

// Record decodes the entry.
func (e Entry) Record() (Record, error) {
	var r Record
	if err := json.Unmarshal(e.JSON, &r); err != nil {
		return Record{}, fmt.Errorf("record %s of %s: %w", e.ID, e.Topic, err)
	}
	if r.Job != nil {
		r.Job.Topic = r.Topic
	}
	return r, nil
}

// The script writes the members of every record in the same order, and escapes quotes inside
// strings. So the first occurrence of a mark is the record's own member.
var (
	typeMark  = []byte(`","type":"`)
	jobMark   = []byte(`,"job":{"id":"`)
	stateMark = []byte(`"state":"`) // after the job's constants
)

// Type reads the record's type without decoding the record.
func (e Entry) Type() RecordType { return RecordType(after(e.JSON, typeMark)) }

// JobID reads the ID of the record's job without decoding the record; "" for a notification.
func (e Entry) JobID() JobID {
	if e.Subject != nil {
		return e.Subject.Job
	}
	if !bytes.HasPrefix(after(e.JSON, typeMark), []byte("job.")) {
		return ""
	}
	return JobID(after(e.JSON, jobMark))
}

// after returns the text after a mark in b.
func after(b, mark []byte) []byte {
	_, rest, _ := bytes.Cut(b, mark)
	value, _, _ := bytes.Cut(rest, []byte{'"'})
	return value
}
