package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// maxSuspects is how many suspects a reconciler remembers.
const maxSuspects = 10_000

// reconciler walks over the live jobs of all shards, in rounds that it shares with those of
// other workers (reconcile_walk.go), and compares waiting jobs with asynq.
//
//	asynq never got the task: its producer died before             dispatched
//	the task is gone, and only a deletion explains it              job.canceled, "task_deleted"
//	an admin archived the task                                     job.failed, "task_archived"
//	asynq gave the task up, or its whole queue is gone,
//	or Redis may have lost the attempt's outcome                   job.queued, "task_lost", dispatched
//
// A failover or a restart of Redis may lose that an attempt began, or ended, while its worker
// continues, ends the run and acknowledges the task. The task's absence alone then looks like a
// deletion. So the reconciler concludes a deletion only on the history of Redis on which the task
// was dispatched: see runtime.Attempt.History. On Redis Cluster, where asynq's node and the job's
// may lose writes apart from each other, it concludes none.
//
// In the same walk it ends waiting jobs whose deadline has passed, children whose parent has ended,
// and receiving jobs whose receiver is lost. A running job without a heartbeat gets one, so that
// sweeps watch it.
type reconciler struct {
	c *supervisor

	walk     *runtime.Walk
	suspects map[engine.JobID]suspect
	history  string                // as it was kept last
	tended   map[engine.JobID]bool // parents, in this pass
}

// suspect is a waiting job that asynq was never given, as far as is known, or a receiving one
// that was not heard of. One sight is not enough: its task, or its report, may be on its way.
// Whose reconciler has come by it looks at it again in each pass.
type suspect struct {
	attempt int
	since   time.Time
}

// keepHistory keeps which Redis answers when that has changed, so that attempts that asynq
// is given from here on show it.
func (r *reconciler) keepHistory(ctx context.Context) error {
	history, err := r.c.runtime.History(ctx)
	if err != nil || history == "" || history == r.history {
		return err
	}
	if err := r.c.runtime.KeepHistory(ctx, history); err != nil {
		return err
	}
	r.history = history
	return nil
}

// deleted reports whether nothing but a deletion explains that an attempt's task is gone.
// Redis is asked after the task was looked for, so the name holds for that look.
func (r *reconciler) deleted(ctx context.Context, a runtime.Attempt) (bool, error) {
	history, err := r.c.runtime.History(ctx)
	if err != nil || history == "" {
		return false, err
	}
	if history != a.History {
		r.history = "" // what was kept may be gone too
	}
	return history == a.History, nil
}

// look compares jobs with asynq. It returns those whose task is gone, or, when it looks
// at them again, sees to them.
func (r *reconciler) look(ctx context.Context, jobs []engine.JobID, again bool) (gone []engine.JobID, err error) {
	e := r.c.runtime
	attempts, err := e.Attempts(ctx, jobs)
	if err != nil {
		return nil, err
	}
	if r.c.adopting {
		attempts = slices.DeleteFunc(attempts, func(a runtime.Attempt) bool { return a.State != "" && !a.Adopted() })
	}
	if err := r.watch(ctx, attempts); err != nil {
		return nil, err
	}
	orphans, err := e.Orphaned(ctx, attempts)
	if err != nil {
		return nil, err
	}
	var waiting []runtime.Attempt
	for _, a := range attempts {
		if a.Order != "" {
			if err = r.passing(a.Job, r.tend(ctx, a.Job, "children go on following their parent")); err != nil {
				return nil, err
			}
		}
		done, err := r.over(ctx, a, orphans)
		if err = r.passing(a.Job, err); err != nil {
			return nil, err
		}
		if !done && a.Waiting {
			waiting = append(waiting, a)
		} else if a.State != engine.Receiving {
			delete(r.suspects, a.Job)
		}
	}
	tasks, err := e.Tasks(ctx, waiting)
	if err != nil {
		return nil, err
	}
	for i, a := range waiting {
		missing, err := r.compare(ctx, a, tasks[i], again)
		if err = r.passing(a.Job, err); err != nil {
			return nil, err
		}
		if missing {
			gone = append(gone, a.Job)
		}
	}
	return gone, nil
}

