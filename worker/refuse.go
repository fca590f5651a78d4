package worker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/worker/internal/intake"
)

// shared returns the queues that this worker shares with other programs: the default queue of
// earlier versions, for a worker that serves the default queue of this one. Jobs that an earlier
// version enqueued may wait there, beside tasks of an application.
func (w *Worker) shared() []string {
	if slices.Contains(w.opts.Queues, w.runtime.DefaultQueue()) && !slices.Contains(w.opts.Queues, engine.FormerQueue) {
		return []string{engine.FormerQueue}
	}
	return nil
}

// Refused returns the queues from which the worker takes nothing more, since it found a task of
// another program there, as jobs name them. It takes from them again once it is restarted.
func (w *Worker) Refused() []string { return w.refusals.list() }

// Refusals are announced for refusalTTL, and again each third of it.
const refusalTTL = 15 * time.Second

// refusals are the queues in which a worker has found a task of another program. It takes nothing
// more from them, and tells so until it ends.
type refusals struct {
	runtime *runtime.Runtime
	id      string
	log     *slog.Logger
	metrics *metrics
	changed chan struct{} // holds one when there is a further queue

	mu     sync.Mutex
	queues []string // as jobs name them
}

func newRefusals(o Options, m *metrics) *refusals {
	return &refusals{runtime: runtime.Of(o.Engine), id: runtime.NewToken(), log: o.Logger, metrics: m, changed: make(chan struct{}, 1)}
}

// add notes the first task of another program in a queue.
func (r *refusals) add(f intake.Foreign) {
	r.log.Error("this worker takes nothing more from a queue, which holds tasks of another program; the task stays where it is; "+
		"give Tidemark queues of its own, and restart the worker", "queue", f.Queue, "task", excerpt.Of(f.Task, 64), "type", excerpt.Of(f.Type, 64))
	r.metrics.refused.Inc()
	r.mu.Lock()
	r.queues = append(r.queues, strings.TrimPrefix(f.Queue, r.runtime.QueueName("")))
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// run announces the queues until ctx ends, and then that they are refused no longer. While there is
// none it asks nothing of Redis.
func (r *refusals) run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-r.changed:
	}
	t := time.NewTicker(refusalTTL / 3)
	defer t.Stop()
	for ctx.Err() == nil {
		r.announce(ctx, func(ctx context.Context, queues []string) error {
			return r.runtime.Refuse(ctx, r.id, refusalTTL, queues...)
		})
		select {
		case <-t.C:
		case <-r.changed:
		case <-ctx.Done():
		}
	}
	r.metrics.refused.Sub(float64(len(r.list())))
	r.announce(context.WithoutCancel(ctx), func(ctx context.Context, queues []string) error {
		return r.runtime.Accept(ctx, r.id, queues...)
	})
}

func (r *refusals) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.queues)
}

func (r *refusals) announce(ctx context.Context, say func(context.Context, []string) error) {
	queues := r.list()
	ctx, cancel := context.WithTimeout(ctx, refusalTTL/3)
	defer cancel()
	if err := say(ctx, queues); err != nil {
		r.log.Debug("Redis does not take which queues this worker refuses", "error", err)
	}
}
