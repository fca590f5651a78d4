package workertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/rig"
)

// jobID is the recorded job's.
const jobID = engine.JobID("0001JZZZZZZZZZZZZZZZZZZZZZZZ")

// maxAttempts bounds how many attempts of fan-outs a recording runs.
const maxAttempts = 1000

// Run executes a handler, of the signature that worker.Handle takes, and returns what it
// reported once it has returned. The payload goes through JSON as it does in production. ctx is
// the run's; when it ends, the handler should return. Run fails the test where the options or
// the payload could not be those of a job.
func Run[T any](ctx context.Context, t testing.TB, h func(context.Context, *worker.Run, T) error, payload T, options ...Option) *Recording {
	t.Helper()
	rec, err := Record(ctx, h, payload, options...)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// Record is Run outside a test, as in an example. Its error wraps engine.ErrInvalid: the options
// or the payload could not be those of a job.
func Record[T any](ctx context.Context, h func(context.Context, *worker.Run, T) error, payload T, options ...Option) (*Recording, error) {
	p := &plan{}
	for _, o := range options {
		o(p)
	}
	p.spec.Topic = cmp.Or(p.spec.Topic, "user:test")
	p.spec.Type = cmp.Or(p.spec.Type, "test")
	p.spec.Queue = cmp.Or(p.spec.Queue, engine.DefaultQueue)
	p.spec.MaxAttempts = cmp.Or(p.spec.MaxAttempts, engine.DefaultMaxAttempts)
	p.spec.Payload = payload
	if err := p.spec.Validate(); err != nil {
		return nil, fmt.Errorf("record a handler: %w", err)
	}
	value, err := sent(payload)
	if err != nil {
		return nil, fmt.Errorf("record a handler: %w payload: %w", engine.ErrInvalid, err)
	}
	handler := worker.HandlerFunc(func(ctx context.Context, run *worker.Run) error { return h(ctx, run, value) })
	for _, m := range slices.Backward(p.middleware) {
		handler = m(handler)
	}
	return p.record(ctx, handler), nil
}

// sent is a payload as it arrives: a []byte as it is, anything else through JSON.
func sent[T any](payload T) (value T, err error) {
	if _, raw := any(payload).([]byte); raw {
		return payload, nil
	}
	b, err := json.Marshal(payload)
	if err != nil {
		return value, err
	}
	return value, json.Unmarshal(b, &value)
}

// record runs attempts until the job does not go on by itself.
func (p *plan) record(ctx context.Context, h worker.HandlerFunc) *Recording {
	rec := &Recording{topic: p.spec.Topic, job: jobID, State: engine.Running}
	if r := p.resume; r != nil {
		rec.attempt, rec.kept, rec.blobs, rec.Artifacts = r.attempt, r.kept, r.blobs, slices.Clone(r.Artifacts)
		if rec.kept != nil {
			rec.percent(rec.kept.tenths)
		}
	}
	if rec.blobs == nil {
		rec.blobs = memblob.OpenBucket(nil) // in memory, so there is nothing to close
	}
	m := &memory{rec: rec, plan: p}
	for range maxAttempts {
		p.run(ctx, m, h)
		if rec.State != engine.Awaiting || p.outcome == nil || !m.settle() {
			break
		}
		rec.State = engine.Running
	}
	return rec
}

// run executes one attempt.
func (p *plan) run(ctx context.Context, m *memory, h worker.HandlerFunc) {
	rec := m.rec
	rec.attempt++
	rec.Attempts++
	started := &runtime.Started{
		Topic: p.spec.Topic, Type: p.spec.Type, Title: p.spec.Title, Labels: p.spec.Labels, Queue: p.spec.Queue, MaxAttempts: p.spec.MaxAttempts, Retries: p.retries,
		Tenths: rec.tenths(), Artifacts: slices.Clone(rec.Artifacts),
	}
	if rec.kept != nil {
		started.Checkpoint, started.ArtifactState, started.CheckpointTenths = rec.kept.state, rec.kept.artifacts, rec.kept.tenths
	}
	end := rig.Execute(ctx, rig.Attempt{
		Jobs: m, Job: rec.job, Fence: runtime.Fence{Attempt: rec.attempt, Token: "workertest", Seq: 1}, Started: started, Blobs: rec.blobs,
		Handle: func(ctx context.Context, run any) error {
			r, ok := run.(*worker.Run)
			if !ok {
				return errors.New("package worker gave no Run")
			}
			return h(ctx, r)
		},
		Begun: func(end func(error)) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.end = end
		},
	})
	rec.Err = end.Err
}
