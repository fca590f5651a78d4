package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/worker/internal/report"
)

// Why a run's context has ended, as context.Cause tells. The handler should return
// soon, with the cause or any other error.
var (
	// ErrCanceled: the job was asked to stop. It ends as canceled, unless the
	// handler still returns nil. Run.Checkpoint and Run.Log work for CancelGrace.
	ErrCanceled = errors.New("the job is canceled")
	// ErrSuperseded: the attempt is no longer the current one, for instance because
	// this process was frozen for longer than a lease. Nothing that the run reports
	// is accepted any more.
	ErrSuperseded = report.ErrSuperseded
	// ErrDraining: the worker is stopping. Checkpoint and return: the job goes back
	// to the queue and costs no retry.
	ErrDraining = errors.New("the worker is draining")
	// ErrPaused: the job was asked to rest. Checkpoint and return: it goes on from there
	// once it is resumed, and costs no retry. There is no hurry: a handler that finishes
	// instead has done the job.
	ErrPaused = errors.New("the job is paused")
	// ErrDeadline: the job's deadline has passed. It ends as failed, unless the
	// handler still returns nil.
	ErrDeadline = errors.New("the job's deadline has passed")
)

// ErrAwaiting is what Run.FanOut returns while the children have not all ended. The
// handler returns it: the attempt ends, its slot is free, and the job goes on with another
// attempt when they have.
var ErrAwaiting = errors.New("the job awaits its children")

// ErrStopped says that the worker was stopped; make another one with New.
var ErrStopped = errors.New("the worker is stopped")

// errOver: the attempt has ended, and its handler is still calling.
var errOver = report.ErrOver

// Permanent marks an error that no retry can cure: the job fails at once, with code
// engine.CodePermanent. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Is says to asynq, where it hears of the error of an adopted task's handler, not to try
// the task again.
func (e *permanentError) Is(t error) bool { return t == asynq.SkipRetry }

// RetryAfter asks that the job be tried again after d, in place of the backoff; it
// uses a retry as any error does. d is bounded to 0 and a year. RetryAfter(nil, d)
// is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, min(max(d, 0), 365*24*time.Hour)}
}

type retryAfterError struct {
	err   error
	after time.Duration
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// panicError is the error of a handler that panicked or ended its goroutine.
type panicError struct {
	text  string
	stack []byte
}

func (e *panicError) Error() string { return e.text }

// words are an error's, or a panic's, for records and logs: at most engine.MaxErrorBytes, as
// text that steers no terminal. An Error method that panics does no harm.
func words(v any) string { return excerpt.Of(fmt.Sprint(v), engine.MaxErrorBytes) }

// failure is what a record says of err.
func failure(code string, err error) *engine.JobError {
	return &engine.JobError{Code: code, Message: words(err)}
}

// maxCarriedBytes bounds the error that asynq keeps of an attempt. A job may have a
// thousand, and asynq's tools load many at once; the job's records have the whole.
const maxCarriedBytes = 1 << 10

// archive is asynq's answer about an attempt that failed.
func archive(text string) error { return &archived{excerpt.Of(text, maxCarriedBytes)} }

// archived tells asynq that an attempt failed: asynq archives the task with this text and does not
// retry it. archived does not unwrap to the handler's error, since asynq gives some errors a meaning
// of its own.
type archived struct{ text string }

func (e *archived) Error() string   { return e.text }
func (e *archived) Is(t error) bool { return t == asynq.SkipRetry }
