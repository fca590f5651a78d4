package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
	"github.com/tidemark-dev/tidemark/worker/internal/gate"
	"github.com/tidemark-dev/tidemark/worker/internal/intake"
)

// process executes one asynq task: an attempt of a job. What it returns goes to
// asynq: nil acknowledges the task, an error puts it into the archive. The record of
// what became of the attempt is committed before that, always.
//
// base ends when runs are abandoned, taking when nothing new is to be begun. from is the
// queue, by asynq's name, that the task was in.
func (w *Worker) process(base, taking context.Context, slots intake.Slots, from string, t *asynq.Task) error {
	var p runtime.TaskPayload
	if err := json.Unmarshal(t.Payload(), &p); err != nil {
		return w.foreign(t, from)
	}
	if _, err := engine.ParseJobID(string(p.Job)); err != nil {
		return w.foreign(t, from)
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
			w.opts.Logger.Debug("the task's attempt is not to be run", "job", p.Job, "attempt", p.Attempt, "why", err)
		case taking.Err() == nil:
			// Its topic may take no records: the attempt waits in the other queue.
			w.opts.Logger.Error("an attempt could not be started", "job", p.Job, "attempt", p.Attempt, "error", err)
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

// lost is for a task whose job Redis has no record of. Where a failover lost the record,
// watchers of the job are told. A task that outlives its job's record, as one that is run
// again out of asynq's archive, ends nothing: the job has had its end.
func (w *Worker) lost(ctx context.Context, from, jobType string, p runtime.TaskPayload) error {
	why := engine.JobError{Code: engine.CodeRecordLost, Message: "Redis has lost the job's record, and with it what was to be done; enqueue it again"}
	log := w.opts.Logger.With("job", p.Job, "attempt", p.Attempt, "topic", p.Topic)
	outlived := false
	err := w.persist(ctx, func() (err error) {
		if outlived, err = w.runtime.Outlived(from, p); err == nil && !outlived {
			err = w.runtime.FailLost(ctx, p, jobType, why)
		}
		return err
	})
	switch {
	case err != nil:
		log.Error("a task's job has no record, and that could not be told", "error", err)
		return archive("the job has no record, and that could not be told")
	case outlived:
		log.Warn("a task that outlives its job's record is dropped")
	default:
		log.Error("Redis has lost a job's record; the job has failed")
	}
	return nil
}

// foreign sends a task to asynq's archive that no engine made.
func (w *Worker) foreign(t *asynq.Task, from string) error {
	w.opts.Logger.Warn("a task that is not an attempt of a job goes to asynq's archive; give Tidemark queues of its own", "queue", from, "type", fmt.Sprintf("%.64s", t.Type()))
	return archive(fmt.Sprintf("a task of type %.64q that is not an attempt of a job: give Tidemark queues of its own", t.Type()))
}

// seat waits until an attempt may run: beside others, or alone if its job is a suspect. It
// reports false when the worker is leaving, when others run for too long, and for a suspect's
// attempt that does not wait any more.
func (w *Worker) seat(ctx context.Context, p runtime.TaskPayload) (*gate.Seat, bool) {
	if !p.Alone {
		return w.gate.Enter(ctx)
	}
	// Nothing is held up for the second task of an attempt that has begun.
	if a, err := w.runtime.Current(ctx, p.Job); err == nil && (!a.Waiting || a.Attempt != p.Attempt) || runtime.Stale(err) {
		return nil, false
	}
	s, ok := w.gate.Alone(ctx)
	if !ok && ctx.Err() == nil {
		w.opts.Logger.Info("a job that has lost its worker twice finds no moment to run alone; it goes back to its queue", "job", p.Job, "attempt", p.Attempt)
	}
	return s, ok
}

// open starts an attempt: from here on its fence is the only one that is accepted. It is
// not tried again once the intake ends, but its answer is waited for: a start that was
// committed and that nobody runs would look like a lost worker.
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
			// The answer to the first try was lost, and the attempt is over meanwhile.
			return runtime.ErrSuperseded
		}
		return acks[0].Err
	})
	return fence, started, err
}

