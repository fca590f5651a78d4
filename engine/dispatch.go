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
	payload, err := json.Marshal(TaskPayload{t.job, t.attempt})
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
	return nil
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

// An Attempt is where a live job stands: which attempt is its current one, and
// whether that waits for a worker.
type Attempt struct {
	Job     JobID
	Topic   Topic
	Type    string
	Queue   string
	Attempt int
	Waiting bool
	// RunAt is when a delayed or retried attempt is due; zero: at once.
	RunAt time.Time
	// Deadline is the job's; zero: none.
	Deadline time.Time
	// Crashes counts lost workers since the last checkpoint.
	Crashes int
}

// Current reads where a job stands. Its error wraps ErrNotFound, ErrEnded or
// ErrUnreachable.
func (e *Engine) Current(ctx context.Context, id JobID) (Attempt, error) {
	if !e.keys.holds(id) {
		return Attempt{}, ErrNotFound
	}
	f, err := e.redis.HMGet(ctx, e.keys.job(id), "t", "ty", "q", "at", "st", "ra", "cr", "dl").Result()
	if err != nil {
		return Attempt{}, failure("read job "+string(id), err)
	}
	state := State(text(f[4]))
	switch {
	case state == "":
		return Attempt{}, ErrNotFound
	case state.Ended():
		return Attempt{}, fmt.Errorf("%w: it is %s", ErrEnded, state)
	}
	a := Attempt{Job: id, Topic: Topic(text(f[0])), Type: text(f[1]), Queue: text(f[2])}
	a.Attempt, _ = strconv.Atoi(text(f[3]))
	a.Crashes, _ = strconv.Atoi(text(f[6]))
	a.Waiting = state == Queued || state == Retrying
	if ms, _ := strconv.ParseInt(text(f[5]), 10, 64); ms > 0 && (state == Retrying || a.Attempt == 1) {
		a.RunAt = time.UnixMilli(ms)
	}
	if ms, _ := strconv.ParseInt(text(f[7]), 10, 64); ms > 0 {
		a.Deadline = time.UnixMilli(ms)
	}
	return a, nil
}

// Dispatch hands a waiting attempt to asynq, in the queue given. Doing so again,
// from anywhere, is no error: the task's ID is the attempt's.
func (e *Engine) Dispatch(ctx context.Context, a Attempt, queue string) error {
	at := a.RunAt
	if at.Before(time.Now()) {
		at = time.Time{}
	}
	return e.dispatch(ctx, task{job: a.Job, attempt: a.Attempt, kind: a.Type, queue: queue, at: at})
}
