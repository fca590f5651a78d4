package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
	"github.com/tidemark-dev/tidemark/worker/internal/gate"
	"github.com/tidemark-dev/tidemark/worker/internal/intake"
)

// process executes one asynq task: an attempt of a job. asynq acknowledges the task if process
// returns nil, and archives it if it returns an error. process commits the record of the attempt's
// outcome before it returns.
//
// base ends when the worker abandons its runs, taking when it begins nothing more. from is the
// queue, by asynq's name, that the task was in.
func (w *Worker) process(base, taking context.Context, slots intake.Slots, from string, t *asynq.Task) error {
	var p runtime.TaskPayload
	if err := json.Unmarshal(t.Payload(), &p); err != nil {
		return w.malformed(t, from)
	}
	if _, err := engine.ParseJobID(string(p.Job)); err != nil {
		return w.malformed(t, from)
	}
	if w.wrapped[t.Type()] == nil {
		return w.park(base, from, t.Type(), p)
	}
	select {
	case slots <- struct{}{}:
	case <-taking.Done():
		return w.release(base, from, t.Type(), p, 0)
	}
	if taking.Err() != nil { // both were ready
		<-slots
		return w.release(base, from, t.Type(), p, 0)
	}
	seat, ok := w.seat(taking, p)
	if !ok {
		<-slots
		return w.release(base, from, t.Type(), p, w.opts.ReconcileInterval)
	}
	fence, started, err := w.open(base, taking, p)
	if err != nil {
		seat.Leave()
		<-slots
		var wait time.Duration
		switch {
		case runtime.Stale(err):
			w.opts.Logger.Debug("the task's attempt is not the current one; the task is acknowledged", "job", p.Job, "attempt", p.Attempt, "why", err)
		case taking.Err() == nil:
			// Redis may take no records of its topic. The attempt waits in the other queue.
			w.opts.Logger.Error("cannot start an attempt; it goes back to its queue", "job", p.Job, "attempt", p.Attempt, "error", err)
			wait = w.opts.ReconcileInterval
		}
		return w.release(base, from, t.Type(), p, wait)
	}
	answer, committed := w.run(base, slots, seat, p.Job, fence, started)
	if !committed {
		return w.release(base, from, t.Type(), p, 0)
	}
	return answer
}

// lost handles a task of whose job Redis has no record. If a failover lost the record, lost commits
// that the job has failed, for those who watch it. If the record has expired, as when an admin runs
// the task again out of asynq's archive, lost drops the task: the job has ended before.
func (w *Worker) lost(ctx context.Context, from, jobType string, p runtime.TaskPayload) error {
	why := engine.JobError{Code: engine.CodeRecordLost, Message: "Redis has lost the job's record, and with it what was to be done; enqueue it again"}
	log := w.opts.Logger.With("job", p.Job, "attempt", p.Attempt, "topic", p.Topic)
	outlived := false
	err := w.persist(ctx, func() (err error) {
		if outlived, err = w.runtime.Outlived(ctx, from, p); err == nil && !outlived {
			err = w.runtime.FailLost(ctx, p, jobType, why)
		}
		return err
	})
	switch {
	case err != nil:
		log.Error("Redis has no record of a task's job and does not take the record of its failure; asynq archives the task", "error", err)
		return archive("Redis has no record of the job and did not take the record of its failure")
	case outlived:
		log.Warn("the record of a task's job has expired; the task is dropped")
	default:
		log.Error("Redis has lost a job's record; the job has failed")
	}
	return nil
}

// malformed archives a task that has the name of an attempt and not the payload of one. The intake
// leaves tasks of other programs where they are.
func (w *Worker) malformed(t *asynq.Task, from string) error {
	w.opts.Logger.Error("a task that has the name of a job's attempt and not its payload goes to asynq's archive", "queue", from, "type", excerpt.Of(t.Type(), 64))
	return archive(fmt.Sprintf("a task of type %q whose payload is not that of a job's attempt", excerpt.Of(t.Type(), 64)))
}

