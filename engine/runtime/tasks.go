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

// What follows reads asynq's own keys, since its Inspector takes a call a task: the list
// of active tasks, and each task's hash. They are those of asynq 0.26, internal/base.
func (rt *Runtime) asynqKey(queue, rest string) string {
	return asynqKey(rt.QueueName(queue), rest)
}

func asynqKey(queue, rest string) string { return "asynq:{" + queue + "}:" + rest }

const asynqQueues = "asynq:queues"

// A TaskState is what asynq has of an attempt in one of its two queues.
type TaskState int

// The states of a task.
const (
	// TaskNone: there is none.
	TaskNone TaskState = iota
	// TaskWaits: asynq will hand it out.
	TaskWaits
	// TaskActive: asynq has handed it out.
	TaskActive
	// TaskGivenUp: it is archived, or completed, and asynq will not hand it out.
	TaskGivenUp
)

// Tasks is what asynq has of a waiting attempt: in its queue, in its rescue queue, and, where
// the attempt is parked, in its type queue. Of an adopted job there is Own alone.
type Tasks struct {
	Own, Rescue, Typed TaskState
	// Queue says that asynq knows the attempt's queue; where it does not, the queue
	// was lost or removed with all that was in it.
	Queue bool
}

// In is the state in one of the attempt's queues.
func (t Tasks) In(a Attempt, queue string) TaskState {
	switch queue {
	case a.Queue:
		return t.Own
	case RescueQueue(a.Queue):
		return t.Rescue
	}
	return t.Typed
}

// Waits says that asynq will hand the attempt out.
func (t Tasks) Waits() bool { return t.any(TaskWaits) }

// Active says that asynq has handed the attempt out.
func (t Tasks) Active() bool { return t.any(TaskActive) }

// GivenUp says that asynq has a task of the attempt that it will not hand out.
func (t Tasks) GivenUp() bool { return t.any(TaskGivenUp) }

func (t Tasks) any(s TaskState) bool { return t.Own == s || t.Rescue == s || t.Typed == s }

// Tasks reads what asynq has of attempts, in their order and in one round trip. Its error
// wraps ErrUnreachable.
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

// taskKey is where asynq keeps the task of an attempt, in one of its queues.
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

// ActiveTasks lists the attempts that asynq has handed out of queues, of which rescue and type
// queues are named as others are; its cost grows with their number, which the workers' slots bound. While there are
// none it is one call of one server, and one a queue on a Cluster. Its error wraps
// ErrUnreachable.
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

// attemptOf reads the ID of a task that TaskID has named.
func (rt *Runtime) attemptOf(id string) (ActiveTask, bool) {
	job, attempt, found := strings.Cut(id, ".")
	n, err := strconv.Atoi(attempt)
	return ActiveTask{wire.JobID(job), n}, found && err == nil && rt.g.Keys.Holds(wire.JobID(job))
}

// IsAttempt says whether an asynq task, by its ID, is an attempt that Tidemark handed to
// asynq.
func (rt *Runtime) IsAttempt(taskID string) bool {
	_, own := rt.attemptOf(taskID)
	return own
}

// WhyGivenUp tells why asynq will not hand a task out that is TaskGivenUp: what it noted
// itself, "" when someone archived it by hand. Its error wraps ErrUnreachable.
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
