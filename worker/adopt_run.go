package worker

import (
	"context"

	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/report"
)

type runKey struct{}

// RunFrom gives the handler of an adopted task the Run of the job. It never returns nil:
// where there is none, as in a test that calls the handler by itself or for a task that
// AdoptOptions.Topic leaves to asynq, the Run is of no job. What is reported to that one
// goes nowhere, Checkpoint returns nil after checking its state, Resume finds nothing,
// and Job is "".
func RunFrom(ctx context.Context) *Run {
	if r, ok := ctx.Value(runKey{}).(*Run); ok {
		return r
	}
	r := &Run{started: &runtime.Started{}, detached: true, out: report.Stopped(errOver)}
	r.state.stopped = true
	return r
}
