package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker/internal/wheel"
)

// AdoptOptions say which of an asynq application's tasks become jobs, and of which topic. Only
// Engine and Topic are required. Fields without a comment are as in Options, with its defaults and
// bounds.
type AdoptOptions struct {
	// Engine is the access to jobs, on the Redis that the application's tasks are in.
	// Required. It must stay open until Close has returned.
	Engine *engine.Engine

	// Topic returns the topic of a task's records; "" leaves the task to asynq alone. The Adopter
	// calls it concurrently, for waiting and for running tasks. It must return the same topic for
	// the same task each time. Required.
	Topic func(*asynq.Task) engine.Topic

	// Title is what people see of a task's job, at most 200 characters of it. Defaults
	// to the task's type.
	Title func(*asynq.Task) string

	// Queues are the queues, as asynq knows them, whose waiting tasks the Adopter makes visible,
	// up to 1,000 of them each ReconcileInterval. Defaults to "default" alone. A task of another
	// queue becomes visible when asynq calls its handler.
	Queues []string

	// RetryDelay is the asynq server's RetryDelayFunc, if it has one of its own, so that records
	// say when asynq retries a task. asynq's default is random, and records then have no time.
	RetryDelay asynq.RetryDelayFunc

	TickInterval       time.Duration
	CheckpointInterval time.Duration
	HeartbeatInterval  time.Duration
	Lease              time.Duration
	SweepInterval      time.Duration
	// ReconcileInterval is also the time between two looks for waiting tasks.
	ReconcileInterval time.Duration
	RescuesPerSecond  float64
	// DrainGrace is how long Close waits for handlers.
	DrainGrace  time.Duration
	CancelGrace time.Duration
	LogLines    int
	Blobs       *blob.Bucket
	Registry    *prometheus.Registry
	Logger      *slog.Logger
}

// asynqQueue is asynq's own default queue.
const asynqQueue = "default"

// shared returns the options that an Adopter has in common with workers.
func (o AdoptOptions) shared() Options {
	return Options{
		Engine: o.Engine, TickInterval: o.TickInterval, CheckpointInterval: o.CheckpointInterval,
		HeartbeatInterval: o.HeartbeatInterval, Lease: o.Lease, SweepInterval: o.SweepInterval,
		ReconcileInterval: o.ReconcileInterval, RescuesPerSecond: o.RescuesPerSecond,
		DrainGrace: o.DrainGrace, CancelGrace: o.CancelGrace, LogLines: o.LogLines, Blobs: o.Blobs, Registry: o.Registry, Logger: o.Logger,
	}
}

// Validate checks o as Adopt completes it. Its error wraps engine.ErrInvalid and names
// each field that is out of bounds.
func (o AdoptOptions) Validate() error {
	problems := []error{o.shared().Validate()}
	if o.Engine == nil {
		problems = append(problems, fmt.Errorf("%w Engine: it is required; open one with engine.Open", engine.ErrInvalid))
	}
	if o.Topic == nil {
		problems = append(problems, fmt.Errorf("%w Topic: it is required; return the topic of a task's records", engine.ErrInvalid))
	}
	for _, q := range o.Queues {
		problems = append(problems, option.Within("Queues: length of a name in bytes", len(strings.TrimSpace(q)), 1, 256))
	}
	return errors.Join(problems...)
}

