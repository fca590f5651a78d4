package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
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
}

// TaskPayload is the payload of an attempt's asynq task, and all that the asynq web
// UI shows of the job.
type TaskPayload struct {
	Job     JobID `json:"job"`
	Attempt int   `json:"attempt"`
	// Topic lets a job be seen whose record is lost.
	Topic Topic `json:"topic"`
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
func RescueQueue(queue string) string { return queue + rescueSuffix }

const rescueSuffix = "-rescue"

// TaskID is the ID of an attempt's asynq task.
func TaskID(job JobID, attempt int) string { return string(job) + "." + strconv.Itoa(attempt) }

// attemptTimeout keeps asynq's own default of 30 minutes away: how long an attempt
// may take is the job's deadline and the heartbeat's business.
const attemptTimeout = 10 * 365 * 24 * time.Hour

// dispatch hands an attempt to asynq. Handing it over again is no error.
func (e *Engine) dispatch(ctx context.Context, t task) error {
	payload, err := json.Marshal(TaskPayload{t.job, t.attempt, t.topic})
	if err != nil {
		return err
	}
	opts := []asynq.Option{
		asynq.TaskID(TaskID(t.job, t.attempt)), asynq.Queue(e.QueueName(t.queue)), asynq.MaxRetry(0), asynq.Timeout(attemptTimeout),
	}
	if !t.at.IsZero() {
		// asynq cuts the time to whole seconds, which would be too early.
		opts = append(opts, asynq.ProcessAt(t.at.Add(time.Second-1).Truncate(time.Second)))
	}
	_, err = e.queue.EnqueueContext(ctx, asynq.NewTask(t.kind, payload), opts...)
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return failure(fmt.Sprintf("hand attempt %d of job %s to asynq", t.attempt, t.job), err)
	}
	e.mark(t)
	return nil
}

// mark keeps that asynq was given an attempt, so that a task that is missing later was
// taken away. Nobody waits for it: it goes with the next commit, and where it is lost
// the task is taken for lost.
func (e *Engine) mark(t task) {
	_ = e.commits.add(&submission{ // the engine is closed: nobody is left who would look
		shard: t.job.shard(), reports: 1, args: []any{"dispatched", string(t.job), "", "", 0, "", 1, "@attempt", t.attempt},
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
	at := a.RunAt
	if at.Before(time.Now()) {
		at = time.Time{}
	}
	return e.dispatch(ctx, task{job: a.Job, topic: a.Topic, attempt: a.Attempt, kind: a.Type, queue: queue, at: at})
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
	for _, queue := range []string{a.Queue, RescueQueue(a.Queue)} {
		err := e.tasks.DeleteTask(e.QueueName(queue), TaskID(a.Job, a.Attempt))
		if err != nil && !errors.Is(err, asynq.ErrTaskNotFound) && !errors.Is(err, asynq.ErrQueueNotFound) {
			e.opts.Logger.Debug("a task of an ended job stays in asynq", "job", a.Job, "error", err)
		}
	}
}
