package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A task is an attempt, as asynq carries it: a task of its own for each attempt,
// named <job>.<attempt>, so that what asynq makes of one cannot touch another.
type task struct {
	job     JobID
	topic   Topic
	attempt int
	kind    string
	queue   string
	at      time.Time // zero: now
	alone   bool
}

// TaskPayload is the payload of an attempt's asynq task, and all that the asynq web
// UI shows of the job.
type TaskPayload struct {
	Job     JobID `json:"job"`
	Attempt int   `json:"attempt"`
	// Topic lets a job be seen whose record is lost.
	Topic Topic `json:"topic"`
	// At is when asynq was given the task, in Unix milliseconds: see Engine.Outlived.
	At int64 `json:"at,omitempty"`
	// Alone says that the attempt is a suspect's, see SuspectAfter: it is to run where nothing
	// else does.
	Alone bool `json:"alone,omitempty"`
}

// QueueName is the name that asynq knows a queue by. asynq's keys are not under the
// namespace, so in any but the default one the queue's name carries it; otherwise
// installations that share a Redis would take each other's tasks.
func (e *Engine) QueueName(queue string) string {
	if e.opts.Namespace == DefaultNamespace {
		return queue
	}
	return e.opts.Namespace + ":" + queue
}

// RescueQueue names the queue in which the jobs of a queue wait that lost their worker
// or were handed back.
func RescueQueue(queue string) string { return queue + wire.RescueSuffix }

// TaskID is the ID of an attempt's asynq task.
func TaskID(job JobID, attempt int) string { return string(job) + "." + strconv.Itoa(attempt) }

// attemptTimeout keeps asynq's own default of 30 minutes away: how long an attempt
// may take is the job's deadline and the heartbeat's business.
const attemptTimeout = 10 * 365 * 24 * time.Hour

// dispatch hands an attempt to asynq. Handing it over again is no error.
func (e *Engine) dispatch(ctx context.Context, t task) error {
	_, err := e.hand(ctx, t)
	return err
}

// hand is dispatch, and reports whether the task is new: another may have its name, of
// which asynq may make nothing any more.
func (e *Engine) hand(ctx context.Context, t task) (bool, error) {
	payload, err := json.Marshal(TaskPayload{Job: t.job, Attempt: t.attempt, Topic: t.topic, At: time.Now().UnixMilli(), Alone: t.alone})
	if err != nil {
		return false, err
	}
	opts := []asynq.Option{
		asynq.TaskID(TaskID(t.job, t.attempt)), asynq.Queue(e.QueueName(t.queue)), asynq.MaxRetry(0), asynq.Timeout(attemptTimeout),
	}
	if !t.at.IsZero() {
		opts, ctx = append(opts, asynq.ProcessIn(delayed)), delayUntil(ctx, t.at)
	}
	_, err = e.queue.EnqueueContext(ctx, asynq.NewTask(t.kind, payload), opts...)
	known := errors.Is(err, asynq.ErrTaskIDConflict)
	if err != nil && !known {
		return false, failure(fmt.Sprintf("hand attempt %d of job %s to asynq", t.attempt, t.job), err)
	}
	e.mark(t)
	return !known, nil
}

// mark keeps that asynq has an attempt, and on which history of Redis, so that a task that
// is missing later on the same history was taken away. If the mark is lost, a deleted task is
// treated as lost and dispatched again.
func (e *Engine) mark(t task) { e.note(t.job, "dispatched", "@attempt", t.attempt) }

// note sends an operation without a record with the next commit, fire and forget.
func (e *Engine) note(job JobID, kind, name string, value any) {
	_ = e.commits.add(&submission{ // the engine is closed: nobody is left who would look
		shard: job.Shard(), reports: 1, args: []any{kind, string(job), "", "", 0, "", 1, name, value},
		done: func([]any, error) {},
	})
}