// watch has sweeps watch jobs that run and have no heartbeat, which something that is not
// Tidemark has taken away: they claim them after a lease of silence, as they claim others.
func (r *reconciler) watch(ctx context.Context, attempts []runtime.Attempt) error {
	e := r.c.runtime
	var running []engine.JobID
	for _, a := range attempts {
		if a.State == engine.Running {
			running = append(running, a.Job)
		}
	}
	unwatched, err := e.Unwatched(ctx, running)
	if err != nil {
		return err
	}
	for _, job := range unwatched {
		r.c.opts.Logger.Warn("a running job has no heartbeat; it is claimed after a lease unless its worker sends one", "job", job)
		if err := e.Tidy(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

// passing is an error that ends the pass. A job's own trouble is logged: the others are
// looked at all the same.
func (r *reconciler) passing(job engine.JobID, err error) error {
	switch {
	case err == nil, runtime.Stale(err):
		return nil
	case errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrOutOfMemory), errors.Is(err, engine.ErrClosed):
		return err
	}
	r.c.opts.Logger.Warn("the reconciler could not see to a job", "job", job, "error", err)
	return nil
}

// over sees to jobs that are not to go on: it reports whether that was so.
func (r *reconciler) over(ctx context.Context, a runtime.Attempt, orphans map[engine.JobID]runtime.Attempt) (bool, error) {
	parent, orphan := orphans[a.Job]
	e := r.c.runtime
	held := a.State == engine.Running || a.State == engine.Receiving // somebody sees to it
	switch {
	case a.State == "":
		return true, e.Tidy(ctx, a.Job)
	case a.State.Ended():
		return true, nil
	case orphan && !held && parent.State == "":
		r.c.opts.Logger.Info("a child is canceled, since its parent is gone", "job", a.Job, "parent", a.ChildOf)
		return true, e.Cancel(ctx, a.Job)
	case orphan && !held:
		return true, r.tend(ctx, parent.Job, "children are canceled, since their parent has ended")
	case !held && r.late(a):
		return true, r.failLate(ctx, a)
	}
	if a.State == engine.Receiving {
		return r.unheard(ctx, a)
	}
	return false, nil
}

// late tells whether a job's deadline has passed. That of one that runs is its run's to see to.
func (r *reconciler) late(a runtime.Attempt) bool {
	return a.State != engine.Running && !a.Deadline.IsZero() && r.c.runtime.Past(a.Deadline)
}

func (r *reconciler) failLate(ctx context.Context, a runtime.Attempt) error {
	return r.c.runtime.Fail(ctx, a.Job, a.Attempt, engine.JobError{Code: engine.CodeDeadline, Message: ErrDeadline.Error() + " while it waited"})
}

// tend sees to a parent's children, all of them, at the first of them in a pass.
func (r *reconciler) tend(ctx context.Context, parent engine.JobID, what string) error {
	if r.tended[parent] {
		return nil
	}
	r.tended[parent] = true
	r.c.opts.Logger.Info(what, "parent", parent)
	return r.c.runtime.FollowUp(ctx, parent)
}

// compare holds a waiting attempt against asynq, and reports whether its task is gone.
func (r *reconciler) compare(ctx context.Context, a runtime.Attempt, t runtime.Tasks, again bool) (gone bool, err error) {
	e := r.c.runtime
	switch {
	case a.Adopted():
		return r.carried(ctx, a, t, again)
	case !a.Parked.IsZero():
		return r.parked(ctx, a, t, again)
	}
	queue := a.Queue
	if t.Own != runtime.TaskNone {
		queue = runtime.RescueQueue(a.Queue)
	}
	switch {
	case t.Waits(), t.Active():
		// What is active and does not start is the dequeue watch's business.
		delete(r.suspects, a.Job)
		return false, nil
	case t.GivenUp():
		return r.gaveUp(ctx, a, t, again)
	case !a.Dispatched:
		return false, r.never(ctx, a, queue)
	case !again:
		return true, nil
	}
	deleted := t.Queue && !e.Cluster()
	if deleted {
		if deleted, err = r.deleted(ctx, a); err != nil {
			return false, err
		}
	}
	if !deleted {
		return false, r.requeue(ctx, a, a.Queue, "asynq has lost its task")
	}
	r.c.opts.Logger.Warn("a waiting job's task was deleted; the job is canceled", "job", a.Job, "attempt", a.Attempt)
	return false, e.Withdraw(ctx, a.Job, a.Attempt, engine.JobError{Code: engine.CodeTaskDeleted, Message: "its task was deleted from asynq's queue " + e.QueueName(a.Queue)})
}

// gaveUp sees to a task that asynq will not hand out.
func (r *reconciler) gaveUp(ctx context.Context, a runtime.Attempt, t runtime.Tasks, again bool) (bool, error) {
	if !again {
		return true, nil
	}
	e := r.c.runtime
	in, other := a.Queue, runtime.RescueQueue(a.Queue)
	switch {
	case t.Own == runtime.TaskGivenUp:
	case t.Rescue == runtime.TaskGivenUp:
		in, other = other, in
	default:
		in, other = runtime.TypeQueue(a.Queue, a.Type), in
	}
	why, err := e.WhyGivenUp(ctx, a, in)
	switch {
	case err != nil:
		return false, err
	case why != "":
		return false, r.requeue(ctx, a, other, "asynq gave its task up: "+why)
	}
	r.c.opts.Logger.Warn("a waiting job's task was archived; the job has failed", "job", a.Job, "attempt", a.Attempt)
	return false, e.Fail(ctx, a.Job, a.Attempt, engine.JobError{
		Code: engine.CodeTaskArchived, Message: "its task was archived in asynq's queue " + e.QueueName(in) + "; retry the job to run it",
	})
}

// requeue tells that a task was lost, and hands the attempt over again.
func (r *reconciler) requeue(ctx context.Context, a runtime.Attempt, queue, why string) error {
	e := r.c.runtime
	r.c.opts.Logger.Warn("a waiting job's task was lost; it is handed to asynq again", "job", a.Job, "attempt", a.Attempt, "queue", queue, "why", why)
	if err := e.Requeue(ctx, a, engine.JobError{Code: engine.CodeTaskLost, Message: why + "; it is queued again"}); err != nil {
		return err
	}
	return e.Replace(ctx, a, queue)
}

// never hands an attempt over that asynq was not given, once it has been so for a while.
func (r *reconciler) never(ctx context.Context, a runtime.Attempt, queue string) error {
	if !r.suspected(a, r.c.opts.ReconcileInterval/2) {
		return nil
	}
	r.c.opts.Logger.Warn("a waiting job had no task; it is handed to asynq", "job", a.Job, "attempt", a.Attempt, "queue", queue)
	if err := r.c.runtime.Dispatch(ctx, a, queue); err != nil {
		return fmt.Errorf("hand attempt %d over: %w", a.Attempt, err)
	}
	return nil
}

// suspected notes that an attempt was seen where it should not stay, and reports whether it
// was first seen there so long ago. Then it is forgotten.
func (r *reconciler) suspected(a runtime.Attempt, since time.Duration) bool {
	s, known := r.suspects[a.Job]
	switch {
	case !known && len(r.suspects) >= maxSuspects:
		return false
	case !known || s.attempt != a.Attempt:
		s = suspect{attempt: a.Attempt, since: time.Now()}
	case time.Since(s.since) >= since:
		delete(r.suspects, a.Job)
		return true
	}
	r.suspects[a.Job] = s
	return false
}
