package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// childEnv names the variable that makes a process of the test binary a child: its
// role, as JSON.
const childEnv = "TIDEMARK_TEST_CHILD"

// A role is what a child process is: a worker, or a server of asynq's own.
type role struct {
	URL, Namespace string
	Queues         []string // none: the default queue
	Slots          int      // of the queues; those of the rescue queues are a worker's default
	CrashLimit     int
	// Leases says whether the times of heartbeats and rescue are those of a worker
	// without options, or short ones.
	Leases leases
	// Ledger is a file to which each step and each checkpoint of a tally is appended.
	Ledger string
	// Bare is a server of asynq's, which knows nothing of Tidemark.
	Bare bool
	// App is an asynq application with the middleware.
	App bool
}

type leases int

const (
	shortLeases leases = iota
	defaultLeases
	// patientLeases are short heartbeats of a worker that rescues nobody.
	patientLeases
	// slowBeats are rare beside sweeps and lease.
	slowBeats
)

func (l leases) String() string {
	return [...]string{"short leases", "default leases", "patient leases", "slow beats"}[l]
}

// set gives o the times.
func (l leases) set(o *worker.Options) {
	switch l {
	case shortLeases:
		o.HeartbeatInterval, o.SweepInterval, o.Lease = 50*time.Millisecond, 50*time.Millisecond, 1500*time.Millisecond
	case defaultLeases:
		d := worker.Options{}.Defaults()
		o.HeartbeatInterval, o.SweepInterval, o.Lease, o.ReconcileInterval = d.HeartbeatInterval, d.SweepInterval, d.Lease, d.ReconcileInterval
	case patientLeases:
		o.HeartbeatInterval, o.SweepInterval, o.Lease = 50*time.Millisecond, 50*time.Millisecond, time.Minute
	case slowBeats:
		o.HeartbeatInterval, o.SweepInterval, o.Lease = 500*time.Millisecond, 50*time.Millisecond, 1500*time.Millisecond
	}
}

// What children say on their output, a line each, with what follows.
const (
	saysReady   = "ready"    // it takes tasks
	saysRunning = "running " // job and attempt: a handler was called
	saysGhost   = "ghost "   // what a handler of a superseded attempt tried, and the answer
	saysLeft    = "left "    // what the worker told about a run that was superseded
)

// child is a child process. It ends with SIGTERM.
func child(encoded string) {
	var r role
	if err := json.Unmarshal([]byte(encoded), &r); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	e, err := engine.Open(ctx, engine.Options{URL: r.URL, Namespace: r.Namespace})
	if err != nil {
		panic(err)
	}
	serve := r.work
	switch {
	case r.Bare:
		serve = r.serveBare
	case r.App:
		serve = serveApplication
	}
	if err := serve(ctx, e); err != nil {
		panic(err)
	}
	if err := e.Close(); err != nil {
		panic(err)
	}
}

// work is a worker process.
func (r role) work(ctx context.Context, e *engine.Engine) error {
	o := brief(e)
	o.TickInterval, o.CheckpointInterval = 50*time.Millisecond, 50*time.Millisecond
	o.Logger = slog.New(ghostLog{quiet().Handler()})
	r.Leases.set(&o)
	o.CrashLimit = r.CrashLimit
	if r.Slots > 0 {
		o.Concurrency, o.RescueSlots = r.Slots, 0
	}
	o.Queues = append(o.Queues, r.Queues...)
	w, err := worker.New(o)
	if err != nil {
		return err
	}
	ledger, err := openLedger(r.Ledger)
	if err != nil {
		return err
	}
	worker.Handle(w, "tally", func(ctx context.Context, run *worker.Run, p tally) error {
		fmt.Println(saysRunning+string(run.ID()), run.Attempt())
		return ledger.of(run).run(ctx, run, p)
	})
	worker.Handle(w, "haunted", func(ctx context.Context, run *worker.Run, p tally) error {
		fmt.Println(saysRunning+string(run.ID()), run.Attempt())
		return haunt(ctx, e, r.Namespace, run, p)
	})
	worker.Handle(w, "brief", func(ctx context.Context, _ *worker.Run, d time.Duration) error {
		pause(ctx, d)
		return nil
	})
	worker.Handle(w, "hold", func(ctx context.Context, run *worker.Run, _ []byte) error {
		fmt.Println(saysRunning+string(run.ID()), run.Attempt())
		<-ctx.Done() // until it is canceled
		return context.Cause(ctx)
	})
	worker.Handle(w, "poison", func(ctx context.Context, _ *worker.Run, d time.Duration) error {
		pause(ctx, d)
		os.Exit(1)
		return nil
	})
	if err := w.Start(ctx); err != nil {
		return err
	}
	fmt.Println(saysReady)
	<-ctx.Done()
	return w.Stop(context.Background())
}

// serveBare is a process with asynq alone. Its handler never returns by itself.
func (r role) serveBare(ctx context.Context, e *engine.Engine) error {
	s := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{
		Concurrency: r.Slots, Queues: map[string]int{e.QueueName(bareQueue): 1}, LogLevel: asynq.FatalLevel,
	})
	err := s.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		fmt.Println(saysRunning+t.ResultWriter().TaskID(), 0)
		<-ctx.Done()
		return ctx.Err()
	}))
	if err != nil {
		return err
	}
	fmt.Println(saysReady)
	<-ctx.Done()
	s.Shutdown()
	return nil
}

// bareQueue is the queue of an asynq without Tidemark.
const bareQueue = "bare"

// ghostLog puts what the worker tells of superseded runs on the process's output.
type ghostLog struct{ slog.Handler }

func (g ghostLog) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		fmt.Println(saysLeft + r.Message)
	}
	return nil
}

func (g ghostLog) WithAttrs([]slog.Attr) slog.Handler { return g }

func (g ghostLog) WithGroup(string) slog.Handler { return g }

// A ledger is what handlers of all processes did, in the order in which they did it:
// lines are appended whole.
type ledger struct{ f *os.File }

func openLedger(path string) (ledger, error) {
	if path == "" {
		return ledger{}, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return ledger{f}, err
}

// of counts a run's steps into the ledger, if there is one.
func (l ledger) of(run *worker.Run) counting {
	if l.f == nil {
		return counting{}
	}
	write := func(what string, n int) error {
		_, err := fmt.Fprintf(l.f, "%s %s %d %d\n", what, run.ID(), run.Attempt(), n)
		return err
	}
	return counting{
		each: func(step int) error { return write("step", step) },
		kept: func(next int) {
			if err := write("kept", next); err != nil {
				panic(err)
			}
		},
	}
}