// Dispatch hands a waiting attempt to asynq, in the queue given. Doing so again,
// from anywhere, is no error: the task's ID is the attempt's. An adopted job's has its
// task, and nothing is done.
func (e *Engine) Dispatch(ctx context.Context, a Attempt, queue string) error {
	if a.Adopted() {
		return nil
	}
	return e.dispatch(ctx, e.taskOf(a, queue))
}

func (e *Engine) taskOf(a Attempt, queue string) task {
	at := a.RunAt
	if at.Before(e.Now()) {
		at = time.Time{}
	}
	return task{job: a.Job, topic: a.Topic, attempt: a.Attempt, kind: a.Type, queue: queue, at: at, alone: a.Crashes >= SuspectAfter}
}

// Move is Dispatch for whoever is about to drop a task of the attempt in another queue. It
// reports false when there was one in this queue already: that may be about to be dropped
// as well. Its error wraps ErrUnreachable.
func (e *Engine) Move(ctx context.Context, a Attempt, queue string) (bool, error) {
	return e.hand(ctx, e.taskOf(a, queue))
}

// Replace is Dispatch where a task may stand in the way that asynq has given up: it is
// deleted. Its error wraps ErrUnreachable.
func (e *Engine) Replace(ctx context.Context, a Attempt, queue string) error {
	fresh, err := e.hand(ctx, e.taskOf(a, queue))
	if err != nil || fresh {
		return err
	}
	stand, err := e.Tasks(ctx, []Attempt{a})
	if err != nil || stand[0].In(a, queue) != TaskGivenUp {
		return err
	}
	if err := e.discard(a, queue); err != nil {
		return failure("delete a task that asynq gave up", err)
	}
	return e.Dispatch(ctx, a, queue)
}

// discard deletes an attempt's task, if there is one and it is not active.
func (e *Engine) discard(a Attempt, queue string) error {
	err := e.tasks.DeleteTask(e.QueueName(queue), TaskID(a.Job, a.Attempt))
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return nil
	}
	return err
}

// handOnIfWaiting does nothing for a job that has gone on meanwhile.
func (e *Engine) handOnIfWaiting(ctx context.Context, id JobID) error {
	a, err := e.Current(ctx, id)
	switch {
	case errors.Is(err, ErrEnded), errors.Is(err, ErrNotFound), err == nil && !a.Waiting:
		return nil
	case err != nil:
		return err
	}
	return e.handOn(ctx, a)
}

// handOn hands a job's attempt over that was held up: what has begun goes before what has
// not.
func (e *Engine) handOn(ctx context.Context, a Attempt) error {
	queue := a.Queue
	if a.Attempt > 1 {
		queue = RescueQueue(queue)
	}
	return e.handOver(ctx, a, queue)
}

// handOver is Dispatch where a task of the attempt may stand in asynq that it will not
// hand out any more, as of a job that was paused: the name is then free in the other of
// the attempt's two queues. Which of two tasks starts an attempt, starts it alone.
func (e *Engine) handOver(ctx context.Context, a Attempt, queue string) error {
	if a.Adopted() {
		return nil
	}
	stand, err := e.Tasks(ctx, []Attempt{a})
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
			return e.Dispatch(ctx, a, q)
		case TaskWaits:
			return nil
		}
	}
	return nil // neither is free: a reconciler sees to it
}

// dispatchAgain hands a waiting job's current attempt to asynq, if it is not there.
func (e *Engine) dispatchAgain(ctx context.Context, id JobID) error {
	w, err := e.Current(ctx, id)
	if err != nil || !w.Waiting {
		return err
	}
	return e.Dispatch(ctx, w, w.Queue)
}

// withdraw takes the task of an attempt that will not run out of asynq, where it could
// wait for a year. It is a tidying: a task that stays would acknowledge itself.
func (e *Engine) withdraw(a Attempt) {
	for _, queue := range []string{a.Queue, RescueQueue(a.Queue), TypeQueue(a.Queue, a.Type)} {
		if err := e.discard(a, queue); err != nil {
			e.opts.Logger.Debug("a task of an ended job stays in asynq", "job", a.Job, "error", err)
		}
	}
}
