package workertest

import (
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// An Option changes what a handler is executed as.
type Option func(*plan)

// plan is what a recording is made of.
type plan struct {
	spec       engine.Spec
	retries    int
	resume     *Recording
	middleware []func(worker.HandlerFunc) worker.HandlerFunc
	interrupts []interrupt
	outcome    func(fanOut string, c engine.Child) engine.Job
}

type interrupt struct {
	cause error
	when  func(*Recording) bool
	done  bool
}

// Spec says which job it is: its Topic, Type, Title, Labels, Queue and MaxAttempts. Where Topic, Type,
// Queue or MaxAttempts is zero it is "user:test", "test", and the engine's default. The other fields do
// not count; for a deadline, see Interrupt.
func Spec(s engine.Spec) Option { return func(p *plan) { p.spec = s } }

// Retries says how many attempts of the job have failed before: with MaxAttempts-1 of them the
// handler's error ends the job. Default: none.
func Retries(n int) Option { return func(p *plan) { p.retries = n } }

// Resume lets the handler go on from the last checkpoint of an earlier recording, as the next
// attempt of the same job does. Its percent goes on from there too.
func Resume(earlier *Recording) Option { return func(p *plan) { p.resume = earlier } }

// Middleware puts middleware around the handler, as worker.Worker.Use does.
func Middleware(middleware ...func(worker.HandlerFunc) worker.HandlerFunc) Option {
	return func(p *plan) { p.middleware = append(p.middleware, middleware...) }
}

// Interrupt ends the run's context with a cause, one of worker.ErrCanceled, ErrPaused,
// ErrDraining, ErrDeadline and ErrSuperseded, after the first report for which when is true.
// when sees the recording as it is then, and must not keep it. It is called by one goroutine at
// a time.
func Interrupt(cause error, when func(*Recording) bool) Option {
	return func(p *plan) { p.interrupts = append(p.interrupts, interrupt{cause: cause, when: when}) }
}

// Outcomes says what becomes of the children that the handler makes with Run.FanOut. The
// handler is executed again with them, as the next attempt of the job, or the job fails, if a
// child that is not optional did not succeed. The State of an outcome defaults to
// engine.Succeeded. Without Outcomes the recording ends with state engine.Awaiting.
func Outcomes(outcome func(fanOut string, child engine.Child) engine.Job) Option {
	return func(p *plan) { p.outcome = outcome }
}
