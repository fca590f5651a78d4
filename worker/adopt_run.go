package worker

import (
	"context"

	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/report"
)

type runKey struct{}

// RunFrom returns the Run of an adopted task's job, for the task's handler. It never returns nil. Where
// there is no job, as in a test that calls the handler itself or for a task that AdoptOptions.Topic
// leaves to asynq, the Run drops what is reported to it: Checkpoint checks its state and returns nil,
// Resume returns false, and ID returns "".
func RunFrom(ctx context.Context) *Run {
	if r, ok := ctx.Value(runKey{}).(*Run); ok {
		return r
	}
	r := &Run{started: &runtime.Started{}, detached: true, out: report.Stopped(errOver)}
	r.state.stopped = true
	return r
}