// An Adopter gives the handlers of an asynq application a Run, and its tasks jobs that people can
// watch. The application enqueues its tasks, and asynq carries and retries them, as before:
//
//	adopt, err := worker.Adopt(ctx, worker.AdoptOptions{Engine: e, Topic: topicOf})
//	mux.Use(adopt.Middleware)
//	… and in a handler: worker.RunFrom(ctx).Progress(done, total)
//
// Each of asynq's tries is an attempt of the job. nil is job.succeeded, an error
// job.retrying or, with the last try, asynq.SkipRetry or Permanent, job.failed;
// asynq.RevokeTask is job.canceled. asynq gets the handler's error unchanged, so retries,
// archive, ErrorHandler and metrics stay what they were. A panic reaches asynq after the Adopter has
// committed its record; asynq's task has the panic's text.
//
// Engine.Cancel works: it deletes a waiting task, and ends a running handler's context with
// ErrCanceled; asynq then revokes the task. The engine refuses Engine.Pause and Run.FanOut, since
// asynq would not wait, and Engine.Retry, since asynq has the payload. A task that an admin runs
// again out of asynq's archive begins a new job, the retry of the failed one.
//
// asynq recovers from a crash, which costs a retry and a minute or two. Watchers see job.stalled
// within seconds.
//
// Two lines in the asynq server's Config make a drain, see Close, cost nothing:
//
//	IsFailure:      adopt.IsFailure,
//	RetryDelayFunc: adopt.RetryDelay,
//
// Give Tidemark workers beside the application queues of other names: they take nothing more from a
// queue in which they find a task of another program.
// An application with an IsFailure of its own counts a failure where both functions do.
//
// Its methods may be called concurrently.
type Adopter struct {
	supervisor
	adopt   AdoptOptions
	inspect *asynq.Inspector

	mu      sync.Mutex
	closing bool
	inside  sync.WaitGroup // calls of handlers; none is added once closing
	calls   atomic.Int64   // how many those are

	// atAbandon is context.AfterFunc for the moment at which Close abandons the runs.
	atAbandon func(func()) (stop func() bool)
	abandoned <-chan struct{}
	abandon   context.CancelFunc
	endLoops  context.CancelFunc
	loops     sync.WaitGroup
	closed    chan struct{}
}

// Adopt starts an Adopter; ctx bounds the start only. Close ends it. Errors to branch on:
// engine.ErrInvalid and engine.ErrUnreachable.
func Adopt(ctx context.Context, o AdoptOptions) (*Adopter, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("adopt asynq's tasks: %w", err)
	}
	if _, err := runtime.Of(o.Engine).Silent(ctx, nil); err != nil {
		return nil, fmt.Errorf("adopt asynq's tasks: %w", err)
	}
	if len(o.Queues) == 0 {
		o.Queues = []string{asynqQueue}
	}
	if o.Title == nil {
		o.Title = (*asynq.Task).Type
	}
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, fmt.Errorf("adopt asynq's tasks: %w", err)
	}
	a := &Adopter{
		supervisor: newSupervisor(o.shared().Defaults(), true, m), adopt: o, inspect: asynq.NewInspectorFromRedisClient(o.Engine.Redis()),
		closed: make(chan struct{}),
	}
	a.wheel = wheel.New(a.opts.TickInterval, a.runtime.Batch)
	base, abandon := context.WithCancel(context.Background())
	a.abandon, a.abandoned = abandon, base.Done()
	a.atAbandon = func(do func()) func() bool { return context.AfterFunc(base, do) }
	loops, endLoops := context.WithCancel(context.Background())
	a.endLoops = endLoops
	for _, loop := range []func(context.Context){a.beat, a.sweep().Run, a.reconciler().Run, a.find} {
		a.loops.Go(func() { loop(loops) })
	}
	return a, nil
}

// Close drains the adopter: the contexts of its runs end with ErrDraining, and the job of a handler
// that then returns an error is queued again. Close returns when all handlers have returned, or
// after DrainGrace, or when ctx ends. It leaves later handlers to the lease, and its error, which
// wraps ErrAbandoned, says how many there are. It may be called more than once.
//
// asynq's Shutdown gives handlers no signal, so call the three in this order: Stop of the asynq
// server, which then takes no new task, Close, Shutdown. asynq retries a task that Close hands back,
// and counts the retry unless its Config has the Adopter's IsFailure. It would archive one on its
// last try, so the Adopter holds that handler's call until Shutdown puts the task back, for up to
// DrainGrace.
func (a *Adopter) Close(ctx context.Context) error {
	a.mu.Lock()
	first := !a.closing
	a.closing = true
	a.mu.Unlock()
	if first {
		go a.drain()
	}
	select {
	case <-a.closed:
	case <-ctx.Done():
		a.abandon()
		<-a.closed
	}
	if n := a.calls.Load(); n > 0 {
		return fmt.Errorf("close adopter: %d handlers have not returned: %w", n, ErrAbandoned)
	}
	return nil
}

