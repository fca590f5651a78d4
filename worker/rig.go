package worker

import (
	"context"
	"log/slog"

	"github.com/tidemark-dev/tidemark/worker/internal/rig"
	"github.com/tidemark-dev/tidemark/worker/internal/wheel"
)

func init() { rig.Execute = execute }

// execute runs an attempt for package workertest, by the rules of a Worker with default options.
func execute(ctx context.Context, a rig.Attempt) rig.End {
	m, _ := newMetrics(nil) // an error would be a registry's
	c := newSupervisor(Options{Logger: slog.New(slog.DiscardHandler), Blobs: a.Blobs}.Defaults(), false, m)
	c.eager = true
	c.wheel = wheel.New(c.opts.TickInterval, func(submit func()) { submit() })
	defer c.wheel.Stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errOver)
	r := c.newRun(a.Jobs, a.Job, a.Fence, a.Started, cancel)
	defer r.close(errOver)
	a.Begun(func(cause error) {
		if gravity(cause) == gravity(ErrSuperseded) {
			r.out.Supersede()
		}
		r.end(cause)
	})
	done := make(chan error, 1)
	go func() { // the handler may end its goroutine
		err := error(&panicError{text: goexit})
		defer func() { done <- err }()
		err = call(ctx, func(ctx context.Context, r *Run) error { return a.Handle(ctx, r) }, r)
	}()
	err := <-done
	end := rig.End{Err: err}
	end.Report, end.Refused = r.conclude(c.verdict(r, r.why(ctx), err))
	return end
}
