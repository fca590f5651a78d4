package wire

import (
	"encoding/json"
	"slices"
	"time"
)

// A State is a step of a job's life:
//
//	(receiving →) queued → running → succeeded | failed | canceled
//	              running → retrying → running     after an error, or a lost worker
//	              running → awaiting → queued      until its children have ended
//	              queued, running, retrying, awaiting → paused → queued, awaiting
//
// An ended job never changes its state.
type State string

// The states of a job.
const (
	Receiving State = "receiving"
	Queued    State = "queued"
	Running   State = "running"
	Awaiting  State = "awaiting"
	Paused    State = "paused"
	Retrying  State = "retrying"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
)

// Ended reports whether a job in this state never changes it again.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Canceled }

// A Job is a job as its records show it: all but its payload and its checkpoint, which no record
// contains.
type Job struct {
	ID JobID `json:"id"`
	// Rev is the N of the job's last record. The view with the higher Rev is the newer one.
	Rev    uint64            `json:"rev"`
	Topic  Topic             `json:"topic,omitempty"`
	Type   string            `json:"type"`
	Title  string            `json:"title,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Queue is where the job waits while it is Queued or Retrying. "" for a job that an earlier
	// version created.
	Queue string `json:"queue,omitempty"`
	// Adopted says that a task of an asynq application carries the job. Queue is then the
	// application's, by asynq's name.
	Adopted bool  `json:"adopted,omitempty"`
	State   State `json:"state"`
	// Canceling says that a running job is asked to stop, and has not stopped yet.
	Canceling bool `json:"canceling,omitempty"`
	// Pausing says that a running job is asked to pause, and has not paused yet.
	Pausing bool `json:"pausing,omitempty"`
	// Percent is the highest progress of all attempts and stages, from 0 to 100 in tenths. It is
	// 100 only when the job has succeeded.
	Percent float64 `json:"percent"`
	// Indeterminate says that the present stage has no known total. It is false for an ended job.
	Indeterminate bool `json:"indeterminate,omitempty"`
	// Progress is the present attempt's own count.
	Progress *Progress `json:"progress,omitempty"`
	// Attempt is the number of the newest attempt, from 1; 0 before the first.
	Attempt int    `json:"attempt,omitempty"`
	Stage   *Stage `json:"stage,omitempty"`
	Message string `json:"message,omitempty"`
	// ETASeconds estimates the seconds until the job's end, or until its input has arrived; nil
	// unless the job is Receiving, Running or Awaiting.
	ETASeconds *int64 `json:"eta_seconds,omitempty"`
	// ResumedFrom is the percent of the checkpoint from which the present attempt went on; nil for
	// an attempt that began at the start.
	ResumedFrom *float64 `json:"resumed_from,omitempty"`
	// RetryOf is the ended job that this one tries again.
	RetryOf JobID `json:"retry_of,omitempty"`
	// Parent is the job that this one is a child of.
	Parent JobID `json:"parent,omitempty"`
	// Children counts those of the job's last fan-out.
	Children  *Children `json:"children,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	// StartAt is when a delayed job may start; nil for any other.
	StartAt *time.Time `json:"start_at,omitempty"`
	// StartedAt is when the first byte of the job's input arrived, or else its first attempt began.
	StartedAt *time.Time      `json:"started_at,omitempty"`
	RetryAt   *time.Time      `json:"retry_at,omitempty"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
	Error     *JobError       `json:"error,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	// Artifacts are the files that the job has written and closed, at most MaxArtifacts, in the order
	// in which it closed them.
	Artifacts []Artifact `json:"artifacts,omitempty"`
}

// An Artifact is a file that a job has written. It is whole, and its bytes never change.
type Artifact struct {
	// ID is the job's, a dot, and Name. GET /v1/artifacts/{id} of a gateway serves the file.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// Type is the media type, such as "text/csv".
	Type string `json:"type"`
	// SHA256 is that of the bytes, in lower-case hex.
	SHA256 string `json:"sha256"`
	// ExpiresAt is when the file may be deleted; nil: not by age.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// Children counts the children of a job's fan-out.
type Children struct {
	Count int `json:"count"`
	Ended int `json:"ended"`
	// Failed counts the ended children that did not succeed.
	Failed int `json:"failed"`
	// Awaited counts the attempts of the job that ended to wait for children. A person who is shown
	// the number of an attempt expects it less these.
	Awaited int `json:"awaited,omitempty"`
}

// Progress is how far a run has come, in its own units.
type Progress struct {
	Done int64 `json:"done"`
	// Total is 0 when the run does not know it.
	Total int64  `json:"total,omitempty"`
	Unit  string `json:"unit,omitempty"`
}

// A Stage is the named part of a job that runs now.
type Stage struct {
	Name string `json:"name"`
	// Index counts from 0.
	Index int `json:"index"`
	// Count is how many stages the job has; 0 while that is unknown, as while its input arrives.
	Count int `json:"count,omitempty"`
}

// Codes of a JobError, for programs to branch on. Unless a comment says otherwise, a job with the
// code has ended.
const (
	// CodeError: the handler returned an error. The attempt failed; the job failed too if that was
	// its last attempt.
	CodeError = "error"
	// CodePermanent: the handler returned an error that no retry can cure.
	CodePermanent = "permanent"
	// CodePanic: the handler panicked, or ended its goroutine.
	CodePanic = "panic"
	// CodeDeadline: the job's deadline has passed.
	CodeDeadline = "deadline"
	// CodeWorkerLost: the job lost its worker too often.
	CodeWorkerLost = "worker_lost"
	// CodeNoHandler: no worker that knows the job's type took it in time.
	CodeNoHandler = "no_handler"
	// CodeChildFailed: a child that is not optional did not succeed.
	CodeChildFailed = "child_failed"
	// CodeParentEnded: the job's parent has ended or was canceled; the job is canceled.
	CodeParentEnded = "parent_ended"
	// CodeTaskDeleted: the job's task was deleted with asynq's tools; the job is canceled.
	CodeTaskDeleted = "task_deleted"
	// CodeTaskArchived: the job's task was archived with asynq's tools.
	CodeTaskArchived = "task_archived"
	// CodeTaskLost: asynq lost the job's task. An adopted job has ended; any other is queued again.
	CodeTaskLost = "task_lost"
	// CodeRecordLost: Redis lost the job's record.
	CodeRecordLost = "record_lost"
	// CodeUploadExpired: the job's input stopped arriving for too long.
	CodeUploadExpired = "upload_expired"
	// CodeUploadVoid: the announcement of the job's input failed.
	CodeUploadVoid = "upload_void"
)

// JobError is why an attempt or a job did not succeed. A job that was canceled on request has none.
type JobError struct {
	// Code is one of the codes above.
	Code string `json:"code"`
	// Message is for people, at most MaxErrorBytes as JSON.
	Message string `json:"message"`
}

// A View is a job as JSON, byte for byte as a record shows it. It encodes to that JSON, which has
// no topic, and decodes from it.
type View struct {
	ID    JobID
	Topic Topic
	JSON  json.RawMessage
}

// MarshalJSON implements json.Marshaler.
func (v View) MarshalJSON() ([]byte, error) { return v.JSON, nil }

// UnmarshalJSON implements json.Unmarshaler. It does not change Topic.
func (v *View) UnmarshalJSON(b []byte) error {
	var j struct {
		ID JobID `json:"id"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	v.ID, v.JSON = j.ID, slices.Clone(b)
	return nil
}

// Job decodes the view.
func (v View) Job() (Job, error) {
	var j Job
	err := json.Unmarshal(v.JSON, &j)
	j.Topic = v.Topic
	return j, err
}
