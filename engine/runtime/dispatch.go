package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A task is an attempt, as asynq carries it: a task of its own for each attempt,
// named <job>.<attempt>, so that what asynq makes of one cannot touch another.
type task struct {
	job     wire.JobID
	topic   wire.Topic
	attempt int
	kind    string
	queue   string
	at      time.Time // zero: now
	alone   bool
}

// TaskPayload is the payload of an attempt's asynq task, and all that the asynq web
// UI shows of the job.
type TaskPayload struct {
	Job     wire.JobID `json:"job"`
	Attempt int        `json:"attempt"`
	// Topic lets a job be seen whose record is lost.
	Topic wire.Topic `json:"topic"`
	// At is when asynq was given the task, in Unix milliseconds: see Engine.Outlived.
	At int64 `json:"at,omitempty"`
	// Alone says that the attempt is a suspect's, see SuspectAfter: it is to run where nothing
	// else does.
	Alone bool `json:"alone,omitempty"`
}

// QueueName is that of engine.Engine.
func (rt *Runtime) QueueName(queue string) string {
	if rt.g.Opts.Namespace == ground.DefaultNamespace {
		return queue
	}
	return rt.g.Opts.Namespace + ":" + queue
}

// RescueQueue names the queue in which the jobs of a queue wait that lost their worker
// or were handed back.
func RescueQueue(queue string) string { return queue + wire.RescueSuffix }

// TaskID is the ID of an attempt's asynq task.
func TaskID(job wire.JobID, attempt int) string { return string(job) + "." + strconv.Itoa(attempt) }

// attemptTimeout keeps asynq's own default of 30 minutes away: how long an attempt
// may take is the job's deadline and the heartbeat's business.
const attemptTimeout = 10 * 365 * 24 * time.Hour

// dispatch hands an attempt to asynq. Handing it over again is no error.
func (rt *Runtime) dispatch(ctx context.Context, t task) error {
	_, err := rt.hand(ctx, t)
	return err
}

// hand is dispatch, and reports whether the task is new: another may have its name, of
// which asynq may make nothing any more.
func (rt *Runtime) hand(ctx context.Context, t task) (bool, error) {
	payload, err := json.Marshal(TaskPayload{Job: t.job, Attempt: t.attempt, Topic: t.topic, At: time.Now().UnixMilli(), Alone: t.alone})
	if err != nil {
		return false, err
	}
	opts := []asynq.Option{
		asynq.TaskID(TaskID(t.job, t.attempt)), asynq.Queue(rt.QueueName(t.queue)), asynq.MaxRetry(0), asynq.Timeout(attemptTimeout),
	}
	if !t.at.IsZero() {
		opts, ctx = append(opts, asynq.ProcessIn(delayed)), delayUntil(ctx, t.at)
	}
	_, err = rt.queue.EnqueueContext(ctx, asynq.NewTask(t.kind, payload), opts...)
	known := errors.Is(err, asynq.ErrTaskIDConflict)
	if err != nil && !known {
		return false, ground.Failure(fmt.Sprintf("hand attempt %d of job %s to asynq", t.attempt, t.job), err)
	}
	rt.mark(t)
	return !known, nil
}

// mark keeps that asynq has an attempt, and on which history of Redis, so that a task that
// is missing later on the same history was taken away. If the mark is lost, a deleted task is
// treated as lost and dispatched again.
func (rt *Runtime) mark(t task) { rt.note(t.job, "dispatched", "@attempt", t.attempt) }

// note sends an operation without a record with the next commit, fire and forget.
func (rt *Runtime) note(job wire.JobID, kind, name string, value any) {
	_ = rt.g.Commits.Add(&ground.Submission{ // the engine is closed: nobody is left who would look
		Shard: job.Shard(), Reports: 1, Args: []any{kind, string(job), "", "", 0, "", 1, name, value},
		Done: func([]any, error) {},
	})
}

// Dispatch hands a waiting attempt to asynq, in the queue given. Doing so again,
// from anywhere, is no error: the task's ID is the attempt's. An adopted job's has its
// task, and nothing is done.
func (rt *Runtime) Dispatch(ctx context.Context, a Attempt, queue string) error {
	if a.Adopted() {
		return nil
	}
	return rt.dispatch(ctx, rt.taskOf(a, queue))
}

