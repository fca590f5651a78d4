package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// An asynq task that an application enqueued by itself may have a job: it is adopted.
// asynq's task carries the job and asynq's retries are its attempts, so Tidemark neither
// hands it over nor withdraws it for another attempt, and has no payload of it. A key holds
// the job of the task, the newest of them: an ended job never moves, and a task that is run
// once more begins another. asynq gives the name of a task that is done to the next one, so
// a task that is tried is also tied to its job: a field of the task's own hash in asynq, which
// goes with the task, holds the job's ID.

// A Task names an asynq task that was adopted.
type Task struct {
	Queue string // as asynq knows it
	ID    string
}

// An Adoption is what is known of an asynq task, and what its job is to be.
type Adoption struct {
	Task Task
	// Topic, Type and Title are the job's, as in a Spec.
	Topic wire.Topic
	Type  string
	Title string
	// Try is which of the task's tries this is or will be, from 1: asynq's count of
	// retries, and 1.
	Try int
	// MaxRetries is asynq's.
	MaxRetries int
	// RunAt is when asynq will hand the task out; zero: at once, or it has.
	RunAt time.Time
}

// noTry is beyond what asynq counts: no task continues a job whose last try it is.
const noTry = 1 << 31

// Over reports whether last, where the task's newest job stands, is an end that is to
// stand: asynq has come back with the task after a crash, or although it was canceled.
// Otherwise it begins another job: a task that was run again by hand counts no new try,
// and one that is new under an old name is not tied to last.
func (a Adoption) Over(last Attempt) bool {
	switch {
	case !last.State.Ended() || !last.Tied:
		return false
	case last.State == wire.Canceled:
		return a.Try >= last.Try // asynq may have put it back, which is no try
	}
	return a.Try > last.Try
}

// JobOfTask finds the newest job of an asynq task: topic is what the job was adopted
// with. Its error wraps ErrInvalidTopic, ErrNotFound or ErrUnreachable.
func (rt *Runtime) JobOfTask(ctx context.Context, topic wire.Topic, t Task) (wire.JobID, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return "", err
	}
	id, err := rt.g.Redis.Get(ctx, rt.g.Keys.Task(topic, t.Queue, t.ID)).Result()
	if errors.Is(err, redis.Nil) {
		return "", wire.ErrNotFound
	}
	return wire.JobID(id), ground.Failure("look a task's job up", err)
}

