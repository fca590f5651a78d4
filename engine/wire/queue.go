package wire

import "slices"

// MaxQueueJobs is how many jobs a request for the queues of jobs may name.
const MaxQueueJobs = 32

// A Queue is how a queue of jobs is served at the moment. Its rescue queue and its type queues
// count with it.
type Queue struct {
	// Name is the queue as jobs name it.
	Name string `json:"name"`
	// Foreign says that the queue is another program's, by asynq's name. Adopted jobs wait in such
	// a queue.
	Foreign bool `json:"foreign,omitempty"`
	// Paused says that the queue is paused in asynq. Nothing of it starts.
	Paused bool `json:"paused"`
	// Workers is how many processes take jobs from the queue. A process that was killed counts for
	// up to 10 seconds.
	Workers int `json:"workers"`
	// Refusing is how many further processes serve the queue and take nothing from it, since they
	// found a task of another program there. A process takes from it again once it is restarted.
	Refusing int `json:"refusing,omitempty"`
	// Types are the job types that Workers know, in order. A user who is no admin sees those of the
	// jobs that the request names. None are known of a Foreign queue.
	Types []string `json:"types"`
	// Counts is what is in the queue; nil for a user who is no admin.
	Counts *QueueCounts `json:"counts,omitempty"`
}

// QueueCounts is what asynq holds of a queue.
type QueueCounts struct {
	// Waiting is how many tasks wait for a worker, Running how many workers hold, Delayed how many
	// wait for their time.
	Waiting int64 `json:"waiting"`
	Running int64 `json:"running"`
	Delayed int64 `json:"delayed"`
	// OldestSeconds is for how long the first of the waiting tasks has waited.
	OldestSeconds int64 `json:"oldest_seconds"`
}

// A Hold says why no worker takes a waiting job; "" when a worker will.
type Hold string

// The holds.
const (
	HoldPaused      Hold = "paused"       // its queue is paused
	HoldRefused     Hold = "refused"      // the workers of its queue found a task of another program there
	HoldNoWorker    Hold = "no_worker"    // no worker serves its queue
	HoldUnknownType Hold = "unknown_type" // no worker of its queue knows its type
)

// Holds returns why no worker takes a job of a type from the queue.
func (q Queue) Holds(jobType string) Hold {
	switch {
	case q.Paused:
		return HoldPaused
	case q.Workers == 0 && q.Refusing > 0:
		return HoldRefused
	case q.Workers == 0:
		return HoldNoWorker
	case !q.Foreign && !slices.Contains(q.Types, jobType):
		return HoldUnknownType
	}
	return ""
}

// Waits reports whether the job waits for a worker, or for the time of its attempt.
func (j Job) Waits() bool { return !j.Canceling && (j.State == Queued || j.State == Retrying) }

// In reports whether q is the queue that the job names.
func (j Job) In(q Queue) bool { return j.Queue == q.Name && j.Adopted == q.Foreign }

// A QueuesAnswer answers a request for queues.
type QueuesAnswer struct {
	Queues []Queue `json:"queues"`
}

// FirstOfQueues returns one waiting job for each queue that waiting jobs among jobs name, at most
// MaxQueueJobs.
func FirstOfQueues(jobs []Job) []JobID {
	type ref struct {
		name    string
		adopted bool
	}
	seen := map[ref]bool{}
	var first []JobID
	for _, j := range jobs {
		at := ref{j.Queue, j.Adopted}
		if !j.Waits() || seen[at] || len(first) == MaxQueueJobs {
			continue
		}
		seen[at] = true
		first = append(first, j.ID)
	}
	return first
}
