package rescue

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// DequeueOptions say which tasks Dequeues watches. All fields but Typed are required.
type DequeueOptions struct {
	Engine *engine.Engine
	// Queues are watched together with their rescue queues.
	Queues []string
	// Typed are the type queues that the worker serves.
	Typed []string
	// Lease is how long a task that asynq has handed out may start nothing.
	Lease  time.Duration
	Logger *slog.Logger
}

// Dequeues watches tasks that asynq has handed out, for those that start nothing: asynq's reply was
// lost, or the worker died before it could start the attempt. asynq itself notices after a minute
// and more. As with heartbeats, the watch observes silence: it must see the task over a whole lease,
// without a failed reading in between. Its methods may not be called concurrently.
type Dequeues struct {
	opts    DequeueOptions
	runtime *runtime.Runtime
	queues  []string
	seen    map[runtime.ActiveTask]time.Time
}

// NewDequeues makes a watch.
func NewDequeues(o DequeueOptions) *Dequeues {
	queues := slices.Clone(o.Typed)
	for _, q := range o.Queues {
		queues = append(queues, q, runtime.RescueQueue(q))
	}
	return &Dequeues{opts: o, runtime: runtime.Of(o.Engine), queues: queues}
}

// Run looks four times a lease, until ctx ends.
func (d *Dequeues) Run(ctx context.Context) {
	for backoff.Sleep(ctx, d.opts.Lease/4) {
		if err := d.Look(ctx, time.Now()); err != nil {
			d.seen = nil
		}
	}
}

// Look reads which tasks asynq has handed out, and dispatches again the attempts that have not
// started since a look a lease before now.
func (d *Dequeues) Look(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Lease/2)
	defer cancel()
	active, err := d.runtime.ActiveTasks(ctx, d.queues)
	if err != nil {
		return err
	}
	jobs := make([]engine.JobID, len(active))
	for i, t := range active {
		jobs[i] = t.Job
	}
	attempts, err := d.runtime.Attempts(ctx, jobs)
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
		if now.Sub(since) < d.opts.Lease {
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

// supersede dispatches the attempt once more, in another of its queues. One of the two tasks starts
// the attempt, and the fence refuses the other.
func (d *Dequeues) supersede(ctx context.Context, a runtime.Attempt) error {
	tasks, err := d.runtime.Tasks(ctx, []runtime.Attempt{a})
	if err != nil || tasks[0].Waits() {
		return err
	}
	queues := []string{runtime.RescueQueue(a.Queue), a.Queue}
	if !a.Parked.IsZero() {
		queues = append([]string{runtime.TypeQueue(a.Queue, a.Type)}, queues...)
	}
	i := slices.IndexFunc(queues, func(q string) bool { return tasks[0].In(a, q) != runtime.TaskActive })
	if i < 0 {
		return nil // asynq has handed all of them out; when it gives one up, the reconciler finds it
	}
	queue := queues[i]
	d.opts.Logger.Warn("asynq handed an attempt out and no worker started it; it is dispatched again", "job", a.Job, "attempt", a.Attempt, "queue", queue)
	return d.runtime.Replace(ctx, a, queue)
}
