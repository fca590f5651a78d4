package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// rollback is a Redis that forgets: all that it acknowledges between cut and lose is gone
// after lose, as in a failover to a replica that lagged, or a power loss.
type rollback struct {
	e         *engine.Engine
	cut, lose func()
}

// rollbacks are the ways in which Redis loses what it acknowledged last.
var rollbacks = map[string]func(t *testing.T) rollback{
	"failover": func(t *testing.T) rollback {
		fast := redistest.WithSettings("repl-diskless-sync yes", "repl-diskless-sync-delay 0")
		primary := redistest.Server(t, fast)
		replica := redistest.Server(t, fast, redistest.WithReplicaOf(primary))
		p, r := primary.Client(t), replica.Client(t)
		inStep := func() bool {
			ctx := soon(t)
			c := p.Conn()
			defer func() { _ = c.Close() }()
			if err := c.Set(ctx, "probe", 1, time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			n, err := c.Wait(ctx, 1, time.Second).Result()
			return err == nil && n == 1
		}
		eventually(t, "the replica to be in step", inStep)
		var at atomic.Value
		at.Store(primary.Addr())
		return rollback{
			e: openWith(t, engine.Options{Namespace: "tm", Redis: &redis.UniversalOptions{
				Addrs: []string{primary.Addr()},
				Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, at.Load().(string))
				},
			}}),
			cut: func() {
				eventually(t, "the replica to be in step", inStep)
				if err := r.Do(soon(t), "REPLICAOF", "NO", "ONE").Err(); err != nil {
					t.Fatal(err)
				}
			},
			lose: func() {
				at.Store(replica.Addr())
				primary.Kill()
			},
		}
	},
	"power loss": func(t *testing.T) rollback {
		s := redistest.Server(t, redistest.WithAOF())
		var saved redistest.AOF
		return rollback{e: openIn(t, s.URL(), "tm"), cut: func() { saved = s.SaveAOF() }, lose: func() { s.RestartFrom(saved) }}
	},
}

// gate stops the first commit of a kind on its way: before it is sent, or before its answer
// is passed on.
type gate struct {
	kind             string
	after            bool
	once             sync.Once
	reached, release chan struct{}
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var err error
		if g.after {
			err = next(ctx, cmds)
		}
		for _, c := range cmds {
			if slices.Contains(c.Args(), any(g.kind)) {
				g.once.Do(func() {
					close(g.reached)
					<-g.release
				})
			}
		}
		if !g.after {
			err = next(ctx, cmds)
		}
		return err
	}
}

func holdUp(e *engine.Engine, kind string, after bool) *gate {
	g := &gate{kind: kind, after: after, reached: make(chan struct{}), release: make(chan struct{})}
	e.Redis().AddHook(g)
	return g
}

// Redis loses that a run began, and that it ended, and keeps that asynq handed its task out.
// That is no deletion of the task: the job goes on, and ends as its handler says.
func TestRollbackBehindADequeue(t *testing.T) {
	t.Parallel()
	for name, how := range rollbacks {
		for _, until := range []string{"the start is lost", "the end is lost too", "the end is lost too, and it was a failure"} {
			t.Run(name+": "+until, func(t *testing.T) {
				t.Parallel()
				r := how(t)
				o := brief(r.e)
				o.BackoffMin, o.BackoffMax = time.Hour, time.Hour
				start := holdUp(r.e, "job.started", false)
				var end *gate
				switch until {
				case "the end is lost too":
					end = holdUp(r.e, "job.succeeded", true)
				case "the end is lost too, and it was a failure":
					end = holdUp(r.e, "job.retrying", true)
				}
				var calls atomic.Int32
				began := make(chan struct{})
				w := build(t, o)
				worker.Handle(w, "export", func(ctx context.Context, _ *worker.Run, _ []byte) error {
					switch {
					case calls.Add(1) > 1:
						return nil
					case end == nil:
						close(began)
						<-ctx.Done() // superseded
						return context.Cause(ctx)
					case end.kind == "job.retrying":
						return errors.New("not yet")
					}
					return nil
				})
				run(t, w)
				job := enqueue(t, r.e, "export")
				wait(t, "the start", start.reached)
				r.cut()
				close(start.release)
				if end == nil {
					wait(t, "the handler", began)
				} else {
					wait(t, "the end", end.reached)
				}
				r.lose()
				if end != nil {
					close(end.release)
				}
				ended := awaitEnd(t, r.e, job)
				all := history(t, r.e, job, nil)
				if ended.State != engine.Succeeded || calls.Load() != 2 {
					t.Errorf("after %d calls of the handler it ended so:\n%s", calls.Load(), tell(all))
				}
				// A worker that hears of it puts the task back before it is missed.
				if lost := slices.ContainsFunc(all, func(r engine.Record) bool { return r.Job.Error != nil }); lost && end == nil {
					t.Errorf("the task was acknowledged while its attempt waited:\n%s", tell(all))
				}
				deletionIsTold(t, r.e)
			})
		}
	}
}

// deletionIsTold checks that a deletion ends a job as one, on the history that Redis is on now.
func deletionIsTold(t *testing.T, e *engine.Engine) {
	t.Helper()
	later := func(s *engine.Spec) { s.Delay = time.Hour }
	eventually(t, "a job that is canceled since its task was deleted", func() bool {
		job := enqueue(t, e, "export", later)
		awaitDispatch(t, e, job)
		// Until a reconciler has noticed the other history, the job is handed over again.
		if err := inspect(e).DeleteTask(e.QueueName(engine.DefaultQueue), runtime.TaskID(job, 1)); err != nil {
			t.Fatal(err)
		}
		r := awaitRecord(t, e, job, func(r engine.Record) bool { return r.Job.Error != nil })
		return r.Type == engine.JobCanceled && r.Job.Error.Code == "task_deleted"
	})
}

// awaitEnd looks at a job until it has ended, whatever its records went through.
func awaitEnd(t *testing.T, e *engine.Engine, job engine.JobID) engine.Job {
	t.Helper()
	var j engine.Job
	eventually(t, "the job's end", func() bool {
		v, err := e.Job(soon(t), job)
		if err == nil {
			j, err = v.Job()
		}
		return err == nil && j.State.Ended()
	})
	return j
}

// run is start for a worker that may not be able to say goodbye to its Redis.
func run(t *testing.T, w *worker.Worker) {
	t.Helper()
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.Stop(ctx); err != nil {
			t.Errorf("stop worker: %v", err)
		}
	})
}

// An adopted job whose end Redis lost, and whose task asynq has acknowledged since, was not
// canceled.
func TestRollbackBehindAnAdoptedTasksDequeue(t *testing.T) {
	t.Parallel()
	for name, how := range rollbacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := how(t)
			a := adopt(t, briefAdopt(r.e))
			begin, end := holdUp(r.e, "job.started", false), holdUp(r.e, "job.succeeded", true)
			serve(t, r.e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error { return nil }))
			info := send(t, r.e, "export")
			wait(t, "the start", begin.reached)
			job := jobOf(t, r.e, info)
			r.cut()
			close(begin.release)
			wait(t, "the end", end.reached)
			r.lose()
			close(end.release)
			ended := awaitEnd(t, r.e, job)
			if ended.State != engine.Failed || ended.Error == nil || ended.Error.Code != "task_lost" || !strings.Contains(ended.Error.Message, "failover") {
				t.Errorf("it ended as %s, %s", ended.State, fmt.Sprint(ended.Error))
			}
		})
	}
}
