package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/leaktest"
)

var namespaces atomic.Int64

// open gives an engine in a namespace of its own.
func open(t testing.TB, url string, change func(*engine.Options)) *engine.Rig {
	t.Helper()
	leaktest.Check(t)
	o := engine.Options{
		URL: url, Namespace: fmt.Sprintf("t%d", namespaces.Add(1)), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&o)
	}
	e, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return engine.NewRig(e)
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// enqueue makes a job of user:42.
func enqueue(t testing.TB, e *engine.Rig) engine.JobID {
	t.Helper()
	got, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:42", Type: "export", Title: "Orders 2025", Payload: map[string]int{"year": 2025}})
	if err != nil {
		t.Fatal(err)
	}
	return got.ID
}

// A pen writes as one attempt of a job.
type pen struct {
	t testing.TB
	e *engine.Rig
	r runtime.Report
}

// start begins an attempt.
func start(t testing.TB, e *engine.Rig, job engine.JobID, attempt int) (*pen, *runtime.Started) {
	t.Helper()
	p := &pen{t, e, runtime.Report{Job: job, Fence: runtime.Fence{Attempt: attempt, Token: runtime.NewToken()}}}
	ack := p.write(runtime.Report{Type: engine.JobStarted})
	if ack.Err != nil {
		t.Fatal(ack.Err)
	}
	return p, ack.Started
}

// write sends the attempt's next report.
func (p *pen) write(r runtime.Report) runtime.Ack {
	p.t.Helper()
	p.r.Fence.Seq++
	r.Job, r.Fence = p.r.Job, p.r.Fence
	acks, err := p.e.Commit(soon(p.t), r)
	if err != nil {
		p.t.Fatal(err)
	}
	return acks[0]
}
