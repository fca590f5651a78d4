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

// A task carries an attempt in asynq. Each attempt has its own task, <job>.<attempt>, so whatever
// asynq does to one task cannot affect another attempt.
type task struct {
	job     wire.JobID
	topic   wire.Topic
	attempt int
	kind    string
	queue   string
	at      time.Time // zero means now
	alone   bool
}

// TaskPayload is the payload of an attempt's asynq task. It is all that asynq's web UI shows of the
// job.
type TaskPayload struct {
	Job     wire.JobID `json:"job"`
	Attempt int        `json:"attempt"`
	// Topic identifies the job's readers even if the job's record is lost.
	Topic wire.Topic `json:"topic"`
	// At is when asynq received the task, in Unix milliseconds: see Runtime.Outlived.
	At int64 `json:"at,omitempty"`
	// Alone says that the job is a suspect, see SuspectAfter: a worker runs the attempt while
	// nothing else runs there.
	Alone bool `json:"alone,omitempty"`
}

// QueueName is that of engine.Engine.
func (rt *Runtime) QueueName(queue string) string {
	if rt.g.Opts.Namespace == ground.DefaultNamespace {
		return queue
	}
	return rt.g.Opts.Namespace + ":" + queue
}

// RescueQueue is the name of the queue that holds those jobs of a queue that lost their worker or
// were handed back.
func RescueQueue(queue string) string { return queue + wire.RescueSuffix }

// TaskID is the ID of an attempt's asynq task.
func TaskID(job wire.JobID, attempt int) string { return string(job) + "." + strconv.Itoa(attempt) }

// attemptTimeout overrides asynq's default of 30 minutes. The job's deadline and its heartbeat
// bound an attempt instead.
const attemptTimeout = 10 * 365 * 24 * time.Hour

// dispatch hands an attempt to asynq. Doing so again is no error.
func (rt *Runtime) dispatch(ctx context.Context, t task) error {
	_, err := rt.hand(ctx, t)
	return err
}

// hand is dispatch, and reports whether the task is new. If not, asynq has a task of that name,
// which it may never run.
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

// mark records the dispatch with the next commit. If the task is later missing under the history
// since before the dispatch, it was deleted. If the mark is lost, a deleted task is treated as lost
// and dispatched again. A commit may be repeated after a restart of Redis that has lost the task, so
// the history at the time of the mark would prove nothing.
func (rt *Runtime) mark(t task) { rt.note(t.job, "dispatched", "@attempt", t.attempt) }

// note sends an operation without a record with the next commit, fire and forget.
func (rt *Runtime) note(job wire.JobID, kind, name string, value any) {
	_ = rt.g.Commits.Add(&ground.Submission{ // it fails only when the engine is closed
		Shard: job.Shard(), Reports: 1, Args: []any{kind, string(job), "", "", 0, "", 1, name, value},
		Done: func([]any, error) {},
	})
}

// Dispatch hands a waiting attempt to asynq, in the given queue. Doing so again, from any process,
// is no error: the task's ID is the attempt's. For an adopted job, which has its task, it does
// nothing.
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

// Move is Dispatch for a caller that is about to drop the attempt's task in another queue. It
// reports false if this queue had a task already, since another caller may be about to drop that
// one. Its error wraps ErrUnreachable.
func (rt *Runtime) Move(ctx context.Context, a Attempt, queue string) (bool, error) {
	return rt.hand(ctx, rt.taskOf(a, queue))
}

// Replace is Dispatch where asynq may have a task of that name that it has given up: Replace
// deletes it first. Its error wraps ErrUnreachable.
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
		return ground.Failure("delete a task that asynq has given up", err)
	}
	return rt.Dispatch(ctx, a, queue)
}

// discard deletes an attempt's task, if it exists and does not run.
func (rt *Runtime) discard(a Attempt, queue string) error {
	err := rt.tasks.DeleteTask(rt.QueueName(queue), TaskID(a.Job, a.Attempt))
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return nil
	}
	return err
}

// handOnIfWaiting is handOn for a job that still waits. For any other it does nothing.
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

// handOn dispatches an attempt that was held up. A job that has run before goes to the rescue
// queue, and so before jobs that have not run yet.
func (rt *Runtime) handOn(ctx context.Context, a Attempt) error {
	queue := a.Queue
	if a.Attempt > 1 {
		queue = RescueQueue(queue)
	}
	return rt.handOver(ctx, a, queue)
}

// handOver is Dispatch where asynq may have a task of the attempt that it will not run, such as
// that of a paused job. It then uses the attempt's other queue, where the name is free. If asynq
// runs both tasks, the engine starts the attempt for only one of them.
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
	return nil // neither is free: a reconciler dispatches the attempt later
}

// dispatchAgain hands a waiting job's present attempt to asynq, unless asynq has it.
func (rt *Runtime) dispatchAgain(ctx context.Context, id wire.JobID) error {
	w, err := rt.Current(ctx, id)
	if err != nil || !w.Waiting {
		return err
	}
	return rt.Dispatch(ctx, w, w.Queue)
}

// withdraw deletes the task of an attempt that will not run; otherwise asynq could keep it for a
// year. An error does no harm: such a task acknowledges itself when it runs.
func (rt *Runtime) withdraw(a Attempt) {
	for _, queue := range []string{a.Queue, RescueQueue(a.Queue), TypeQueue(a.Queue, a.Type)} {
		if err := rt.discard(a, queue); err != nil {
			rt.g.Opts.Logger.Debug("cannot delete the task of an attempt that will not run", "job", a.Job, "error", err)
		}
	}
}