func (rt *Runtime) taskOf(a Attempt, queue string) task {
	at := a.RunAt
	if at.Before(rt.g.Now()) {
		at = time.Time{}
	}
	return task{job: a.Job, topic: a.Topic, attempt: a.Attempt, kind: a.Type, queue: queue, at: at, alone: a.Crashes >= SuspectAfter}
}

// Move is Dispatch for whoever is about to drop a task of the attempt in another queue. It
// reports false when there was one in this queue already: that may be about to be dropped
// as well. Its error wraps ErrUnreachable.
func (rt *Runtime) Move(ctx context.Context, a Attempt, queue string) (bool, error) {
	return rt.hand(ctx, rt.taskOf(a, queue))
}

// Replace is Dispatch where a task may stand in the way that asynq has given up: it is
// deleted. Its error wraps ErrUnreachable.
func (rt *Runtime) Replace(ctx context.Context, a Attempt, queue string) error {
	fresh, err := rt.hand(ctx, rt.taskOf(a, queue))
	if err != nil || fresh {
		return err
	}
	stand, err := rt.Tasks(ctx, []Attempt{a})
	if err != nil || stand[0].In(a, queue) != TaskGivenUp {
		return err
	}
	if err := rt.discard(a, queue); err != nil {
		return ground.Failure("delete a task that asynq gave up", err)
	}
	return rt.Dispatch(ctx, a, queue)
}

// discard deletes an attempt's task, if there is one and it is not active.
func (rt *Runtime) discard(a Attempt, queue string) error {
	err := rt.tasks.DeleteTask(rt.QueueName(queue), TaskID(a.Job, a.Attempt))
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return nil
	}
	return err
}

// handOnIfWaiting does nothing for a job that has gone on meanwhile.
func (rt *Runtime) handOnIfWaiting(ctx context.Context, id wire.JobID) error {
	a, err := rt.Current(ctx, id)
	switch {
	case errors.Is(err, wire.ErrEnded), errors.Is(err, wire.ErrNotFound), err == nil && !a.Waiting:
		return nil
	case err != nil:
		return err
	}
	return rt.handOn(ctx, a)
}

// handOn hands a job's attempt over that was held up: what has begun goes before what has
// not.
func (rt *Runtime) handOn(ctx context.Context, a Attempt) error {
	queue := a.Queue
	if a.Attempt > 1 {
		queue = RescueQueue(queue)
	}
	return rt.handOver(ctx, a, queue)
}

// handOver is Dispatch where a task of the attempt may stand in asynq that it will not
// hand out any more, as of a job that was paused: the name is then free in the other of
// the attempt's two queues. Which of two tasks starts an attempt, starts it alone.
func (rt *Runtime) handOver(ctx context.Context, a Attempt, queue string) error {
	if a.Adopted() {
		return nil
	}
	stand, err := rt.Tasks(ctx, []Attempt{a})
	if err != nil {
		return err
	}
	other := RescueQueue(a.Queue)
	if queue == other {
		other = a.Queue
	}
	for _, q := range []string{queue, other} {
		switch stand[0].In(a, q) {
		case TaskNone:
			return rt.Dispatch(ctx, a, q)
		case TaskWaits:
			return nil
		}
	}
	return nil // neither is free: a reconciler sees to it
}

// dispatchAgain hands a waiting job's current attempt to asynq, if it is not there.
func (rt *Runtime) dispatchAgain(ctx context.Context, id wire.JobID) error {
	w, err := rt.Current(ctx, id)
	if err != nil || !w.Waiting {
		return err
	}
	return rt.Dispatch(ctx, w, w.Queue)
}

// withdraw takes the task of an attempt that will not run out of asynq, where it could
// wait for a year. It is a tidying: a task that stays would acknowledge itself.
func (rt *Runtime) withdraw(a Attempt) {
	for _, queue := range []string{a.Queue, RescueQueue(a.Queue), TypeQueue(a.Queue, a.Type)} {
		if err := rt.discard(a, queue); err != nil {
			rt.g.Opts.Logger.Debug("a task of an ended job stays in asynq", "job", a.Job, "error", err)
		}
	}
}
