package runtime

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// The code below reads asynq's own keys, since asynq's Inspector takes one call for each task: the
// list of active tasks, and each task's hash. The keys are those of asynq 0.26, internal/base.
func (rt *Runtime) asynqKey(queue, rest string) string {
	return asynqKey(rt.QueueName(queue), rest)
}

func asynqKey(queue, rest string) string { return "asynq:{" + queue + "}:" + rest }

const asynqQueues = "asynq:queues"

// A TaskState is the state of an attempt's task in one of its queues.
type TaskState int

// The states of a task.
const (
	// TaskNone: asynq has no such task.
	TaskNone TaskState = iota
	// TaskWaits: asynq will run the task.
	TaskWaits
	// TaskActive: asynq has handed the task to a worker.
	TaskActive
	// TaskGivenUp: the task is archived or completed; asynq will not run it.
	TaskGivenUp
)

// Tasks are asynq's tasks of a waiting attempt: in its queue, in its rescue queue, and, if the
// attempt is parked, in its type queue. An adopted job has only Own.
type Tasks struct {
	Own, Rescue, Typed TaskState
	// Queue says that asynq knows the attempt's queue. If not, the queue was lost or removed with
	// all its tasks.
	Queue bool
}

// In returns the task's state in one of the attempt's queues.
func (t Tasks) In(a Attempt, queue string) TaskState {
	switch queue {
	case a.Queue:
		return t.Own
	case RescueQueue(a.Queue):
		return t.Rescue
	}
	return t.Typed
}

// Waits reports whether asynq will run the attempt.
func (t Tasks) Waits() bool { return t.any(TaskWaits) }

// Active reports whether asynq has handed the attempt to a worker.
func (t Tasks) Active() bool { return t.any(TaskActive) }

// GivenUp reports whether asynq has a task of the attempt that it will not run.
func (t Tasks) GivenUp() bool { return t.any(TaskGivenUp) }

func (t Tasks) any(s TaskState) bool { return t.Own == s || t.Rescue == s || t.Typed == s }

// Tasks reads asynq's tasks of attempts, in their order and in one round trip. Its error wraps
// ErrUnreachable.
func (rt *Runtime) Tasks(ctx context.Context, attempts []Attempt) ([]Tasks, error) {
	if len(attempts) == 0 {
		return nil, nil
	}
	pipe := rt.g.Redis.Pipeline()
	known := pipe.SMembers(ctx, asynqQueues)
	cmds := make([]*redis.StringCmd, 0, 3*len(attempts))
	for _, a := range attempts {
		own := pipe.HGet(ctx, rt.taskKey(a, a.Queue), "state")
		rescue, typed := own, own // an adopted job has one task
		if !a.Adopted() {
			rescue = pipe.HGet(ctx, rt.taskKey(a, RescueQueue(a.Queue)), "state")
		}
		if !a.Parked.IsZero() {
			typed = pipe.HGet(ctx, rt.taskKey(a, TypeQueue(a.Queue, a.Type)), "state")
		}
		cmds = append(cmds, own, rescue, typed)
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	if err := known.Err(); err != nil {
		return nil, ground.Failure("read asynq's queues", err)
	}
	states := make([]TaskState, len(cmds))
	for i, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return nil, ground.Failure("read tasks", err)
		}
		switch c.Val() {
		case "":
			states[i] = TaskNone
		case "pending", "scheduled", "retry", "aggregating":
			states[i] = TaskWaits
		case "active":
			states[i] = TaskActive
		default:
			states[i] = TaskGivenUp
		}
	}
	tasks := make([]Tasks, len(attempts))
	for i, a := range attempts {
		queue, t := rt.QueueName(a.Queue), Tasks{Own: states[3*i]}
		if a.Adopted() {
			queue = a.Queue
		} else {
			t.Rescue = states[3*i+1]
		}
		if !a.Parked.IsZero() {
			t.Typed = states[3*i+2]
		}
		t.Queue = slices.Contains(known.Val(), queue)
		tasks[i] = t
	}
	return tasks, nil
}

// taskKey is asynq's key of the task of an attempt, in one of its queues.
func (rt *Runtime) taskKey(a Attempt, queue string) string {
	if a.Adopted() {
		return a.Task.key()
	}
	return rt.asynqKey(queue, "t:"+TaskID(a.Job, a.Attempt))
}

// An ActiveTask is an attempt whose task asynq has handed to a worker.
type ActiveTask struct {
	Job     wire.JobID
	Attempt int
}

// ActiveTasks lists the attempts in queues that asynq has handed to workers. The caller names
// rescue and type queues like any others. Its cost grows with the number of attempts, which the
// workers' slots bound. If there are none, it is one call to one server, and on a Cluster one for
// each queue. Its error wraps ErrUnreachable.
func (rt *Runtime) ActiveTasks(ctx context.Context, queues []string) ([]ActiveTask, error) {
	keys := make([]string, len(queues))
	for i, q := range queues {
		keys[i] = rt.asynqKey(q, "active")
	}
	if !rt.g.Cluster() {
		n, err := rt.g.Redis.Exists(ctx, keys...).Result()
		if err != nil || n == 0 {
			return nil, ground.Failure("list asynq's active tasks", err)
		}
	}
	pipe := rt.g.Redis.Pipeline()
	cmds := make([]*redis.StringSliceCmd, len(keys))
	for i, key := range keys {
		cmds[i] = pipe.LRange(ctx, key, 0, -1)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, ground.Failure("list asynq's active tasks", err)
	}
	var active []ActiveTask
	for _, c := range cmds {
		for _, id := range c.Val() {
			if t, own := rt.attemptOf(id); own {
				active = append(active, t)
			}
		}
	}
	return active, nil
}

// attemptOf parses the ID of a task that TaskID has named.
func (rt *Runtime) attemptOf(id string) (ActiveTask, bool) {
	job, attempt, found := strings.Cut(id, ".")
	n, err := strconv.Atoi(attempt)
	return ActiveTask{wire.JobID(job), n}, found && err == nil && rt.g.Keys.Holds(wire.JobID(job))
}

// IsAttempt reports whether the ID of an asynq task is that of an attempt that Tidemark dispatched.
func (rt *Runtime) IsAttempt(taskID string) bool {
	_, own := rt.attemptOf(taskID)
	return own
}

// WhyGivenUp returns why asynq has given up a task that is TaskGivenUp: asynq's own note, or ""
// when a user archived the task. Its error wraps ErrUnreachable.
func (rt *Runtime) WhyGivenUp(_ context.Context, a Attempt, queue string) (string, error) {
	info, err := rt.tasks.GetTaskInfo(rt.QueueName(queue), TaskID(a.Job, a.Attempt))
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
		return "it is gone", nil
	case err != nil:
		return "", ground.Failure("read a task", err)
	case info.State != asynq.TaskStateArchived:
		return "it is " + info.State.String(), nil
	}
	return info.LastErr, nil
}
