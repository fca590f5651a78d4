package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestWait(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	made, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:42", Type: "export"})
	must(t, err)
	type answer struct {
		job engine.Job
		err error
	}
	waited := make(chan answer, 1)
	ctx := soon(t)
	go func() {
		job, err := e.Wait(ctx, made.ID)
		waited <- answer{job, err}
	}()
	p, _ := start(t, e, made.ID, 1)
	must(t, p.write(runtime.Report{Type: engine.JobProgress, Tenths: 500}).Err)
	select {
	case got := <-waited:
		t.Fatalf("before its end it is waited for as %+v, %v", got.job, got.err)
	default:
	}
	must(t, p.write(runtime.Report{Type: engine.JobSucceeded, Result: []byte(`{"rows":7}`)}).Err)
	if got := <-waited; got.err != nil || got.job.ID != made.ID || got.job.State != engine.Succeeded || string(got.job.Result) != `{"rows":7}` {
		t.Errorf("it was waited for as %+v, %v", got.job, got.err)
	}
	if job, err := e.Wait(soon(t), made.ID); err != nil || job.State != engine.Succeeded {
		t.Errorf("one that has ended is waited for as %+v, %v", job, err)
	}

	live, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:42", Type: "export"})
	must(t, err)
	cause := errors.New("no more patience")
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	unknown, err := e.NewJobID("user:42")
	must(t, err)
	refused := func(ctx context.Context, what string, id engine.JobID, want error) {
		t.Helper()
		if _, err := e.Wait(ctx, id); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	refused(soon(t), "no ID", "x", engine.ErrInvalidJobID)
	refused(soon(t), "no such job", unknown, engine.ErrNotFound)
	refused(gone, "out of patience", live.ID, cause)
}
