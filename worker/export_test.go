package worker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/gate"
	"github.com/tidemark-dev/tidemark/worker/internal/intake"
)

// OwnGate gives w a gate of its own, as if it had a process of its own.
func OwnGate(w *Worker) { w.gate = gate.New() }

// AsynqClient is the client of a worker's asynq servers.
func AsynqClient(e *engine.Engine) redis.UniversalClient {
	return intake.Client(e)
}

// Rescue is what w's sweep does about a run whose last heartbeat is beat and that it takes
// for silent.
func Rescue(ctx context.Context, w *Worker, job engine.JobID, beat string) error {
	return w.rescue(ctx, job, beat, rate.NewLimiter(rate.Inf, 1))
}

// Seated reports whether w finds a seat for a task's attempt, which it leaves at once.
func Seated(ctx context.Context, w *Worker, p runtime.TaskPayload) bool {
	s, ok := w.seat(ctx, p)
	if ok {
		s.Leave()
	}
	return ok
}

// WatchedDequeues gives a watch over the tasks that asynq has handed out, and that w does not
// begin by itself: each call looks as if it were now.
func WatchedDequeues(w *Worker) (look func(ctx context.Context, now time.Time) error) {
	return (&dequeues{w: w}).look
}

// A Reconciler is one that a test has pass.
type Reconciler struct{ r *reconciler }

// ReconcilerOf makes a reconciler of a worker that need not have been started.
func ReconcilerOf(w *Worker) Reconciler { return Reconciler{newReconciler(&w.supervisor)} }

// Pass runs one pass.
func (r Reconciler) Pass(ctx context.Context) error { return r.r.pass(ctx) }

// Suspects is how many jobs it will look at again.
func (r Reconciler) Suspects() int { return len(r.r.suspects) }

// Sweep claims silent runs as w does, until ctx ends.
func Sweep(ctx context.Context, w *Worker) { w.sweep(ctx) }
