package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
)

// A task that waits for its third try is deleted, and the application enqueues another of
// that name before a reconciler has come by: it is run, as a job of its own.
func TestANewTaskUnderADeletedOnesNameRuns(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := briefAdopt(e)
	o.ReconcileInterval = time.Minute
	a := adopt(t, o)
	var fresh atomic.Bool
	config := briefServer()
	config.IsFailure = a.IsFailure
	config.RetryDelayFunc = func(n int, _ error, _ *asynq.Task) time.Duration {
		if n == 1 && !fresh.Load() {
			return time.Hour
		}
		return 0
	}
	serve(t, e, config, handling(a, "export", func(context.Context, *asynq.Task) error {
		if fresh.Load() {
			return nil
		}
		return errors.New("no luck")
	}))
	info := send(t, e, "export", asynq.TaskID("daily"))
	eventually(t, "two tries", func() bool { return strings.HasPrefix(standing(e, info), "retry, 2 retries") })
	old := jobOf(t, e, info)
	if err := inspect(e).DeleteTask(info.Queue, info.ID); err != nil {
		t.Fatal(err)
	}
	fresh.Store(true)
	send(t, e, "export", asynq.TaskID("daily"))
	eventually(t, "the new task to be done", func() bool { return standing(e, info) == "gone" })
	if end := last(history(t, e, old, nil)); end.State != engine.Canceled || end.Error == nil || end.Error.Code != "task_deleted" {
		t.Errorf("the job of the deleted task ended as %s, %+v", end.State, end.Error)
	}
	job := jobOf(t, e, info)
	if end := last(history(t, e, job, nil)); job == old || end.State != engine.Succeeded || end.Attempt != 1 {
		t.Errorf("the new task's job is %+v", end)
	}
}
