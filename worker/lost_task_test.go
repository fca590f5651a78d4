package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// exporter is a worker whose jobs succeed.
func exporter(t testing.TB, e *engine.Engine) *worker.Worker {
	t.Helper()
	w := build(t, brief(e))
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
	return w
}

// succeeds runs a job to its end.
func succeeds(t testing.TB, e *engine.Engine, job engine.JobID) {
	t.Helper()
	start(t, exporter(t, e))
	if all := history(t, e, job, nil); last(all).State != engine.Succeeded {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// A Pause that tidies up after the job was resumed may take the task that Resume has
// made. That is no deletion by anybody.
func TestResumeBetweenThePauseAndItsTidying(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	proxy := redistest.NewProxy(t, s.Addr())
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	slow, direct := openIn(t, proxy.URL(), namespace), openIn(t, s.URL(), namespace)
	w := build(t, brief(direct))
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error {
		return worker.RetryAfter(errors.New("not yet"), time.Hour)
	})
	start(t, w)
	job := enqueue(t, direct, "export")
	awaitRecord(t, direct, job, func(r engine.Record) bool { return r.Type == engine.JobRetrying })
	eventually(t, "the second attempt's task", func() bool { return task(t, direct, job, 2) != nil })
	awaitDispatch(t, direct, job)
	stop(t, w)

	proxy.Delay(100 * time.Millisecond)
	paused := make(chan error, 1)
	go func() { paused <- slow.Pause(soon(t), job) }()
	// The task in one of the attempt's queues is taken away; the other queue is next.
	awaitNoTask(t, direct, job, 2)
	if err := direct.Resume(soon(t), job); err != nil {
		t.Fatal(err)
	}
	if err := <-paused; err != nil {
		t.Fatal(err)
	}
	succeeds(t, direct, job)
}
