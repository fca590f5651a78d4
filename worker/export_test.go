package worker

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/gate"
	"github.com/tidemark-dev/tidemark/worker/internal/intake"
	"github.com/tidemark-dev/tidemark/worker/internal/reconcile"
	"github.com/tidemark-dev/tidemark/worker/internal/rescue"
)

// OwnGate gives w a gate of its own, as if it had a process of its own.
func OwnGate(w *Worker) { w.gate = gate.New() }

// AsynqClient is the client of a worker's asynq servers.
func AsynqClient(e *engine.Engine) redis.UniversalClient {
	return intake.Client(e)
}

// Sweep makes w's sweep, whether or not w was started.
func Sweep(w *Worker) *rescue.Sweep { return w.sweep() }

// Dequeues makes w's watch over the tasks that asynq has handed out.
func Dequeues(w *Worker) *rescue.Dequeues { return w.dequeues() }

// Reconciler makes w's reconciler, whether or not w was started.
func Reconciler(w *Worker) *reconcile.Reconciler { return w.reconciler() }

// Seated reports whether w finds a seat for a task's attempt, which it leaves at once.
func Seated(ctx context.Context, w *Worker, p runtime.TaskPayload) bool {
	s, ok := w.seat(ctx, p)
	if ok {
		s.Leave()
	}
	return ok
}