// release gives asynq's answer about a task whose attempt has no end that this worker has
// committed. Where the job has moved on, the task is acknowledged. Where the attempt is
// still the current one and waits, as when a failover has lost its start, it waits on, for
// so long, in the other of its two queues, since in this one its task is still active, and
// the name taken. Where that does not succeed the task goes to asynq's archive with a word: a
// task that is acknowledged while its attempt waits looks as if an operator had deleted it. So
// it does where the other queue has a task already, which may be about to be put back into
// this one.
func (w *Worker) release(base context.Context, from, jobType string, p runtime.TaskPayload, wait time.Duration) error {
	// The worker may be leaving, and its context over.
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
		w.opts.Logger.Warn("cannot put a task back; a reconciler does so later", "job", p.Job, "error", err)
		return archive("the worker stopped before it could start the attempt or put it back")
	case err == nil && !moved:
		return archive("the worker could not start the attempt, which has another task")
	}
	return nil
}

// run calls the handler and commits what became of it. It returns asynq's answer, or that
// the attempt has no end that was committed here.
func (w *Worker) run(base context.Context, slots intake.Slots, seat *gate.Seat, job engine.JobID, fence runtime.Fence, started *runtime.Started) (answer error, committed bool) {
	ctx, cancel := context.WithCancelCause(base)
	defer cancel(errOver)
	r := w.newRun(w.runtime, job, fence, started, cancel)
	if !started.Deadline.IsZero() {
		var stop context.CancelFunc
		// By Redis's clock: this machine's may be another.
		ctx, stop = context.WithTimeoutCause(ctx, started.Deadline.Sub(w.runtime.Now()), ErrDeadline)
		defer stop()
		defer context.AfterFunc(ctx, func() { r.end(context.Cause(ctx)) })()
	}
	r.seat = seat
	w.register(r)
	defer r.close(errOver)
	defer w.forget(r)
	if started.Crashes >= runtime.SuspectAfter && !seat.IsAlone() {
		r.end(ErrDraining) // its task does not say so, as that of an older version: the next one does
	}
	// Once the worker gives up, so does whoever waits for Redis in its name.
	defer context.AfterFunc(base, func() { r.close(ErrDraining) })()

	// A goroutine of its own: a handler may end it (runtime.Goexit), or outlive the
	// patience that is due to it.
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

// goexit is what is said of a handler that ended its goroutine.
const goexit = "the handler ended its goroutine (runtime.Goexit) instead of returning"

func call(ctx context.Context, h HandlerFunc, r *Run) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{words(fmt.Sprint("panic: ", v)), debug.Stack()}
		}
	}()
	if err := context.Cause(ctx); err != nil {
		return err // the deadline passed while it waited
	}
	return h(ctx, r)
}

// errAbandoned: the worker is leaving, and the handler has not returned.
var errAbandoned = errors.New("abandoned")

// await waits for the handler, and once its context has ended for as long as its
// grace period. A handler that has not returned by then keeps its slot.
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
			r.logger.Warn("the handler goes on although its context has ended; its slot stays taken until it returns", "type", r.jobType, "cause", cause, "grace", w.opts.CancelGrace)
			return cause
		case <-base.Done():
			w.left.Add(1)
			r.close(ErrDraining)
			r.logger.Warn("the handler did not return while the worker drained; its job goes on elsewhere when its lease lapses", "type", r.jobType, "grace", w.opts.DrainGrace)
			return errAbandoned
		}
	}
}