// seat waits until an attempt may run: beside others, or alone if its job is a suspect. It reports
// false if the worker is stopping, if other runs last too long, or if the suspect's attempt no longer
// waits.
func (w *Worker) seat(ctx context.Context, p runtime.TaskPayload) (*gate.Seat, bool) {
	if !p.Alone {
		return w.gate.Enter(ctx)
	}
	// The second task of an attempt that has begun must not hold up other runs.
	if a, err := w.runtime.Current(ctx, p.Job); err == nil && (!a.Waiting || a.Attempt != p.Attempt) || runtime.Stale(err) {
		return nil, false
	}
	s, ok := w.gate.Alone(ctx)
	if !ok && ctx.Err() == nil {
		w.opts.Logger.Info("a job that has lost its worker twice has to run alone, and other jobs run for too long; it goes back to its queue", "job", p.Job, "attempt", p.Attempt)
	}
	return s, ok
}

// open commits the start of an attempt; from then on Redis accepts reports under its fence alone.
// open repeats the commit until the intake ends. It waits for the answer to the last one in any
// case, since a committed start without a run looks like a lost worker.
func (w *Worker) open(base, taking context.Context, p runtime.TaskPayload) (fence runtime.Fence, started *runtime.Started, err error) {
	fence = runtime.Fence{Attempt: p.Attempt, Token: runtime.NewToken(), Seq: 1}
	report := runtime.Report{Type: engine.JobStarted, Job: p.Job, Fence: fence}
	err = w.persist(taking, func() error {
		acks, err := w.runtime.Commit(base, report)
		if len(acks) == 0 {
			return err
		}
		w.tend(base, acks[0].FollowUps)
		started = acks[0].Started
		if acks[0].Err == nil && started == nil {
			// The answer to the first commit was lost, and the attempt has ended since.
			return runtime.ErrSuperseded
		}
		return acks[0].Err
	})
	return fence, started, err
}

// release returns asynq's answer about a task whose attempt's end this worker has not committed.
//
// If the job has moved on, asynq acknowledges the task. If the attempt is the current one and waits,
// as when a failover has lost its start, release moves it to the other of its two queues, due after
// wait: in this queue the task is still active and has the attempt's name. If it cannot, asynq
// archives the task with the reason, since a task that is acknowledged while its attempt waits looks
// as if an admin had deleted it. The same holds if the other queue has a task already, whose worker
// may be about to move it here.
func (w *Worker) release(base context.Context, from, jobType string, p runtime.TaskPayload, wait time.Duration) error {
	// base may have ended, since the worker may be stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(base), w.opts.Lease)
	defer cancel()
	a, err := w.runtime.Current(ctx, p.Job)
	moved := true
	if err == nil && a.Waiting && a.Attempt == p.Attempt {
		queue := runtime.RescueQueue(a.Queue)
		if from == w.opts.Engine.QueueName(queue) {
			queue = a.Queue
		}
		if wait > 0 {
			a.RunAt = w.runtime.Now().Add(wait)
		}
		moved, err = w.runtime.Move(ctx, a, queue)
	}
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return w.lost(base, from, jobType, p)
	case err != nil && !runtime.Stale(err):
		w.opts.Logger.Warn("cannot put a task back into a queue; a reconciler does so later", "job", p.Job, "error", err)
		return archive("the worker could neither start the attempt nor put it back into a queue")
	case err == nil && !moved:
		return archive("the worker could not start the attempt; the attempt has a task in its other queue")
	}
	return nil
}

