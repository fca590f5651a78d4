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

// An asynq task that an application enqueued by itself may have a job: the task is adopted. asynq's
// task carries the job and asynq's retries are its attempts. So Tidemark neither dispatches the
// task nor withdraws it for another attempt, and does not have its payload. A key holds the newest
// job of the task. An ended job never changes, so a task that runs once more begins another job.
// asynq may give the name of a done task to a new one. So a worker also ties the task to its job:
// it writes the job's ID into a field of asynq's hash of the task, which asynq deletes with the
// task.

// A Task names an adopted asynq task.
type Task struct {
	Queue string // asynq's name of it
	ID    string
}

// An Adoption is what is known of an asynq task, and what its job shows.
type Adoption struct {
	Task Task
	// Topic, Type and Title are those of the job, as in a Spec.
	Topic wire.Topic
	Type  string
	Title string
	// Try is the number of the task's present or next try, from 1: asynq's count of retries plus 1.
	Try int
	// MaxRetries is asynq's.
	MaxRetries int
	// RunAt is when asynq will run the task; zero if at once, or if it runs already.
	RunAt time.Time
}

// noTry is more than asynq counts: no task continues a job with this number as its last try.
const noTry = 1 << 31

// Over reports whether last, the state of the task's newest job, is an end that this run of the
// task must not change: asynq has run the task again after a crash, or although the job was
// canceled. Otherwise the task begins another job: a task that was run again by hand counts no new
// try, and a new task under an old name is not tied to last.
func (a Adoption) Over(last Attempt) bool {
	switch {
	case !last.State.Ended() || !last.Tied:
		return false
	case last.State == wire.Canceled:
		return a.Try >= last.Try // asynq may have requeued it, which counts no try
	}
	return a.Try > last.Try
}

// JobOfTask returns the newest job of an asynq task. topic is the topic that the job was adopted
// for. Its error wraps ErrInvalidTopic, ErrNotFound or ErrUnreachable.
func (rt *Runtime) JobOfTask(ctx context.Context, topic wire.Topic, t Task) (wire.JobID, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return "", err
	}
	id, err := rt.g.Redis.Get(ctx, rt.g.Keys.Task(topic, t.Queue, t.ID)).Result()
	if errors.Is(err, redis.Nil) {
		return "", wire.ErrNotFound
	}
	return wire.JobID(id), ground.Failure("look up a task's job", err)
}

// Adopted reads the states of the tasks' newest jobs, in the tasks' order and in two round trips.
// Job is "" where a task has no job, State is "" where its record is gone. Its error wraps
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
				return nil, ground.Failure("look up the jobs of tasks", err)
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

// key is asynq's key of a task.
func (t Task) key() string { return asynqKey(t.Queue, "t:"+t.ID) }

// tieField is the field of a task's hash that Tie writes. It contains the namespace, since
// namespaces may share a Redis.
func (rt *Runtime) tieField() string { return rt.g.Opts.Namespace + ":job" }

// Tie writes the job's ID into the asynq task, if the task exists. The caller does so before it
// commits the job's end, because Over relies on it. Its error wraps ErrUnreachable.
func (rt *Runtime) Tie(ctx context.Context, t Task, job wire.JobID) error {
	return ground.Failure("tie a task to its job", rt.g.Scripts.Tie.Run(ctx, rt.g.Redis, []string{t.key()}, rt.tieField(), string(job)).Err())
}

// Adopt creates a job for an asynq task that has no live one. last is the newest job's state from
// Adopted. If last failed, the new job is its retry. Concurrent calls create one job and return its
// ID. Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable, ErrOutOfMemory, ErrAppend,
// and ErrUnreplicated, with which Adopt has created the job and returns it.
func (rt *Runtime) Adopt(ctx context.Context, a Adoption, last Attempt) (wire.JobID, error) {
	fail := func(err error) (wire.JobID, error) {
		return "", fmt.Errorf("adopt asynq's task %s of queue %s: %w", excerpt.Of(a.Task.ID, 80), excerpt.Of(a.Task.Queue, 80), err)
	}
	from := origin{adopted: true, startAt: a.RunAt}
	if a.Try > 1 {
		from.startAt = time.Time{} // it has run, and asynq tries it again then
	}
	if last.State == wire.Failed {
		from.retryOf = last.Job
	}
	s, err := wire.Spec{Topic: a.Topic, Type: a.Type, Title: a.Title}.Prepared()
	if err != nil {
		return fail(err)
	}
	s.Queue = a.Task.Queue // asynq takes names that Tidemark does not
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
	return r.job, r.standing
}

// AdoptWaiting creates a job for each of the tasks that has no live one, if asynq has not run the
// task since it was listed. It returns the number of new jobs, and the first error, which is one of
// Adopt's; an error of one task does not stop the others.
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
		// The task may have run since it was listed, and begun and ended its job.
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

// TakeOver ends the running attempt of an adopted job: asynq has started its task again, so the
// previous try is over. It writes job.stalled and raises the fence; the attempt that it returns may
// begin. Its errors are those of Stall.
func (rt *Runtime) TakeOver(ctx context.Context, a Attempt) (Attempt, error) {
	if _, err := rt.operate(ctx, stalling(a)); err != nil {
		return Attempt{}, fmt.Errorf("take job %s over from the try before: %w", a.Job, err)
	}
	return rt.after(ctx, a)
}

// TaskInfo returns asynq's information about an adopted job's task. Its error wraps ErrNotFound or
// ErrUnreachable.
func (rt *Runtime) TaskInfo(t Task) (*asynq.TaskInfo, error) {
	info, err := rt.tasks.GetTaskInfo(t.Queue, t.ID)
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return nil, wire.ErrNotFound
	}
	return info, ground.Failure("read a task", err)
}

// takeAway deletes the waiting task of an adopted job, and reports whether the task is gone: asynq
// does not delete a task that runs.
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