// Adopted reads where the newest jobs of tasks stand, in their order and in two round
// trips. Job is "" where there was none, State where it is gone. Its error wraps
// ErrInvalidTopic or ErrUnreachable.
func (rt *Runtime) Adopted(ctx context.Context, tasks []Adoption) ([]Attempt, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	pipe := rt.g.Redis.Pipeline()
	jobs, ties := make([]*redis.StringCmd, len(tasks)), make([]*redis.StringCmd, len(tasks))
	for i, a := range tasks {
		if _, err := wire.ParseTopic(string(a.Topic)); err != nil {
			return nil, err
		}
		jobs[i] = pipe.Get(ctx, rt.g.Keys.Task(a.Topic, a.Task.Queue, a.Task.ID))
		ties[i] = pipe.HGet(ctx, a.Task.key(), rt.tieField())
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	ids := make([]wire.JobID, len(tasks))
	for i := range tasks {
		for _, err := range []error{jobs[i].Err(), ties[i].Err()} {
			if err != nil && !errors.Is(err, redis.Nil) {
				return nil, ground.Failure("look the jobs of tasks up", err)
			}
		}
		ids[i] = wire.JobID(jobs[i].Val())
	}
	stand, err := rt.Attempts(ctx, ids)
	for i := range stand {
		stand[i].Tied = ids[i] != "" && ties[i].Val() == string(ids[i])
	}
	return stand, err
}

// key is where asynq keeps a task.
func (t Task) key() string { return asynqKey(t.Queue, "t:"+t.ID) }

// tieField is the field of a task's hash that Tie writes. Namespaces may share a Redis.
func (rt *Runtime) tieField() string { return rt.g.Opts.Namespace + ":job" }

// Tie keeps with an asynq task, if it is there, that a job is its. It is to stand before the
// job's end can be committed: Over goes by it. Its error wraps ErrUnreachable.
func (rt *Runtime) Tie(ctx context.Context, t Task, job wire.JobID) error {
	return ground.Failure("tie a task to its job", rt.g.Scripts.Tie.Run(ctx, rt.g.Redis, []string{t.key()}, rt.tieField(), string(job)).Err())
}

// Adopt makes a job for an asynq task that has none that lives: last is where its newest
// one stands, as Adopted told. Whoever comes first makes it, and everybody gets the same.
// It is a retry of one that failed. Errors to branch on: ErrInvalid, ErrInvalidTopic,
// ErrUnreachable, ErrOutOfMemory, ErrAppend, and ErrUnreplicated, with which the job
// stands and is returned.
func (rt *Runtime) Adopt(ctx context.Context, a Adoption, last Attempt) (wire.JobID, error) {
	fail := func(err error) (wire.JobID, error) {
		return "", fmt.Errorf("adopt asynq's task %s of queue %s: %w", excerpt.Of(a.Task.ID, 80), excerpt.Of(a.Task.Queue, 80), err)
	}
	var from origin
	if last.State == wire.Failed {
		from.retryOf = last.Job
	}
	s, err := wire.Spec{Topic: a.Topic, Type: a.Type, Title: a.Title}.Prepared()
	if err != nil {
		return fail(err)
	}
	constant, err := constantOf(s, from)
	if err != nil {
		return fail(err)
	}
	o := operation{
		kind: wire.JobQueued, topic: a.Topic, job: ground.NewJobID(ground.ShardOf(a.Topic, rt.g.Opts.Shards), rt.g.Now()), attempt: 1,
		fields: []any{
			"ty", a.Type, "c", constant, "pl", "", "q", a.Task.Queue, "ma", a.MaxRetries + 1, "ai", a.Task.ID,
			"@after", string(last.Job),
		},
	}
	if !a.RunAt.IsZero() {
		o.fields = append(o.fields, "ra", a.RunAt.UnixMilli())
	}
	r, err := rt.operate(ctx, o)
	if err != nil {
		return fail(err)
	}
	if r.job == o.job {
		rt.mark(task{job: r.job, attempt: 1})
	}
	return r.job, r.standing
}

// AdoptWaiting makes a job for each of the tasks that has none that lives, if asynq still is to
// hand it out; the tasks were listed a while ago. It returns how many it made, and the
// first error, which is one of Adopt's: those of the others are made all the same.
func (rt *Runtime) AdoptWaiting(ctx context.Context, tasks []Adoption) (int, error) {
	stand, err := rt.Adopted(ctx, tasks)
	if err != nil {
		return 0, err
	}
	type work struct {
		task Adoption
		last Attempt
	}
	var missing []work
	for i, last := range stand {
		if last.State == "" || last.State.Ended() && !tasks[i].Over(last) {
			missing = append(missing, work{tasks[i], last})
		}
	}
	var made atomic.Int64
	err = inParallel(ctx, spawners, missing, func(ctx context.Context, w work) error {
		// It may have run since it was listed, and begun and ended its job.
		info, err := rt.TaskInfo(w.task.Task)
		switch {
		case errors.Is(err, wire.ErrNotFound):
			return nil
		case err != nil:
			return err
		case info.State != asynq.TaskStatePending && info.State != asynq.TaskStateScheduled && info.State != asynq.TaskStateRetry:
			return nil
		}
		_, err = rt.Adopt(ctx, w.task, w.last)
		if err == nil {
			made.Add(1)
		}
		return err
	})
	return int(made.Load()), err
}

// TakeOver ends the running attempt of an adopted job, since asynq has handed its task
// out again and so the try before is over: job.stalled is told, the fence is raised, and
// the attempt that is returned may begin. Errors are those of Stall.
func (rt *Runtime) TakeOver(ctx context.Context, a Attempt) (Attempt, error) {
	if _, err := rt.operate(ctx, stalling(a)); err != nil {
		return Attempt{}, fmt.Errorf("take job %s over from the try before: %w", a.Job, err)
	}
	return rt.after(ctx, a)
}

// TaskInfo reads what asynq has of an adopted job's task. Its error wraps ErrNotFound or
// ErrUnreachable.
func (rt *Runtime) TaskInfo(t Task) (*asynq.TaskInfo, error) {
	info, err := rt.tasks.GetTaskInfo(t.Queue, t.ID)
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return nil, wire.ErrNotFound
	}
	return info, ground.Failure("read a task", err)
}

// takeAway deletes the task of an adopted job that waits, and reports whether it is gone:
// asynq keeps one that it has handed out.
func (rt *Runtime) takeAway(t Task) (bool, error) {
	err := rt.tasks.DeleteTask(t.Queue, t.ID)
	switch {
	case err == nil, errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
		return true, nil
	case ground.Away(err):
		return false, ground.Failure("delete a task", err)
	}
	return false, nil
}