// run calls the handler and commits the attempt's end. It returns asynq's answer, and whether this
// worker has committed the end.
func (w *Worker) run(base context.Context, slots intake.Slots, seat *gate.Seat, job engine.JobID, fence runtime.Fence, started *runtime.Started) (answer error, committed bool) {
	ctx, cancel := context.WithCancelCause(base)
	defer cancel(errOver)
	r := w.newRun(w.runtime, job, fence, started, cancel)
	if !started.Deadline.IsZero() {
		var stop context.CancelFunc
		// Redis's clock decides: this machine's may differ.
		ctx, stop = context.WithTimeoutCause(ctx, started.Deadline.Sub(w.runtime.Now()), ErrDeadline)
		defer stop()
		defer context.AfterFunc(ctx, func() { r.end(context.Cause(ctx)) })()
	}
	r.seat = seat
	w.register(r)
	r.logStart()
	defer r.close(errOver)
	defer w.forget(r)
	if started.Crashes >= runtime.SuspectAfter && !seat.IsAlone() {
		r.end(ErrDraining) // an older version made its task, which does not say so; the next task does
	}
	// Once the worker abandons its runs, calls of this one that wait for Redis return.
	defer context.AfterFunc(base, func() { r.close(ErrDraining) })()

	// The handler has a goroutine of its own, since it may end it (runtime.Goexit) or outlast its
	// grace period.
	done := make(chan error, 1)
	go func() {
		err := error(&panicError{text: goexit})
		defer func() {
			seat.Leave()
			<-slots
			done <- err
		}()
		err = call(ctx, w.wrapped[started.Type], r)
	}()
	err := w.await(base, ctx, r, done)
	if base.Err() != nil && errors.Is(err, errAbandoned) {
		return nil, false
	}
	return w.settle(base, r, r.why(ctx), err)
}

// goexit is the error's text for a handler that ended its goroutine.
const goexit = "the handler ended its goroutine (runtime.Goexit) instead of returning"

func call(ctx context.Context, h HandlerFunc, r *Run) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{words(fmt.Sprint("panic: ", v)), debug.Stack()}
		}
	}()
	if err := context.Cause(ctx); err != nil {
		return err // the deadline passed while the attempt waited for its slot
	}
	if err := r.files.adopt(ctx); err != nil {
		return err
	}
	return h(ctx, r)
}

// errAbandoned says that the worker is stopping and the handler has not returned.
var errAbandoned = errors.New("abandoned")

// await waits for the handler, and for a grace period once its context has ended. A handler that
// has not returned by then keeps its slot.
func (w *Worker) await(base, ctx context.Context, r *Run, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	var grace <-chan time.Time
	for urged := r.ending.urged; ; {
		select {
		case err := <-done:
			return err
		case <-urged:
			t := time.NewTimer(w.opts.CancelGrace)
			defer t.Stop()
			urged, grace = nil, t.C
		case <-grace:
			cause := r.why(ctx)
			r.logger.Warn("the handler has not returned although its context has ended; it keeps its slot until it does", "cause", cause, "grace", w.opts.CancelGrace)
			return cause
		case <-base.Done():
			w.left.Add(1)
			r.close(ErrDraining)
			r.logEnd(slog.LevelWarn, outcomeAbandoned, slog.Duration("grace", w.opts.DrainGrace)) // another worker continues its job after a lease
			return errAbandoned
		}
	}
}

// settle commits the attempt's end and dispatches the next attempt. It returns asynq's answer, and
// whether it committed the end.
func (w *Worker) settle(ctx context.Context, r *Run, cause, err error) (answer error, committed bool) {
	if errors.Is(cause, ErrSuperseded) {
		r.logEnd(slog.LevelWarn, outcomeSuperseded)
		return nil, false
	}
	report, asked := r.conclude(w.verdict(r, cause, err))
	if asked != nil {
		r.logEnd(slog.LevelWarn, outcomeRefused, slog.String("end", string(report.Type)), slog.String("error", words(asked)))
		return nil, false
	}
	r.tell(report, err)
	w.tend(ctx, r.out.FollowUps())
	switch report.Type {
	case engine.JobQueued, engine.JobPaused, engine.JobAwaiting: // a resume or the last child may have queued the job
		w.next(ctx, r.job, runtime.RescueQueue(r.queue))
	case engine.JobRetrying:
		w.next(ctx, r.job, r.queue)
	}
	if report.Error != nil {
		return archive(report.Error.Code + ": " + report.Error.Message), true
	}
	return nil, true
}

