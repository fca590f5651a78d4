package wire

import (
	"errors"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// Errors to branch on.
var (
	// ErrInvalid is wrapped by errors about a setting or an argument. Their text names the field
	// and the bound.
	ErrInvalid = option.ErrInvalid
	// ErrInvalidTopic is wrapped by errors about a malformed topic.
	ErrInvalidTopic = errors.New("invalid topic")
	// ErrInvalidJobID is wrapped by errors about a malformed job ID.
	ErrInvalidJobID = errors.New("invalid job ID")
	// ErrInvalidCursor is wrapped by errors about a malformed cursor.
	ErrInvalidCursor = errors.New("invalid cursor")

	// ErrNotFound: the job does not exist, or the caller may not know of it.
	ErrNotFound = errors.New("no such job")
	// ErrNoSchedule: the schedule does not exist. It wraps ErrNotFound.
	ErrNoSchedule error = noSchedule{}
	// ErrNoDataset: the dataset does not exist, is being deleted, or the caller may not know of it. It
	// wraps ErrNotFound.
	ErrNoDataset error = noDataset{}
	// ErrEnded: the job has ended.
	ErrEnded = errors.New("the job has ended")
	// ErrState: the job's state does not allow the call.
	ErrState = errors.New("the job's state does not allow it")
	// ErrLimit: there is no room for a job. Its topic has Options.TopicJobs live jobs, or there are
	// Options.QueueNames queues and the job names another one. The call has changed nothing. The
	// error's text names the bound, and says what makes room.
	ErrLimit = errors.New("a limit is reached")
	// ErrAhead: the ticks of a schedule were handled up to a time in the future, since Redis's
	// clock was ahead. Workers correct that.
	ErrAhead = errors.New("a worker has handled ticks up to a time that is still to come, by Redis's clock")
	// ErrRewritten: the topic's history is not the one that the snapshot began with, as after a
	// failover that lost writes. The reader must begin the snapshot again.
	ErrRewritten = errors.New("the topic's history is another one than when the snapshot began")

	// ErrUnreachable: Redis gave no answer, or only an error of a server that is starting, failing
	// over or away. The call may have taken effect. Every write of the engine can be sent again.
	ErrUnreachable = errors.New("Redis is unreachable") //nolint:staticcheck // Redis is a name
	// ErrOutOfMemory: Redis has reached its maxmemory and refused the write. The call has changed
	// nothing.
	ErrOutOfMemory = errors.New("Redis is out of memory: raise maxmemory, or lower the retention of jobs and topics") //nolint:staticcheck // Redis is a name
	// ErrUnreplicated: the commit is applied, but fewer replicas than Options.WaitReplicas
	// acknowledged it in time.
	ErrUnreplicated = errors.New("committed, but not acknowledged by enough replicas")
)

type noSchedule struct{}

func (noSchedule) Error() string { return "no such schedule" }
func (noSchedule) Unwrap() error { return ErrNotFound }

type noDataset struct{}

func (noDataset) Error() string { return "no such dataset" }
func (noDataset) Unwrap() error { return ErrNotFound }