// drain runs once, in a goroutine of its own, which ends with the adopter.
func (a *Adopter) drain() {
	defer close(a.closed)
	a.leave()
	defer time.AfterFunc(a.opts.DrainGrace, a.abandon).Stop()
	returned := make(chan struct{})
	go func() { // a handler that never returns keeps it
		a.inside.Wait()
		close(returned)
	}()
	select {
	case <-returned:
	case <-a.abandoned:
	}
	a.endLoops()
	a.loops.Wait()
	a.abandon()
	a.wheel.Stop()
}

// enter begins a call of a handler, unless the adopter is closing.
func (a *Adopter) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closing {
		a.inside.Add(1)
		a.calls.Add(1)
	}
	return !a.closing
}

func (a *Adopter) exit() {
	a.calls.Add(-1)
	a.inside.Done()
}

// IsFailure is for asynq's Config.IsFailure. It is false for a task that Close hands back, which then
// uses no retry.
func (a *Adopter) IsFailure(err error) bool {
	return err != nil && !errors.As(err, new(*handedBack))
}

// RetryDelay is for asynq's Config.RetryDelayFunc: a second for a task that Close hands back, the
// handler's wait for one that returned RetryAfter, and otherwise what AdoptOptions.RetryDelay or
// asynq's default says.
func (a *Adopter) RetryDelay(n int, err error, t *asynq.Task) time.Duration {
	if errors.As(err, new(*handedBack)) {
		return time.Second
	}
	if after := (*retryAfterError)(nil); errors.As(err, &after) {
		return after.after
	}
	if a.adopt.RetryDelay != nil {
		return a.adopt.RetryDelay(n, err, t)
	}
	return asynq.DefaultRetryDelayFunc(n, err, t)
}

// adoption describes the job of a task. It reports false for a task that asynq runs without a job,
// and logs the reason where that is a mistake.
func (a *Adopter) adoption(t *asynq.Task, queue, id string, level slog.Level) (ad runtime.Adoption, ok bool) {
	if a.runtime.IsAttempt(id) {
		return ad, false // an attempt that Tidemark enqueued
	}
	defer func() {
		// The application's functions may panic on a task that they do not expect.
		if v := recover(); v != nil {
			a.opts.Logger.Log(context.Background(), level, "AdoptOptions.Topic or Title panicked; asynq runs the task without a job", "queue", queue, "task", id, "panic", v)
			ok = false
		}
	}()
	topic := a.adopt.Topic(t)
	if topic == "" {
		return ad, false
	}
	if _, err := engine.ParseTopic(string(topic)); err != nil {
		a.opts.Logger.Log(context.Background(), level, "a task's topic is invalid; asynq runs the task without a job", "queue", queue, "task", id, "error", err)
		return ad, false
	}
	return runtime.Adoption{
		Task: runtime.Task{Queue: queue, ID: id}, Topic: topic, Type: jobType(t.Type()), Title: fitTitle(a.adopt.Title(t)),
	}, true
}

// jobType makes a job's type of a task's, such as "email.deliver" of "email:deliver".
func jobType(task string) string {
	b := []byte(strings.ToLower(task))
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			b[i] = '.'
		}
	}
	if len(b) == 0 || b[0] < 'a' || b[0] > 'z' {
		b = append([]byte("task."), b...)
	}
	return string(b[:min(len(b), 64)])
}

// fitTitle cuts a text to what a job's title may have.
func fitTitle(s string) string {
	if utf8.RuneCountInString(s) > engine.MaxTitleRunes {
		s = string([]rune(s)[:engine.MaxTitleRunes])
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
