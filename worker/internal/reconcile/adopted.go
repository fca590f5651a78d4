package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// adopted compares an adopted job that waits with its task, and reports whether asynq will not
// hand the task out. The second look then ends the job, since Tidemark cannot make the task again:
//
//	the task is gone                     job.canceled, "task_deleted"
//	the task is gone, and Redis may have
//	lost its outcome                     job.failed, "task_lost"
//	the task is archived                 job.failed, "task_archived", with asynq's last error
//	the whole queue is gone              job.failed, "task_lost"
//	a server without the middleware
//	has done it, and asynq kept it       job.succeeded
func (r *Reconciler) adopted(ctx context.Context, a runtime.Attempt, t runtime.Tasks, again bool) (gone bool, err error) {
	e, log := r.runtime, r.opts.Logger.With("job", a.Job, "queue", a.Task.Queue, "task", a.Task.ID)
	switch {
	case t.Own == runtime.TaskWaits, t.Own == runtime.TaskActive:
		return false, nil
	case !again:
		return true, nil
	case !t.Queue:
		log.Warn("asynq has lost an adopted job's queue; the job has failed")
		return false, e.Fail(ctx, a.Job, a.Attempt, engine.JobError{Code: engine.CodeTaskLost, Message: "asynq has no queue " + a.Task.Queue + " any more, and the task went with it"})
	}
	info, err := e.TaskInfo(a.Task)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		deleted, err := r.deleted(ctx, a)
		if err != nil {
			return false, err
		}
		if !deleted {
			log.Warn("an adopted job's task is gone after a failover or a restart of Redis; the job has failed")
			return false, e.Fail(ctx, a.Job, a.Attempt, engine.JobError{
				Code: engine.CodeTaskLost, Message: "its task is gone from asynq's queue " + a.Task.Queue + ", and a failover or a restart of Redis may have lost its outcome",
			})
		}
		log.Warn("an adopted job's task is gone; the job is canceled")
		return false, e.Withdraw(ctx, a.Job, a.Attempt, engine.JobError{
			Code: engine.CodeTaskDeleted, Message: "its task is gone from asynq's queue " + a.Task.Queue + ": it was deleted, or a server without the middleware has done it",
		})
	case err != nil:
		return false, err
	case info.State == asynq.TaskStateArchived:
		why := "its task was archived in asynq's queue " + a.Task.Queue
		if info.LastErr != "" {
			why = fmt.Sprintf("%s after %d retries; its last error was: %s", why, info.Retried, info.LastErr)
		}
		log.Warn("an adopted job's task is archived; the job has failed", "error", info.LastErr)
		return false, e.Fail(ctx, a.Job, a.Attempt, engine.JobError{Code: engine.CodeTaskArchived, Message: why})
	case info.State == asynq.TaskStateCompleted:
		return false, r.completed(ctx, a, info)
	}
	return false, nil // asynq has the task again
}

// completed ends the job of a task that a server without the middleware has done.
func (r *Reconciler) completed(ctx context.Context, a runtime.Attempt, info *asynq.TaskInfo) error {
	fence := runtime.Fence{Attempt: a.Attempt, Token: runtime.NewToken(), Seq: 1}
	end := fence
	end.Seq++
	acks, err := r.runtime.Commit(ctx,
		runtime.Report{Type: engine.JobStarted, Job: a.Job, Fence: fence, Try: info.Retried + 1},
		runtime.Report{Type: engine.JobSucceeded, Job: a.Job, Fence: end})
	for _, ack := range acks {
		if err == nil {
			err = ack.Err
		}
	}
	return err
}