// settle commits the attempt's end, sees to the next one, and gives asynq's answer, or that
// the end was not committed.
func (w *Worker) settle(ctx context.Context, r *Run, cause, err error) (answer error, committed bool) {
	if errors.Is(cause, ErrSuperseded) {
		r.logger.Warn("the run was superseded; nothing more of it is written", "cause", cause)
		return nil, false
	}
	report, asked := r.conclude(w.verdict(r, cause, err))
	if asked != nil {
		r.logger.Warn("the attempt's end was not accepted", "end", report.Type, "error", asked)
		return nil, false
	}
	r.tell(report, err)
	w.tend(ctx, r.out.FollowUps())
	switch report.Type {
	case engine.JobQueued, engine.JobPaused, engine.JobAwaiting: // the last two may have become the first
		w.next(ctx, r.job, runtime.RescueQueue(r.queue))
	case engine.JobRetrying:
		w.next(ctx, r.job, r.queue)
	}
	if report.Error != nil {
		return archive(report.Error.Code + ": " + report.Error.Message), true
	}
	return nil, true
}

// conclude commits an attempt's end: the one given, or that it could not be told.
func (r *Run) conclude(report runtime.Report) (runtime.Report, error) {
	err := r.out.Ask(report)
	if errors.Is(err, engine.ErrInvalid) {
		report = runtime.Report{Type: engine.JobFailed, Error: failure(engine.CodeError, err)}
		err = r.out.Ask(report)
	}
	return report, err
}

// verdict decides what an attempt's end is. What the handler says it has done, is
// done: nil is success, also when the job was asked to stop meanwhile. An error after
// that ends the job as asked.
func (c *supervisor) verdict(r *Run, cause, err error) runtime.Report {
	failed := func(code string) runtime.Report {
		return runtime.Report{Type: engine.JobFailed, Error: failure(code, err)}
	}
	result, awaits := r.outcome()
	switch {
	case awaits && gravity(cause) < urgent && (err == nil || errors.Is(err, ErrAwaiting)):
		return runtime.Report{Type: engine.JobAwaiting}
	case err == nil && !awaits:
		return runtime.Report{Type: engine.JobSucceeded, Result: result}
	case errors.As(err, new(*panicError)):
		return failed(engine.CodePanic)
	case errors.Is(cause, ErrCanceled):
		return runtime.Report{Type: engine.JobCanceled}
	case errors.Is(cause, ErrDeadline):
		err = cmp.Or(err, ErrDeadline) // it awaited its children
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

// nextSecond rounds up: asynq's times are whole seconds, and the record tells the time
// at which the attempt is due.
func nextSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }

// tell logs an end. A panic's stack is told here and nowhere else.
func (r *Run) tell(report runtime.Report, err error) {
	switch panicked := (*panicError)(nil); {
	case errors.As(err, &panicked):
		r.logger.Error("the handler panicked", "type", r.jobType, "panic", panicked.text, "stack", string(panicked.stack))
	case report.Error != nil:
		r.logger.Warn("the attempt failed", "type", r.jobType, "end", report.Type, "code", report.Error.Code, "error", words(err))
	default:
		r.logger.Debug("the attempt ended", "type", r.jobType, "end", report.Type)
	}
}

// tend sees to the jobs that an answer named.
func (w *Worker) tend(ctx context.Context, jobs []engine.JobID) {
	for _, job := range jobs {
		if err := w.persist(ctx, func() error { return w.runtime.FollowUp(ctx, job) }); err != nil {
			w.opts.Logger.Warn("cannot update a job's children, or dispatch the job that waited for them; a reconciler does so later", "job", job, "error", err)
		}
	}
}

// next hands the attempt that follows to asynq. A job that was canceled meanwhile
// has none.
func (w *Worker) next(ctx context.Context, job engine.JobID, queue string) {
	err := w.persist(ctx, func() error {
		a, err := w.runtime.Current(ctx, job)
		if err != nil || !a.Waiting {
			return err
		}
		return w.runtime.Dispatch(ctx, a, queue)
	})
	if err != nil && !runtime.Stale(err) {
		w.opts.Logger.Warn("cannot hand the next attempt to asynq; a reconciler does so later", "job", job, "error", err)
	}
}
