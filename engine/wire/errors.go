package wire

import (
	"errors"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// Errors to branch on.
var (
	// ErrInvalid is what an error about a setting or an argument wraps. Its text names the field
	// and the bound.
	ErrInvalid = option.ErrInvalid
	// ErrInvalidTopic is what an error about a malformed topic wraps.
	ErrInvalidTopic = errors.New("invalid topic")
	// ErrInvalidJobID is what an error about a malformed job ID wraps.
	ErrInvalidJobID = errors.New("invalid job ID")
	// ErrInvalidCursor is what an error about a malformed cursor wraps.
	ErrInvalidCursor = errors.New("invalid cursor")

	// ErrNotFound: there is no such job, or none that the caller may know of.
	ErrNotFound = errors.New("no such job")
	// ErrNoSchedule: there is no such schedule. It wraps ErrNotFound.
	ErrNoSchedule error = noSchedule{}
	// ErrEnded: the job has ended.
	ErrEnded = errors.New("the job has ended")
	// ErrState: the job is in a state that does not allow it.
	ErrState = errors.New("the job's state does not allow it")
	// ErrLimit: there is no room for a job. Its topic has Options.TopicJobs live ones, or Redis
	// knows Options.QueueNames queues and the job's is none of them. Nothing was changed. The text
	// says which bound it is, and what makes room.
	ErrLimit = errors.New("a limit is reached")
	// ErrAhead: the ticks of a schedule were seen to up to a time that is still to come, since
	// Redis's clock was ahead. Workers mend that.
	ErrAhead = errors.New("ticks were seen to up to a time that is still to come, by Redis's clock")
	// ErrRewritten: a topic's history is not the one that a snapshot began with, as after a
	// failover that lost writes. The snapshot must begin anew.
	ErrRewritten = errors.New("the topic's history is another one than when the snapshot began")

	// ErrUnreachable: Redis gave no answer, or none that it gives while it works. It is away,
	// starting, failing over, or its answer was lost. What was asked may have happened;
	// everything that the engine writes may be sent again.
	ErrUnreachable = errors.New("Redis is unreachable")
	// ErrOutOfMemory: Redis has reached its maxmemory and refused the write. Nothing of the call
	// was applied.
	ErrOutOfMemory = errors.New("Redis is out of memory: raise maxmemory, or lower the retention of jobs and topics")
	// ErrUnreplicated: a commit stands, but fewer replicas than Options.WaitReplicas
	// acknowledged it in time.
	ErrUnreplicated = errors.New("committed, but not acknowledged by enough replicas")
)

type noSchedule struct{}

func (noSchedule) Error() string { return "no such schedule" }
func (noSchedule) Unwrap() error { return ErrNotFound }
