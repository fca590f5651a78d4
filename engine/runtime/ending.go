package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Fail ends a waiting job from outside a run, if attempt is still its present attempt. Errors to
// branch on: ErrSuperseded, ErrEnded, ErrNotFound, ErrUnreachable.
func (rt *Runtime) Fail(ctx context.Context, id wire.JobID, attempt int, why wire.JobError) error {
	return rt.endWaiting(ctx, id, wire.JobFailed, attempt, why)
}

func (rt *Runtime) endWaiting(ctx context.Context, id wire.JobID, kind wire.RecordType, attempt int, why wire.JobError) error {
	a, err := rt.Current(ctx, id)
	if err != nil {
		return fmt.Errorf("end job %s: %w", id, err)
	}
	r := Report{Type: wire.JobFailed, Error: &why}
	o := operation{kind: kind, topic: a.Topic, job: id, key: ground.NewKey(), attempt: attempt, outcome: string(r.outcome())}
	if a.Adopted() {
		o.fields = []any{"an", noTry}
	}
	_, err = rt.operate(ctx, o)
	if err == nil && a.Waiting && !a.Adopted() {
		rt.withdraw(a)
	}
	return err
}

// Withdraw ends a waiting job whose task was deleted from asynq as canceled, with the reason.
// attempt guards it as in Fail.
func (rt *Runtime) Withdraw(ctx context.Context, id wire.JobID, attempt int, why wire.JobError) error {
	return rt.endWaiting(ctx, id, wire.JobCanceled, attempt, why)
}

// Requeue records that a waiting job's task was lost, and why; the caller dispatches the attempt
// again. Errors are those of Fail, and ErrState when the job no longer waits.
func (rt *Runtime) Requeue(ctx context.Context, a Attempt, why wire.JobError) error {
	r := Report{Type: wire.JobFailed, Error: &why}
	_, err := rt.operate(ctx, operation{
		kind: wire.JobQueued, topic: a.Topic, job: a.Job, key: ground.NewKey(), attempt: a.Attempt, again: true, outcome: string(r.outcome()),
	})
	return err
}

// FailLost creates a failed job where asynq has a task and Redis has lost the job's record. Only
// the task's payload is known of the job. It does nothing to a job that exists. Its error wraps
// ErrInvalidTopic or ErrUnreachable.
func (rt *Runtime) FailLost(ctx context.Context, p TaskPayload, jobType string, why wire.JobError) error {
	s := wire.Spec{Topic: p.Topic, Type: jobType}
	if _, err := wire.ParseTopic(string(p.Topic)); err != nil {
		return err
	}
	if p.Job.Shard() != ground.ShardOf(p.Topic, rt.g.Opts.Shards) {
		return fmt.Errorf("%w topic %s: it is not job %s's", wire.ErrInvalid, p.Topic, p.Job)
	}
	o, _, err := making(s, p.Job, time.Now(), origin{})
	if err != nil {
		return err
	}
	// Without a payload Retry refuses it: Redis has lost what was to be done.
	i := slices.Index(o.fields, any("pl"))
	o.fields = append(slices.Delete(o.fields, i, i+2), "@accepted", 1)
	r, err := rt.operate(ctx, o)
	if err != nil || r.duplicate {
		return err
	}
	return rt.endWaiting(ctx, p.Job, wire.JobFailed, 1, why)
}

// Outlived reports whether a task has outlived its job: the job has no record, and was removed, or
// may have ended longer ago than the retention. The latter is so if the task was dispatched longer ago than that, or if
// asynq has archived it before, since then its attempt had an end. Otherwise Redis has lost the
// record. queue is asynq's name of the queue. The error wraps ErrUnreachable.
func (rt *Runtime) Outlived(ctx context.Context, queue string, p TaskPayload) (bool, error) {
	if removed, err := rt.WasRemoved(ctx, p.Job); removed || err != nil {
		return removed, err
	}
	given := p.Job.Time()
	if p.At > 0 {
		given = time.UnixMilli(p.At)
	}
	if time.Since(given) >= rt.g.Opts.Retention {
		return true, nil
	}
	info, err := rt.TaskInfo(Task{Queue: queue, ID: TaskID(p.Job, p.Attempt)})
	if errors.Is(err, wire.ErrNotFound) {
		return false, nil
	}
	return err == nil && info.LastErr != "", err
}
