package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker/internal/intake"
	"github.com/tidemark-dev/tidemark/worker/internal/rescue"
	"github.com/tidemark-dev/tidemark/worker/internal/retain"
	"github.com/tidemark-dev/tidemark/worker/internal/schedules"
	"github.com/tidemark-dev/tidemark/worker/internal/wheel"
)

// A Worker takes jobs from asynq's queues and runs their handlers. New makes one,
// Handle gives it handlers, Start and Stop bound its life; it cannot be started
// again. Its methods may be called concurrently.
type Worker struct {
	supervisor
	handlers map[string]HandlerFunc // fixed once started
	// middleware is around each of them, outermost first; fixed likewise.
	middleware []func(HandlerFunc) HandlerFunc
	wrapped    map[string]HandlerFunc // handlers within middleware; made once, when it starts
	refusals   *refusals
	typed      []string // the type queues that it takes jobs from; fixed likewise

	// drained is closed when the worker takes nothing new, stopped when all of it
	// has ended.
	drained chan struct{}
	stopped chan struct{}
	// starting is a lock that a call of Start can give up waiting for.
	starting chan struct{}

	mu    sync.Mutex
	phase phase
	life  *life // set when started

	// left counts handlers that the drain did not wait for any longer.
	left atomic.Int64
}

type phase int

const (
	idle phase = iota
	running
	draining
)

// life is what Start begins and the drain ends: first the intake, then the runs, last the
// heartbeats.
type life struct {
	servers   []intake.Server
	endIntake context.CancelFunc // the worker begins no task and claims no job
	endBeats  context.CancelFunc
	abandon   context.CancelCauseFunc // runs that have not returned
	loops     sync.WaitGroup
	wheel     *wheel.Wheel
}

// New makes a worker. Its error wraps engine.ErrInvalid and names the fields of o
// that are out of bounds.
func New(o Options) (*Worker, error) {
	if o.Engine == nil {
		return nil, fmt.Errorf("new worker: %w Engine: it is required; open one with engine.Open", engine.ErrInvalid)
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("new worker: %w", err)
	}
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, fmt.Errorf("new worker: %w", err)
	}
	o = o.Defaults()
	return &Worker{
		supervisor: newSupervisor(o, false, m), refusals: newRefusals(o, m), handlers: map[string]HandlerFunc{},
		drained: make(chan struct{}), stopped: make(chan struct{}), starting: make(chan struct{}, 1),
	}, nil
}

// Start returns when the worker takes jobs; ctx bounds the start only. Starting
// twice is no error. Errors to branch on: engine.ErrUnreachable, after which it may
// be tried again, and ErrStopped.
func (w *Worker) Start(ctx context.Context) error {
	select {
	case w.starting <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("start worker: %w", context.Cause(ctx))
	}
	defer func() { <-w.starting }()

	w.mu.Lock()
	now := w.phase
	if now == idle { // what runs reads it
		w.typed = w.typeQueues()
	}
	w.mu.Unlock()
	switch now {
	case running:
		return nil
	case draining:
		return fmt.Errorf("start worker: %w", ErrStopped)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // Stop ends a start that waits for Redis
		select {
		case <-w.drained:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := w.runtime.Silent(ctx, nil)
	if err == nil {
		if err := w.runtime.ServeQueues(ctx, slices.Concat(w.opts.Queues, w.typed)...); err != nil {
			w.opts.Logger.Warn("cannot announce the queues of this worker in Redis; where there are many queues, the engine may refuse jobs for these", "error", err)
		}
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == draining {
		err = ErrStopped
	}
	if err == nil {
		w.life, err = w.launch()
	}
	if err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	w.phase = running
	return nil
}

// launch begins the loops and the servers. Their contexts live as long as the worker, not as long as
// the call of Start.
func (w *Worker) launch() (*life, error) {
	base, abandon := context.WithCancelCause(context.Background())
	taking, endIntake := context.WithCancel(base)
	beats, endBeats := context.WithCancel(context.Background())
	l := &life{endIntake: endIntake, endBeats: endBeats, abandon: abandon, wheel: wheel.New(w.opts.TickInterval, w.runtime.Batch)}
	w.wheel = l.wheel
	w.wrap()
	l.servers = intake.Servers(intake.Options{
		Engine: w.opts.Engine, Queues: w.opts.Queues, Weights: w.opts.QueueWeights, Types: w.typed,
		Shared: w.shared(), Foreign: w.refusals.add,
		Concurrency: w.opts.Concurrency, RescueSlots: w.opts.RescueSlots, Logger: w.opts.Logger,
		Drain: w.opts.DrainGrace + time.Minute, // the drain ends the runs before
	})
	l.loops.Go(func() { w.beat(beats) })
	l.loops.Go(func() { w.sweep().Run(taking) })
	l.loops.Go(func() { w.dequeues().Run(taking) })
	l.loops.Go(func() { w.refusals.run(taking) })
	l.loops.Go(func() { w.reconciler().Run(taking) })
	l.loops.Go(func() {
		schedules.Run(taking, schedules.Options{
			Engine: w.opts.Engine, Schedules: w.opts.Schedules, Interval: w.opts.ScheduleInterval,
			Grace: w.opts.ScheduleGrace, Logger: w.opts.Logger,
		})
	})
	if w.opts.Blobs != nil {
		l.loops.Go(func() {
			retain.Run(taking, retain.Options{
				Engine: w.opts.Engine, Blobs: w.opts.Blobs, QuotaBytes: w.opts.ArtifactQuotaBytes,
				DatasetAge: w.opts.DatasetAge, DatasetQuotaBytes: w.opts.DatasetQuotaBytes, Interval: time.Hour, Logger: w.opts.Logger,
			})
		})
	}
	for _, s := range l.servers {
		err := s.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
			from, _ := asynq.GetQueueName(ctx)
			return w.process(base, taking, s.Slots, from, t)
		}))
		if err != nil {
			l.abandon(ErrDraining)
			l.end()
			return nil, err
		}
	}
	return l, nil
}

// dequeues makes the watch over tasks that asynq has handed out of this worker's queues.
func (w *Worker) dequeues() *rescue.Dequeues {
	return rescue.NewDequeues(rescue.DequeueOptions{
		Engine: w.opts.Engine, Queues: slices.Concat(w.opts.Queues, w.shared()), Typed: w.typed, Lease: w.opts.Lease, Logger: w.opts.Logger,
	})
}

// end ends the intake, waits until the servers hold no task, and ends the loops.
func (l *life) end() {
	l.endIntake()
	var servers sync.WaitGroup
	for _, s := range l.servers {
		servers.Go(s.Shutdown)
	}
	servers.Wait()
	l.abandon(ErrDraining)
	l.endBeats()
	l.loops.Wait()
	l.wheel.Stop()
}

// Run starts the worker, waits until ctx ends, and stops it. It returns nil after a
// start that succeeded and a drain that left nothing.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.Start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-w.drained: // another caller stops it
	}
	return w.Stop(context.WithoutCancel(ctx))
}
