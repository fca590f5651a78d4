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

// An Attempt is where a live job stands: which attempt is its current one, and
// whether that waits for a worker.
type Attempt struct {
	Job   wire.JobID
	Topic wire.Topic
	Type  string
	// Queue is the job's; of an adopted one the name that asynq knows it by.
	Queue string
	State wire.State
	// Attempt is the current one, which may not have begun.
	Attempt int
	// Waiting says that it waits for a worker.
	Waiting bool
	// Dispatched says that asynq was given it, History on which history of Redis that was
	// kept; of an adopted job, on which it was adopted. "" when that is not known.
	Dispatched bool
	History    string
	// Canceling says that the job was asked to stop and has not yet.
	Canceling bool
	// Order is what its children were to follow, a pause or a resume, and not all of them
	// have; "" otherwise.
	Order string
	// Parent says that the job has had children, ChildOf whose child it is.
	Parent  bool
	ChildOf wire.JobID
	// RunAt is when a delayed or retried attempt is due; zero: at once.
	RunAt time.Time
	// Deadline is the job's; zero: none.
	Deadline time.Time
	// Idle is for how long the receiver of a job that is Receiving may report nothing, 0: for
	// ever; Heard is when it did last, by Redis's clock.
	Idle  time.Duration
	Heard time.Time
	// Parked is since when a waiting attempt waits for a worker that knows its type, see
	// Engine.Park; zero: it does not.
	Parked time.Time
	// Crashes counts lost workers since the last checkpoint.
	Crashes int
	// Task names the task of an adopted job; zero: the job is not adopted.
	Task Task
	// Try is which of the task's tries began last, 0 while none has. It is beyond all
	// tries once the job was ended in place of its task.
	Try int
	// Tied says that the task of that name that asynq has is known to be the job's. Only
	// Adopted tells.
	Tied bool
}

// SuspectAfter is after how many lost workers without a checkpoint between them a job may be
// what kills them. Its attempts run alone from then on, so each further crash is one of a job
// that ran alone.
const SuspectAfter = 2

// Adopted says that asynq's own task carries the job, and asynq's own retries are its
// attempts: it is not dispatched.
func (a Attempt) Adopted() bool { return a.Task != Task{} }

// attemptFields are what an Attempt is read from.
var attemptFields = []string{"t", "ty", "q", "at", "st", "ra", "cr", "dl", "dp", "fl", "kx", "pa", "ai", "an", "ko", "il", "la", "un"}

// Current reads where a job stands. Its error wraps ErrNotFound, ErrEnded or
// ErrUnreachable.
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

// Attempts is Current for many jobs, in their order and in a round trip for 500 of them.
// State is "" for one that is not there; of one that has ended nothing else counts. Its
// error wraps ErrUnreachable.
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
