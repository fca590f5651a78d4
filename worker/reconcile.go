package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
)

// Bounds of one pass: the jobs that it looks at, and the suspects that it remembers.
// What is left comes with the next pass.
const (
	reconcilePage = 100
	reconcileJobs = 1000
	maxSuspects   = 10_000
)

// reconciler walks over the live jobs of all shards, round after round, and finds
// those that wait for a task that asynq does not have: whoever made the job did not
// come as far as asynq, or the task was lost or deleted.
type reconciler struct {
	w         *Worker
	inspector *asynq.Inspector

	shard    int
	from     int // how many of the shard's live jobs were looked at
	round    int
	suspects map[engine.JobID]suspect
}

// suspect is a waiting job that was seen without a task. One sight is not enough:
// its task may be on its way.
type suspect struct {
	attempt int
	since   time.Time
	round   int
}

// reconcile runs a pass each ReconcileInterval, give or take a tenth, so that
// workers that were started together do not all look at once.
func (w *Worker) reconcile(ctx context.Context) {
	r := &reconciler{w: w, inspector: asynq.NewInspectorFromRedisClient(w.opts.Engine.Redis()), suspects: map[engine.JobID]suspect{}}
	for {
		d := w.opts.ReconcileInterval
		t := time.NewTimer(d + rand.N(d/10+1))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if err := r.pass(ctx); err != nil && ctx.Err() == nil {
			w.opts.Logger.Debug("a pass of the reconciler was cut short", "error", err)
		}
	}
}

// pass looks at up to reconcileJobs live jobs, and at each shard at most once.
func (r *reconciler) pass(ctx context.Context) error {
	e := r.w.opts.Engine
	for looked, shards := 0, 0; looked < reconcileJobs && shards < e.Shards(); {
		jobs, next, err := e.Live(ctx, r.shard, r.from, reconcilePage)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			err := r.look(ctx, job)
			switch {
			case err == nil:
			case ctx.Err() != nil, errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrOutOfMemory):
				return err
			default:
				// Its own trouble: the others are looked at all the same.
				r.w.opts.Logger.Warn("the reconciler could not see to a job", "job", job, "error", err)
			}
		}
		looked += len(jobs)
		r.from = next
		if next == 0 {
			shards++
			r.shard++
		}
		if r.shard == e.Shards() {
			r.shard = 0
			r.endRound()
		}
	}
	return nil
}

// endRound forgets suspects that the round did not come by: they have ended.
func (r *reconciler) endRound() {
	for job, s := range r.suspects {
		if s.round != r.round {
			delete(r.suspects, job)
		}
	}
	r.round++
}

// look compares one job with asynq.
func (r *reconciler) look(ctx context.Context, job engine.JobID) error {
	a, err := r.w.opts.Engine.Current(ctx, job)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		delete(r.suspects, job)
		return r.w.opts.Engine.Forget(ctx, job)
	case stale(err):
		delete(r.suspects, job)
		return nil
	case err != nil:
		return err
	case !a.Waiting:
		delete(r.suspects, job)
		return nil
	}
	if over, err := r.overdue(ctx, a); over || err != nil {
		return err
	}
	queue, err := r.missing(a)
	if err != nil {
		return err
	}
	if queue == "" {
		delete(r.suspects, job)
		return nil
	}
	s, known := r.suspects[job]
	switch {
	case !known && len(r.suspects) >= maxSuspects:
		return nil
	case !known || s.attempt != a.Attempt:
		s = suspect{attempt: a.Attempt, since: time.Now()}
	case time.Since(s.since) >= r.w.opts.ReconcileInterval:
		delete(r.suspects, job)
		r.w.opts.Logger.Warn("a waiting job had no task; it is handed to asynq again", "job", job, "attempt", a.Attempt, "queue", queue)
		// One that asynq gave up in that queue has the name; an active one stays.
		_ = r.inspector.DeleteTask(r.w.opts.Engine.QueueName(queue), engine.TaskID(a.Job, a.Attempt))
		return r.w.opts.Engine.Dispatch(ctx, a, queue)
	}
	s.round = r.round
	r.suspects[job] = s
	return nil
}

// missing says in which queue an attempt's task is to be put, "" when asynq has one
// that it will hand out. Where a task stands that asynq will not, its name is taken,
// and the other queue is as good: which task starts the attempt, starts it alone.
func (r *reconciler) missing(a engine.Attempt) (string, error) {
	queue := a.Queue
	for _, q := range []string{a.Queue, engine.RescueQueue(a.Queue)} {
		info, err := r.inspector.GetTaskInfo(r.w.opts.Engine.QueueName(q), engine.TaskID(a.Job, a.Attempt))
		switch {
		case errors.Is(err, asynq.ErrQueueNotFound), errors.Is(err, asynq.ErrTaskNotFound):
			continue
		case err != nil:
			return "", err
		}
		switch info.State {
		case asynq.TaskStatePending, asynq.TaskStateScheduled, asynq.TaskStateRetry:
			return "", nil
		}
		// Active, and the attempt has not started: the reply to asynq's dequeue was
		// lost, or it waits for a slot. Archived or completed: asynq gave it up.
		if q == queue {
			queue = engine.RescueQueue(a.Queue)
		}
	}
	return queue, nil
}

// overdue ends a waiting job whose deadline has passed.
func (r *reconciler) overdue(ctx context.Context, a engine.Attempt) (bool, error) {
	if a.Deadline.IsZero() || time.Now().Before(a.Deadline) {
		return false, nil
	}
	err := r.w.opts.Engine.Fail(ctx, a.Job, a.Attempt, engine.JobError{Code: codeDeadline, Message: ErrDeadline.Error() + " while it waited"})
	if stale(err) {
		err = nil
	}
	return true, err
}
