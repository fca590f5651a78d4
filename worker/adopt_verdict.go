package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// verdict decides what an attempt's end is, by the rules that asynq has for its task.
func (a *Adopter) verdict(asynqCtx context.Context, r *Run, cause, err error, t *asynq.Task, try try) runtime.Report {
	switch {
	case err == nil:
		result, _ := r.outcome()
		return runtime.Report{Type: engine.JobSucceeded, Result: result, Artifacts: r.Artifacts()}
	case errors.Is(err, asynq.RevokeTask), errors.Is(cause, ErrCanceled):
		return runtime.Report{Type: engine.JobCanceled}
	case asynqCtx.Err() != nil:
		return a.dropped(asynqCtx, r, try) // asynq does not read the handler's error
	case errors.Is(err, asynq.SkipRetry): // as Permanent is
		try.last = true
		return try.failure(engine.CodePermanent, err)
	case errors.Is(cause, ErrDraining):
		return runtime.Report{Type: engine.JobQueued}
	}
	report := try.failure(engine.CodeError, err)
	if report.Type == engine.JobRetrying && a.adopt.RetryDelay != nil {
		report.RetryAt = a.runtime.Now().Add(a.adopt.RetryDelay(try.Try-1, err, t))
	}
	return report
}

// dropped decides the end of an attempt whose context asynq has ended: because of a time-out or a
// cancel of its processing, after which asynq retries the task, or because the server shuts down
// and puts the task back.
func (a *Adopter) dropped(asynqCtx context.Context, r *Run, try try) runtime.Report {
	cause := context.Cause(asynqCtx)
	switch {
	case errors.Is(r.why(asynqCtx), ErrCanceled):
		return runtime.Report{Type: engine.JobCanceled}
	case errors.Is(cause, context.DeadlineExceeded):
		return try.failure(engine.CodeDeadline, fmt.Errorf("asynq's time-out or deadline has passed: %w", cause))
	}
	info, err := a.runtime.TaskInfo(try.Task)
	switch {
	case err == nil && info.State == asynq.TaskStatePending:
		return runtime.Report{Type: engine.JobQueued}
	case try.last && (err != nil || info.State != asynq.TaskStateArchived):
		// Another server may have the task already, so this is no end yet. If asynq archives the
		// task, a reconciler ends the job.
		return runtime.Report{Type: engine.JobQueued}
	}
	return try.failure(engine.CodeError, cause)
}

// failure is the end of a failed attempt. asynq tries its task again if it has a try left.
func (t try) failure(code string, err error) runtime.Report {
	report := runtime.Report{Type: engine.JobRetrying, Error: failure(code, err), Retries: t.Try}
	if t.last {
		report.Type = engine.JobFailed
	}
	return report
}

// settle commits the attempt's end and returns asynq's answer. again says that another attempt is to
// follow in this process: this one was superseded, and asynq leaves the task to the process.
func (a *Adopter) settle(asynqCtx context.Context, r *Run, report runtime.Report, err error) (answer error, again bool) {
	report, asked := r.conclude(report)
	switch {
	case errors.Is(asked, ErrSuperseded):
		r.logEnd(slog.LevelWarn, outcomeSuperseded)
		if asynqCtx.Err() == nil && !a.isClosing() {
			return err, true
		}
		return &handedBack{errors.Join(asked, err)}, false
	case asked != nil && !errors.Is(asked, errOver): // errOver: attend was first
		r.logEnd(slog.LevelWarn, outcomeRefused, slog.String("end", string(report.Type)), slog.String("error", words(asked)))
		return err, false
	case asked == nil:
		r.tell(report, err)
	}
	switch {
	case err == nil, errors.Is(err, asynq.RevokeTask):
		return err, false
	case errors.Is(r.why(asynqCtx), ErrCanceled):
		return &revoked{err}, false
	case report.Type == engine.JobQueued:
		return &handedBack{err}, false
	}
	return err, false
}

func (a *Adopter) isClosing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closing
}

// handedBack tells asynq to try a task again whose handler returned because of a drain.
type handedBack struct{ err error }

func (e *handedBack) Error() string { return "handed back: " + e.err.Error() }
func (e *handedBack) Unwrap() error { return e.err }

// revoked tells asynq to drop the task of a job that was canceled.
type revoked struct{ err error }

func (e *revoked) Error() string        { return "canceled: " + e.err.Error() }
func (e *revoked) Unwrap() error        { return e.err }
func (e *revoked) Is(target error) bool { return target == asynq.RevokeTask }
