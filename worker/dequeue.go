package worker

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// dequeues watches tasks that asynq has handed out, for those that start nothing: the
// reply to a dequeue was lost, or whoever took the task died before it could start the
// attempt. asynq itself notices after a minute and more. As with heartbeats, silence is
// observed: the task must be seen over a whole lease, without a failed read in between.
type dequeues struct {
	w    *Worker
	seen map[runtime.ActiveTask]time.Time
}

// watchDequeues looks four times a lease.
func (w *Worker) watchDequeues(ctx context.Context) {
	d := &dequeues{w: w}
	for backoff.Sleep(ctx, w.opts.Lease/4) {
		if err := d.look(ctx, time.Now()); err != nil {
			d.seen = nil
		}
	}
}

func (d *dequeues) look(ctx context.Context, now time.Time) error {
	e := d.w.runtime
	ctx, cancel := context.WithTimeout(ctx, d.w.opts.Lease/2)
	defer cancel()
	queues := slices.Clone(d.w.typed)
	for _, q := range d.w.opts.Queues {
		queues = append(queues, q, runtime.RescueQueue(q))
	}
	active, err := e.ActiveTasks(ctx, queues)
	if err != nil {
		return err
	}
	jobs := make([]engine.JobID, len(active))
	for i, t := range active {
		jobs[i] = t.Job
	}
	attempts, err := e.Attempts(ctx, jobs)
	if err != nil {
		return err
	}
	seen := map[runtime.ActiveTask]time.Time{}
	for i, a := range attempts {
		t := active[i]
		if !a.Waiting || a.Attempt != t.Attempt {
			continue // it has started, or is no longer the current one
		}
		since, known := d.seen[t]
		if !known {
			since = now
		}
		seen[t] = since
		if now.Sub(since) < d.w.opts.Lease {
			continue
		}
		if err := d.supersede(ctx, a); err != nil {
			return err
		}
		delete(seen, t)
	}
	d.seen = seen
	return nil
}

// supersede hands the attempt over once more, in another of its queues. Which of the two
// tasks starts it, starts it alone.
func (d *dequeues) supersede(ctx context.Context, a runtime.Attempt) error {
	tasks, err := d.w.runtime.Tasks(ctx, []runtime.Attempt{a})
	if err != nil || tasks[0].Waits() {
		return err
	}
	queues := []string{runtime.RescueQueue(a.Queue), a.Queue}
	if !a.Parked.IsZero() {
		queues = append([]string{runtime.TypeQueue(a.Queue, a.Type)}, queues...)
	}
	i := slices.IndexFunc(queues, func(q string) bool { return tasks[0].In(a, q) != runtime.TaskActive })
	if i < 0 {
		return nil // all are taken: when asynq gives one up, the reconciler sees it
	}
	queue := queues[i]
	d.w.opts.Logger.Warn("asynq handed an attempt out, and nobody started it; it is handed over again", "job", a.Job, "attempt", a.Attempt, "queue", queue)
	return d.w.runtime.Replace(ctx, a, queue)
}
