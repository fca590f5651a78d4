package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// late holds up whoever reads a task by itself until it may.
type late struct {
	key string
	may <-chan struct{}
}

func (l *late) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *late) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if a := cmd.Args(); strings.HasPrefix(cmd.Name(), "eval") && len(a) > 3 && a[2] == any(1) && a[3] == any(l.key) {
			select {
			case <-l.may:
			case <-ctx.Done():
			}
		}
		return next(ctx, cmd)
	}
}

func (l *late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// asynq's Shutdown puts a task back whose handler goes on, and another server may have it
// at once: that this was its last try is no end of the job.
func TestShutdownOnTheLastTryWhileAnotherServerWaits(t *testing.T) {
	t.Parallel()
	url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
	e, elsewhere := openIn(t, url, namespace), openIn(t, url, namespace)
	started, release, taken, begin := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	config := briefServer()
	config.ShutdownTimeout = 100 * time.Millisecond
	s := serve(t, e, config, handling(adopt(t, briefAdopt(e)), "export", func(context.Context, *asynq.Task) error {
		close(started)
		<-release
		return nil
	}))
	t.Cleanup(func() { close(release) })
	info := send(t, e, "export", asynq.MaxRetry(0))
	wait(t, "the handler", started)
	job := jobOf(t, e, info)
	e.Redis().AddHook(&late{"asynq:{" + info.Queue + "}:t:" + info.ID, taken})

	mux := asynq.NewServeMux()
	var once sync.Once
	mux.Use(func(next asynq.Handler) asynq.Handler {
		return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
			once.Do(func() { close(taken) })
			<-begin
			return next.ProcessTask(ctx, task)
		})
	})
	mux.Use(adopt(t, briefAdopt(elsewhere)).Middleware)
	mux.HandleFunc("export", func(context.Context, *asynq.Task) error { return nil })
	serve(t, elsewhere, briefServer(), mux)
	s.Shutdown()
	wait(t, "the other server to have the task", taken)
	cut := []engine.RecordType{engine.JobQueued, engine.JobFailed}
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Job.Attempt == 1 && slices.Contains(cut, r.Type) })
	close(begin)
	all := history(t, e, job, nil)
	if end := last(all); end.State != engine.Succeeded || end.Attempt != 2 || jobOf(t, e, info) != job {
		t.Errorf("it went\n%s", tell(all))
	}
}

// Someone cancels the processing of a task by asynq's tools, on its last try: asynq archives
// it.
func TestProcessingThatAsynqCancelsOnTheLastTry(t *testing.T) {
	t.Parallel()
	e := real(t)
	started := make(chan struct{})
	serve(t, e, briefServer(), handling(adopt(t, briefAdopt(e)), "export", func(ctx context.Context, _ *asynq.Task) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}))
	info := send(t, e, "export", asynq.MaxRetry(0))
	wait(t, "the handler", started)
	job := jobOf(t, e, info)
	eventually(t, "asynq to archive it", func() bool {
		if err := inspect(e).CancelProcessing(info.ID); err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(standing(e, info), "archived")
	})
	if end := last(history(t, e, job, nil)); end.State != engine.Failed || !strings.Contains(end.Error.Message, context.Canceled.Error()) {
		t.Errorf("it ended as %s, %+v", end.State, end.Error)
	}
}

// Redis is away while handlers begin, work and end. Those that run are left alone, and the
// middleware commits what they have done when it is back.
func TestAdoptedTasksOutlastAnOutageOfRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	e := open(t, proxy.URL())
	var runs atomic.Int64
	started, release, cut := make(chan struct{}, 2), make(chan struct{}), make(chan error, 2)
	serve(t, e, briefServer(), handling(adopt(t, briefAdopt(e)), "export", func(ctx context.Context, _ *asynq.Task) error {
		runs.Add(1)
		started <- struct{}{}
		<-release
		worker.RunFrom(ctx).Progress(1, 2)
		cut <- context.Cause(ctx)
		return worker.RunFrom(ctx).Result("whole")
	}))
	infos := []*asynq.TaskInfo{send(t, e, "export"), send(t, e, "export")}
	for range infos {
		wait(t, "a handler", started)
	}
	jobs := []engine.JobID{jobOf(t, e, infos[0]), jobOf(t, e, infos[1])}
	proxy.Refuse()
	proxy.CutAll()
	close(release)
	for range infos {
		if err := <-cut; err != nil {
			t.Errorf("a handler was cut short: %v", err)
		}
	}
	pause(soon(t), 3*time.Second) // more than a lease
	proxy.Accept()
	for i, job := range jobs {
		if all := history(t, e, job, nil); last(all).State != engine.Succeeded || last(all).Attempt != 1 || string(last(all).Result) != `"whole"` {
			t.Errorf("it went\n%s", tell(all))
		}
		eventually(t, "asynq to be done with it", func() bool { return standing(e, infos[i]) == "gone" })
	}
	if runs.Load() != 2 {
		t.Errorf("%d runs", runs.Load())
	}
}
