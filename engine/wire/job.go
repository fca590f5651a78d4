package wire

import (
	"encoding/json"
	"slices"
	"time"
)

// A State is where a job is in its life:
//
//	(receiving →) queued → running → succeeded | failed | canceled
//	              running → retrying → running     after an error, or a lost worker
//	              running → awaiting → queued      until its children have ended
//	              queued, running, retrying, awaiting → paused → queued, awaiting
//
// An ended job never moves again.
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

// Ended reports whether a job in this state will never move again.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Canceled }

// A Job is a job as its records show it: everything but its payload and its
// checkpoint, which never appear in records.
type Job struct {
	ID JobID `json:"id"`
	// Rev is the N of the job's last record. Of two views of a job the one with
	// the higher Rev is the newer.
	Rev    uint64            `json:"rev"`
	Topic  Topic             `json:"topic,omitempty"`
	Type   string            `json:"type"`
	Title  string            `json:"title,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	State  State             `json:"state"`
	// Canceling says that a running job was asked to stop and has not yet.
	Canceling bool `json:"canceling,omitempty"`
	// Pausing says that a running job was asked to pause and has not yet.
	Pausing bool `json:"pausing,omitempty"`
	// Percent is the high-water mark over all attempts and stages, 0 to 100 in
	// tenths; 100 only when the job has succeeded.
	Percent float64 `json:"percent"`
	// Indeterminate says that the present stage does not know its total. An ended job's is false.
	Indeterminate bool `json:"indeterminate,omitempty"`
	// Progress is the present attempt's own count.
	Progress *Progress `json:"progress,omitempty"`
	// Attempt is the attempt that started last, from 1; 0 when none has.
	Attempt int    `json:"attempt,omitempty"`
	Stage   *Stage `json:"stage,omitempty"`
	Message string `json:"message,omitempty"`
	// ETASeconds is an estimate of the time to the end of the job; nil once it has ended.
	ETASeconds *int64 `json:"eta_seconds,omitempty"`
	// ResumedFrom is the percent of the checkpoint that the present attempt went
	// on from, when it is not the first.
	ResumedFrom *float64 `json:"resumed_from,omitempty"`
	// RetryOf is the ended job that this one tries again.
	RetryOf JobID `json:"retry_of,omitempty"`
	// Parent is the job that this one is a child of.
	Parent JobID `json:"parent,omitempty"`
	// Children counts those of the job's last fan-out.
	Children  *Children       `json:"children,omitempty"`
	CreatedAt time.Time       `json:"created_at"`
	StartedAt *time.Time      `json:"started_at,omitempty"`
	RetryAt   *time.Time      `json:"retry_at,omitempty"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
	Error     *JobError       `json:"error,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
}

// Children counts the children of a job's fan-out.
type Children struct {
	Count int `json:"count"`
	Ended int `json:"ended"`
	// Failed are those of the ended that did not succeed.
	Failed int `json:"failed"`
}

// Progress is how far a run has come in units of its own.
type Progress struct {
	Done int64 `json:"done"`
	// Total is 0 when it is unknown.
	Total int64  `json:"total,omitempty"`
	Unit  string `json:"unit,omitempty"`
}

// A Stage is the named part of a job that a run is in.
type Stage struct {
	Name string `json:"name"`
	// Index counts from 0.
	Index int `json:"index"`
	// Count is how many stages the job has; 0 while nobody knows, as when its input
	// arrives.
	Count int `json:"count,omitempty"`
}

// Codes of a JobError, for programs to branch on. Each is the code of an end, except where it
// says otherwise.
const (
	// CodeError: the handler returned an error. The attempt failed, and the job too if it was the
	// last one.
	CodeError = "error"
	// CodePermanent: the handler returned an error that no retry can cure.
	CodePermanent = "permanent"
	// CodePanic: the handler panicked, or ended its goroutine.
	CodePanic = "panic"
	// CodeDeadline: the job's deadline has passed.
	CodeDeadline = "deadline"
	// CodeWorkerLost: the job lost its worker too often.
	CodeWorkerLost = "worker_lost"
	// CodeNoHandler: no worker that knows the job's type came in time.
	CodeNoHandler = "no_handler"
	// CodeChildFailed: a child that is not optional did not succeed.
	CodeChildFailed = "child_failed"
	// CodeTaskDeleted: somebody deleted the job's task with asynq's tools; the job is canceled.
	CodeTaskDeleted = "task_deleted"
	// CodeTaskArchived: somebody archived the job's task with asynq's tools.
	CodeTaskArchived = "task_archived"
	// CodeTaskLost: asynq lost the job's task. The job is queued again, and has ended only if it
	// is adopted.
	CodeTaskLost = "task_lost"
	// CodeRecordLost: Redis lost the job's record.
	CodeRecordLost = "record_lost"
	// CodeUploadExpired: nothing of the job's input arrived for too long.
	CodeUploadExpired = "upload_expired"
	// CodeUploadVoid: the announcement of the job's input failed.
	CodeUploadVoid = "upload_void"
)

// JobError is why an attempt or a job ended badly.
type JobError struct {
	// Code is one of the codes above.
	Code string `json:"code"`
	// Message is for people, at most MaxErrorBytes as JSON.
	Message string `json:"message"`
}

// A View is a job as JSON, byte for byte as a record of it would show it. It encodes to that
// JSON, which has no topic, and decodes from it.
type View struct {
	ID    JobID
	Topic Topic
	JSON  json.RawMessage
}

// MarshalJSON implements json.Marshaler.
func (v View) MarshalJSON() ([]byte, error) { return v.JSON, nil }

// UnmarshalJSON implements json.Unmarshaler. It leaves Topic as it is.
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
