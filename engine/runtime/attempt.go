package runtime

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// An Attempt is the state of a live job: its present attempt, and whether that waits for a worker.
type Attempt struct {
	Job   wire.JobID
	Topic wire.Topic
	Type  string
	// Queue is the job's queue; for an adopted job it is asynq's name of the queue.
	Queue string
	State wire.State
	// Attempt is the number of the present attempt, which may not have begun.
	Attempt int
	// Waiting says that the attempt waits for a worker.
	Waiting bool
	// Dispatched says that asynq has received the attempt. History is Redis's replication history
	// since before it did, when the attempt began to wait, or, for an adopted job, at its adoption;
	// "" when it is unknown.
	Dispatched bool
	History    string
	// Canceling says that the job is asked to stop, and has not stopped yet.
	Canceling bool
	// Order is the pause or resume that the job's children must follow, while some have not;
	// otherwise "".
	Order string
	// Parent says that the job has had children, ChildOf whose child it is.
	Parent  bool
	ChildOf wire.JobID
	// RunAt is when a delayed or retried attempt is due; zero: at once.
	RunAt time.Time
	// Deadline is the job's; zero: none.
	Deadline time.Time
	// Idle is how long the receiver of a Receiving job may go without a report; 0 means no bound.
	// Heard is the time of its last report, by Redis's clock.
	Idle  time.Duration
	Heard time.Time
	// Parked is since when the attempt waits for a worker that knows its type, see Runtime.Park;
	// zero if it does not.
	Parked time.Time
	// Crashes counts lost workers since the last checkpoint.
	Crashes int
	// Task names the task of an adopted job; zero: the job is not adopted.
	Task Task
	// Try is the task's try that began last, 0 before the first. It is larger than any try once the
	// job was ended in place of its task.
	Try int
	// Tied says that asynq's task of that name belongs to the job. Only Adopted sets it.
	Tied bool
}

// SuspectAfter is the number of lost workers, without a checkpoint between them, after which the
// job may be their cause. From then on its attempts run alone, so further crashes are the job's
// own.
const SuspectAfter = 2

// Adopted reports whether asynq's own task carries the job. asynq's retries are then its attempts,
// and the job is not dispatched.
func (a Attempt) Adopted() bool { return a.Task != Task{} }

// attemptFields are what an Attempt is read from.
var attemptFields = []string{"t", "ty", "q", "at", "st", "ra", "cr", "dl", "dp", "fl", "kx", "pa", "ai", "an", "ko", "il", "la", "un"}

// Current reads a job's state. Its error wraps ErrNotFound, ErrEnded or ErrUnreachable.
func (rt *Runtime) Current(ctx context.Context, id wire.JobID) (Attempt, error) {
	if !rt.g.Keys.Holds(id) {
		return Attempt{}, wire.ErrNotFound
	}
	f, err := rt.g.Redis.HMGet(ctx, rt.g.Keys.Job(id), attemptFields...).Result()
	if err != nil {
		return Attempt{}, ground.Failure("read job "+string(id), err)
	}
	a := readAttempt(id, f)
	switch {
	case a.State == "":
		return Attempt{}, wire.ErrNotFound
	case a.State.Ended():
		return Attempt{}, fmt.Errorf("%w: it is %s", wire.ErrEnded, a.State)
	}
	return a, nil
}

// Attempts is Current for many jobs, in their order, with one round trip for 500. State is "" for a
// job that does not exist; for an ended job only State counts. Its error wraps ErrUnreachable.
func (rt *Runtime) Attempts(ctx context.Context, ids []wire.JobID) ([]Attempt, error) {
	attempts := make([]Attempt, 0, len(ids))
	for chunk := range slices.Chunk(ids, 500) {
		pipe := rt.g.Redis.Pipeline()
		cmds := make([]*redis.SliceCmd, len(chunk))
		for i, id := range chunk {
			if rt.g.Keys.Holds(id) {
				cmds[i] = pipe.HMGet(ctx, rt.g.Keys.Job(id), attemptFields...)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, ground.Failure("read jobs", err)
		}
		for i, c := range cmds {
			if c == nil {
				attempts = append(attempts, Attempt{Job: chunk[i]})
				continue
			}
			attempts = append(attempts, readAttempt(chunk[i], c.Val()))
		}
	}
	return attempts, nil
}

func readAttempt(id wire.JobID, f []any) Attempt {
	a := Attempt{Job: id, Topic: wire.Topic(ground.Text(f[0])), Type: ground.Text(f[1]), Queue: ground.Text(f[2]), State: wire.State(ground.Text(f[4]))}
	a.Attempt, _ = strconv.Atoi(ground.Text(f[3]))
	a.Crashes, _ = strconv.Atoi(ground.Text(f[6]))
	a.Waiting = a.State == wire.Queued || a.State == wire.Retrying
	if ms, _ := strconv.ParseInt(ground.Text(f[5]), 10, 64); ms > 0 && (a.State == wire.Retrying || a.Attempt == 1) {
		a.RunAt = time.UnixMilli(ms)
	}
	if ms, _ := strconv.ParseInt(ground.Text(f[7]), 10, 64); ms > 0 {
		a.Deadline = time.UnixMilli(ms)
	}
	if idle, _ := strconv.ParseInt(ground.Text(f[15]), 10, 64); idle > 0 && a.State == wire.Receiving {
		heard, _ := strconv.ParseInt(ground.Text(f[16]), 10, 64)
		a.Idle, a.Heard = time.Duration(idle)*time.Millisecond, time.UnixMilli(heard)
	}
	if a.Waiting && f[12] == nil {
		a.Parked = parked(ground.Text(f[17]), a.Attempt)
	}
	attempt, history, _ := strings.Cut(ground.Text(f[8]), ".")
	a.Dispatched = attempt != "" && attempt == ground.Text(f[3])
	if a.Dispatched || f[12] != nil {
		a.History = history
	}
	a.Canceling = strings.Contains(ground.Text(f[9]), ground.FlagCanceling)
	a.Parent, a.ChildOf = f[10] != nil, wire.JobID(ground.Text(f[11]))
	a.Order = ground.Text(f[14])
	if f[12] != nil {
		a.Task = Task{Queue: a.Queue, ID: ground.Text(f[12])}
		a.Try, _ = strconv.Atoi(ground.Text(f[13]))
	}
	return a
}

// Orphaned gives the parents of those jobs that are children of one that has ended, that is
// gone, with no State then, or that is being canceled. Its error wraps ErrUnreachable.
func (rt *Runtime) Orphaned(ctx context.Context, jobs []Attempt) (map[wire.JobID]Attempt, error) {
	var parents []wire.JobID
	for _, a := range jobs {
		if a.ChildOf != "" && !slices.Contains(parents, a.ChildOf) {
			parents = append(parents, a.ChildOf)
		}
	}
	if parents == nil {
		return nil, nil
	}
	stand, err := rt.Attempts(ctx, parents)
	if err != nil {
		return nil, err
	}
	over := map[wire.JobID]Attempt{}
	for _, p := range stand {
		if p.State == "" || p.State.Ended() || p.Canceling {
			over[p.Job] = p
		}
	}
	orphans := map[wire.JobID]Attempt{}
	for _, a := range jobs {
		if p, orphan := over[a.ChildOf]; orphan {
			orphans[a.Job] = p
		}
	}
	return orphans, nil
}
