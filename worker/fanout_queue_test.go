package worker_test

import (
	"context"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
)

func TestChildrenGoToTheirParentsQueue(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Queues = []string{"albums", "prints"}
	w := build(t, o)
	worker.Handle(w, "album", func(ctx context.Context, run *worker.Run, _ any) error {
		_, err := run.FanOut(ctx, "all", parts(2, "queue", func(i int, c *engine.Child) {
			if i == 1 {
				c.Spec.Queue = "prints"
			}
		}))
		return err
	})
	var queues [2]string
	worker.Handle(w, "queue", func(ctx context.Context, run *worker.Run, i int) error {
		a, err := runtime.Of(e).Current(ctx, run.ID())
		queues[i] = a.Queue
		return err
	})
	start(t, w)
	job := enqueue(t, e, "album", func(s *engine.Spec) { s.Queue = "albums" })
	if end := last(history(t, e, job, nil)); end.State != engine.Succeeded {
		t.Fatalf("it ended as %s with %+v", end.State, end.Error)
	}
	if want := [2]string{"albums", "prints"}; queues != want {
		t.Errorf("they were in the queues %q, want %q", queues, want)
	}
}