// conclude commits an attempt's end. If the engine finds the report invalid, conclude commits a
// failure that says so. It returns the report that it sent last.
func (r *Run) conclude(report runtime.Report) (runtime.Report, error) {
	err := r.out.Ask(report)
	if errors.Is(err, engine.ErrInvalid) {
		report = runtime.Report{Type: engine.JobFailed, Error: failure(engine.CodeError, err)}
		err = r.out.Ask(report)
	}
	return report, err
}

// verdict decides what an attempt's end is. A handler that returns nil has done the job, also after
// a request to stop it. A handler that returns an error after such a request ends the job as
// requested.
func (c *supervisor) verdict(r *Run, cause, err error) runtime.Report {
	failed := func(code string) runtime.Report {
		return runtime.Report{Type: engine.JobFailed, Error: failure(code, err)}
	}
	result, awaits := r.outcome()
	switch {
	case awaits && gravity(cause) < urgent && (err == nil || errors.Is(err, ErrAwaiting)):
		return runtime.Report{Type: engine.JobAwaiting}
	case err == nil && !awaits:
		return runtime.Report{Type: engine.JobSucceeded, Result: result, Artifacts: r.Artifacts()}
	case errors.As(err, new(*panicError)):
		return failed(engine.CodePanic)
	case errors.Is(cause, ErrCanceled):
		return runtime.Report{Type: engine.JobCanceled}
	case errors.Is(cause, ErrDeadline):
		err = cmp.Or(err, ErrDeadline) // nil if it awaited its children
		return failed(engine.CodeDeadline)
	case errors.As(err, new(*permanentError)):
		return failed(engine.CodePermanent)
	case errors.Is(cause, ErrPaused):
		return runtime.Report{Type: engine.JobPaused}
	case errors.Is(cause, ErrDraining):
		return runtime.Report{Type: engine.JobQueued}
	case r.started.Retries+1 >= r.started.MaxAttempts:
		return failed(engine.CodeError)
	}
	wait := backoff.Wait(r.started.Retries, c.opts.BackoffMin, c.opts.BackoffMax)
	if after := (*retryAfterError)(nil); errors.As(err, &after) {
		wait = after.after
	}
	report := failed(engine.CodeError)
	report.Type, report.RetryAt, report.Retries = engine.JobRetrying, nextSecond(r.jobs.Now().Add(wait)), r.started.Retries+1
	return report
}

// nextSecond rounds up to a whole second, as asynq's times are, so that the record has the time at
// which asynq hands the attempt out.
func nextSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }

// tend does what follows from a commit for the jobs that its answer named: it brings a parent's end
// to its children, or dispatches a parent.
func (w *Worker) tend(ctx context.Context, jobs []engine.JobID) {
	for _, job := range jobs {
		if err := w.persist(ctx, func() error { return w.runtime.FollowUp(ctx, job) }); err != nil {
			w.opts.Logger.Warn("cannot update a job's children, or dispatch the job that waited for them; a reconciler does so later", "job", job, "error", err)
		}
	}
}

// next dispatches the job's next attempt. A job that was canceled meanwhile has none.
func (w *Worker) next(ctx context.Context, job engine.JobID, queue string) {
	err := w.persist(ctx, func() error {
		a, err := w.runtime.Current(ctx, job)
		if err != nil || !a.Waiting {
			return err
		}
		return w.runtime.Dispatch(ctx, a, queue)
	})
	if err != nil && !runtime.Stale(err) {
		w.opts.Logger.Warn("cannot dispatch the next attempt; a reconciler does so later", "job", job, "error", err)
	}
}
