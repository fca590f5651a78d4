package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

const topic = engine.Topic("user:42")

var namespaces atomic.Int64

// open gives an engine in a namespace of its own.
func open(t testing.TB, url string) *engine.Engine {
	t.Helper()
	return openWith(t, engine.Options{URL: url, Namespace: fmt.Sprintf("t%d", namespaces.Add(1))})
}

// openIn gives an engine that soon notices when Redis is away.
func openIn(t testing.TB, url, namespace string) *engine.Engine {
	t.Helper()
	return openWith(t, engine.Options{URL: url, Namespace: namespace, CommitTimeout: time.Second})
}

func openWith(t testing.TB, o engine.Options) *engine.Engine {
	t.Helper()
	leaktest.Check(t)
	o.Logger = quiet()
	e, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close engine: %v", err)
		}
	})
	return e
}

// real gives an engine on a Redis of the test's own.
func real(t testing.TB) *engine.Engine {
	t.Helper()
	return open(t, redistest.Server(t).URL())
}

func quiet() *slog.Logger { return logtest.Quiet() }

// brief are options with short waits. A test that depends on how short sets its own.
func brief(e *engine.Engine) worker.Options {
	return worker.Options{
		Engine: e, Concurrency: 4, RescueSlots: 2, TickInterval: 20 * time.Millisecond, CheckpointInterval: 20 * time.Millisecond,
		HeartbeatInterval: 50 * time.Millisecond, Lease: time.Second, SweepInterval: 50 * time.Millisecond,
		ReconcileInterval: 200 * time.Millisecond, BackoffMin: 10 * time.Millisecond, BackoffMax: 20 * time.Millisecond,
		DrainGrace: 10 * time.Second, CancelGrace: 5 * time.Second, Logger: quiet(),
	}
}

func build(t testing.TB, o worker.Options) *worker.Worker {
	t.Helper()
	w, err := worker.New(o)
	if err != nil {
		t.Fatal(err)
	}
	worker.OwnGate(w) // as in a process of its own
	return w
}

// start runs a worker until the test ends.
func start(t testing.TB, w *worker.Worker) {
	t.Helper()
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, w) })
}

func stop(t testing.TB, w *worker.Worker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		t.Errorf("stop worker: %v", err)
	}
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// enqueue makes a job of a type; change may say more.
func enqueue(t testing.TB, e *engine.Engine, jobType string, change ...func(*engine.Spec)) engine.JobID {
	t.Helper()
	s := engine.Spec{Topic: topic, Type: jobType}
	for _, c := range change {
		c(&s)
	}
	got, err := e.Enqueue(soon(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return got.ID
}

// enqueueAll makes n jobs of a specification, many at a time, each in a topic of its
// own, whose stream has room for all of it.
func enqueueAll(ctx context.Context, e *engine.Engine, n int, s engine.Spec) ([]engine.JobID, error) {
	jobs := make([]engine.JobID, n)
	err := each(n, 32, func(i int) error {
		own := s
		own.Topic = engine.Topic(fmt.Sprintf("%s-%d", s.Topic, i))
		got, err := e.Enqueue(ctx, own)
		jobs[i] = got.ID
		return err
	})
	return jobs, err
}

// each calls do for 0 to n-1, in so many lanes at once, and returns all errors. A
// lane ends with its first.
func each(n, lanes int, do func(i int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, lanes)
	for lane := range lanes {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[lane] == nil; i = next.Add(1) - 1 {
				errs[lane] = do(int(i))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// history follows a job from its beginning to its end, and holds its records to what
// every job promises. see, if not nil, is called with each as it comes.
func history(t testing.TB, e *engine.Engine, job engine.JobID, see func(engine.Record)) []engine.Record {
	t.Helper()
	all, err := trace(soon(t), e, job, see)
	if err != nil {
		t.Fatal(err)
	}
	if found := flaws(all); len(found) > 0 {
		t.Errorf("job %s: %q\n%s", job, found, tell(all))
	}
	return all
}

func tell(all []engine.Record) string {
	s := ""
	for _, r := range all {
		s += fmt.Sprintf("%s %s attempt %d, %v%%, %q", r.ID, r.Type, r.Job.Attempt, r.Job.Percent, r.Job.Message)
		if r.Job.Error != nil {
			s += fmt.Sprintf(", %+v", *r.Job.Error)
		}
		if r.Log != nil {
			s += fmt.Sprintf(", %+v", *r.Log)
		}
		s += "\n"
	}
	return s
}

// milestones are the types of records without ticks.
func milestones(all []engine.Record) []engine.RecordType {
	var types []engine.RecordType
	for _, r := range all {
		if !r.Type.Tick() {
			types = append(types, r.Type)
		}
	}
	return types
}

func count(all []engine.Record, of engine.RecordType) int {
	n := 0
	for _, r := range all {
		if r.Type == of {
			n++
		}
	}
	return n
}

func last(all []engine.Record) *engine.Job { return all[len(all)-1].Job }

// awaitRecord follows a job until it has a record that is wanted.
func awaitRecord(t testing.TB, e *engine.Engine, job engine.JobID, want func(engine.Record) bool) engine.Record {
	t.Helper()
	for u, err := range e.Follow(soon(t), engine.FollowQuery{Filter: engine.Filter{Job: job}, After: engine.Beginning}) {
		if err != nil {
			t.Fatalf("follow job %s: %v", job, err)
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Entry.Record()
		if err != nil {
			t.Fatal(err)
		}
		if want(r) {
			return r
		}
	}
	t.Fatalf("job %s has ended without the record that was wanted", job)
	panic("unreachable")
}

// wait waits for a signal.
func wait(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-soon(t).Done():
		t.Fatalf("no sign of %s", what)
	}
}

// pause waits between looks at something that gives no signal.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// eventually looks until what is looked for is there.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx := soon(t)
	for !holds() {
		if ctx.Err() != nil {
			t.Fatalf("waited for %s", what)
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// logbook is a logger whose lines can be searched.
type logbook struct {
	mu    sync.Mutex
	lines []byte
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, p...)
	return len(p), nil
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.lines)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func zmember(member string, score int64) redis.Z {
	return redis.Z{Member: member, Score: float64(score)}
}
