package worker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// Bounds of one look for tasks that wait: how many, and how many of them at a time.
const (
	findTasks = 1000
	findPage  = 100
)

// finder walks over the waiting tasks of the queues, round after round. It makes a job for each task
// that has none.
type finder struct {
	a     *Adopter
	lists []taskList
}

// taskList is one of asynq's lists in a queue, and the page to read next.
type taskList struct {
	queue string
	read  func(queue string, opts ...asynq.ListOption) ([]*asynq.TaskInfo, error)
	page  int
}

func (a *Adopter) find(ctx context.Context) {
	f := &finder{a: a}
	for _, q := range a.adopt.Queues {
		for _, read := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
			a.inspect.ListPendingTasks, a.inspect.ListScheduledTasks, a.inspect.ListRetryTasks,
		} {
			f.lists = append(f.lists, taskList{queue: q, read: read, page: 1})
		}
	}
	for {
		if err := f.pass(ctx); err != nil && ctx.Err() == nil {
			a.opts.Logger.Warn("cannot make jobs for some of asynq's waiting tasks; the next look tries again", "error", err)
		}
		d := a.opts.ReconcileInterval
		if !backoff.Sleep(ctx, d-d/10+rand.N(d/10+1)) {
			return
		}
	}
}

// pass reads pages of all lists in turn, until it has read findTasks tasks or all lists to their
// ends.
func (f *finder) pass(ctx context.Context) error {
	var failed error
	open := len(f.lists)
	atEnd := make([]bool, len(f.lists))
	for read := 0; read < findTasks && open > 0; {
		for i := range f.lists {
			if atEnd[i] {
				continue
			}
			n, err := f.look(ctx, &f.lists[i])
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			failed = errors.Join(failed, err)
			read += n
			if err != nil || n < findPage {
				atEnd[i] = true
				open--
			}
		}
	}
	return failed
}

// look reads a list's next page and returns how many tasks are on it.
func (f *finder) look(ctx context.Context, l *taskList) (int, error) {
	infos, err := l.read(l.queue, asynq.Page(l.page), asynq.PageSize(findPage))
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return 0, nil // no task was ever enqueued in it
	}
	if err != nil {
		return 0, err
	}
	l.page++
	if len(infos) < findPage {
		l.page = 1
	}
	tasks := make([]runtime.Adoption, 0, len(infos))
	for _, info := range infos {
		// The Adopter logs a task's mistakes when the task runs: the finder reads it every few seconds.
		ad, ok := f.a.adoption(asynq.NewTaskWithHeaders(info.Type, info.Payload, info.Headers), l.queue, info.ID, slog.LevelDebug)
		if !ok {
			continue
		}
		ad.Try, ad.MaxRetries = info.Retried+1, info.MaxRetry
		if info.State != asynq.TaskStatePending {
			ad.RunAt = info.NextProcessAt
		}
		tasks = append(tasks, ad)
	}
	made, err := f.a.runtime.AdoptWaiting(ctx, tasks)
	if made > 0 {
		f.a.opts.Logger.Debug("waiting tasks of asynq have jobs now", "queue", l.queue, "tasks", made)
	}
	return len(infos), err
}
