package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// inTime checks that the job could start before its deadline.
func inTime(s wire.Spec, now time.Time) error {
	if s.Deadline.IsZero() || s.Deadline.After(now.Add(s.Delay)) {
		return nil
	}
	return fmt.Errorf("%w Deadline %s: it is before the job could start", wire.ErrInvalid, s.Deadline.Format(time.RFC3339))
}

// Enqueue is that of engine.Engine.
func (rt *Runtime) Enqueue(ctx context.Context, s wire.Spec) (wire.Enqueued, error) {
	option.Default(&s.Queue, rt.g.Opts.DefaultQueue)
	now := rt.g.Now()
	if s.Delay != 0 || !s.Deadline.IsZero() {
		now = rt.g.ReadNow(ctx)
	}
	o, t, err := making(s, ground.NewJobID(ground.ShardOf(s.Topic, rt.g.Opts.Shards), now), now, origin{})
	if s.Key != "" {
		o.key = "enqueue:" + string(s.Topic) + ":" + s.Key
	}
	var done wire.Enqueued
	if err == nil {
		err = rt.g.Patiently(ctx, func() (err error) {
			done, err = rt.make(ctx, o, t)
			return err
		})
	}
	if err != nil {
		err = fmt.Errorf("enqueue %s for %s: %w", excerpt.Of(s.Type, 64), excerpt.Of(string(s.Topic), 64), err)
	}
	return done, err
}

// origin is what else a new job comes from, and its view shows for good.
type origin struct {
	retryOf wire.JobID
	parent  wire.JobID
	startAt time.Time // of a delayed job
	adopted bool      // asynq's own task carries the job, in s.Queue as asynq knows it
}

// making is the operation that makes a job of a specification, and its first task. Delay
// counts from now.
func making(s wire.Spec, id wire.JobID, now time.Time, from origin) (operation, task, error) {
	s, err := s.Prepared()
	if err == nil {
		err = inTime(s, now)
	}
	if err != nil {
		return operation{}, task{}, err
	}
	if s.Delay > 0 {
		from.startAt = now.Add(s.Delay)
	}
	fields, err := specFields(s, from)
	if err != nil {
		return operation{}, task{}, err
	}
	o := operation{kind: wire.JobQueued, topic: s.Topic, job: id, attempt: 1, fields: fields}
	t := task{job: id, topic: s.Topic, attempt: 1, kind: s.Type, queue: s.Queue, at: from.startAt}
	if s.Delay > 0 {
		o.fields = append(o.fields, "ra", t.at.UnixMilli())
	}
	if !s.Deadline.IsZero() {
		o.fields = append(o.fields, "dl", s.Deadline.UnixMilli())
	}
	return o, t, nil
}

// make creates a job, unless a job has that ID or its key has created another, and dispatches it.
// After an error other than ErrUnreplicated there is no job.
func (rt *Runtime) make(ctx context.Context, o operation, t task) (wire.Enqueued, error) {
	if err := rt.admitQueue(ctx, t.queue); err != nil {
		return wire.Enqueued{}, err
	}
	r, err := rt.operate(ctx, o)
	if err != nil {
		return wire.Enqueued{}, err
	}
	done := wire.Enqueued{ID: r.job, Topic: o.topic, Existing: r.job != o.job}
	queued := error(nil)
	if r.duplicate {
		// The process that created it may have died before it dispatched it.
		queued = rt.dispatchAgain(ctx, done.ID)
	} else {
		queued = rt.dispatch(ctx, t)
	}
	if queued != nil && !errors.Is(queued, wire.ErrEnded) && !errors.Is(queued, wire.ErrNotFound) {
		// The job exists; the reconciler of any worker dispatches it.
		rt.g.Opts.Logger.Warn("cannot hand the job to asynq; a reconciler does so later", "job", done.ID, "error", queued)
	}
	return done, r.standing
}

// specFields are the fields of a job's hash that a prepared specification sets.
func specFields(s wire.Spec, from origin) ([]any, error) {
	constant, err := constantOf(s, from)
	if err != nil {
		return nil, err
	}
	payload := s.Payload.([]byte)
	fields := append([]any{"ty", s.Type, "c", constant, "pl", payload, "q", s.Queue, "ma", s.MaxAttempts}, pins(s.Topic, payload)...)
	if s.KeyLife != "" {
		fields = append(fields, "kl", string(s.KeyLife)) // what frees its key
	}
	for name, value := range s.Labels {
		fields = append(fields, ground.LabelField+name, value)
	}
	return fields, nil
}

// constantOf gives the part of a job's view that never changes, as commit.lua wants it: members
// that begin with a comma.
func constantOf(s wire.Spec, from origin) (string, error) {
	var startAt *time.Time
	if !from.startAt.IsZero() {
		at := from.startAt.UTC().Truncate(time.Millisecond)
		startAt = &at
	}
	b, err := json.Marshal(struct {
		Type    string            `json:"type"`
		Title   string            `json:"title,omitempty"`
		Labels  map[string]string `json:"labels,omitempty"`
		Queue   string            `json:"queue,omitempty"`
		Adopted bool              `json:"adopted,omitempty"`
		StartAt *time.Time        `json:"start_at,omitempty"`
		RetryOf wire.JobID        `json:"retry_of,omitempty"`
		Parent  wire.JobID        `json:"parent,omitempty"`
	}{s.Type, s.Title, s.Labels, s.Queue, from.adopted, startAt, from.retryOf, from.parent})
	if err != nil {
		return "", err
	}
	b[0] = ','
	return string(b[:len(b)-1]), nil
}
