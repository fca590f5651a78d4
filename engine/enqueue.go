package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// inTime checks that the job could start before its deadline.
func inTime(s Spec, now time.Time) error {
	if s.Deadline.IsZero() || s.Deadline.After(now.Add(s.Delay)) {
		return nil
	}
	return fmt.Errorf("%w Deadline %s: it is before the job could start", ErrInvalid, s.Deadline.Format(time.RFC3339))
}

// Enqueue makes a job and hands it to asynq. It is accepted, and will reach an end,
// once Enqueue has returned without an error; what that survives is what Redis
// keeps, see docs/guarantees.md. After ErrUnreachable it may or may not have been
// accepted: with a Key, enqueue it again. Errors to branch on: ErrInvalid,
// ErrInvalidTopic, ErrLimit, ErrUnreachable, ErrOutOfMemory, and ErrUnreplicated, with
// which the job stands and is returned.
func (e *Engine) Enqueue(ctx context.Context, s Spec) (Enqueued, error) {
	now := e.Now()
	if s.Delay != 0 || !s.Deadline.IsZero() {
		now = e.readNow(ctx)
	}
	o, t, err := making(s, newJobID(shardOf(s.Topic, e.opts.Shards), now), now, origin{})
	if s.Key != "" {
		o.key = "enqueue:" + string(s.Topic) + ":" + s.Key
	}
	var done Enqueued
	if err == nil {
		err = e.patiently(ctx, func() (err error) {
			done, err = e.make(ctx, o, t)
			return err
		})
	}
	if err != nil {
		err = fmt.Errorf("enqueue %s for %s: %w", excerpt.Of(s.Type, 64), excerpt.Of(string(s.Topic), 64), err)
	}
	return done, err
}

// origin is what else a new job comes from.
type origin struct {
	retryOf JobID
	parent  JobID
}

// making is the operation that makes a job of a specification, and its first task. Delay
// counts from now.
func making(s Spec, id JobID, now time.Time, from origin) (operation, task, error) {
	s, err := s.Prepared()
	if err == nil {
		err = inTime(s, now)
	}
	if err != nil {
		return operation{}, task{}, err
	}
	fields, err := specFields(s, from)
	if err != nil {
		return operation{}, task{}, err
	}
	o := operation{kind: JobQueued, topic: s.Topic, job: id, attempt: 1, fields: fields}
	t := task{job: id, topic: s.Topic, attempt: 1, kind: s.Type, queue: s.Queue}
	if s.Delay > 0 {
		t.at = now.Add(s.Delay)
		o.fields = append(o.fields, "ra", t.at.UnixMilli())
	}
	if !s.Deadline.IsZero() {
		o.fields = append(o.fields, "dl", s.Deadline.UnixMilli())
	}
	return o, t, nil
}

// make makes a job, unless there is one of that ID or its key has made another, and hands it
// to asynq. Its error says that there is none, but for ErrUnreplicated.
func (e *Engine) make(ctx context.Context, o operation, t task) (Enqueued, error) {
	if err := e.admitQueue(ctx, t.queue); err != nil {
		return Enqueued{}, err
	}
	r, err := e.operate(ctx, o)
	if err != nil {
		return Enqueued{}, err
	}
	done := Enqueued{ID: r.job, Topic: o.topic, Existing: r.job != o.job}
	queued := error(nil)
	if r.duplicate {
		// Whoever made it may not have come as far as asynq.
		queued = e.dispatchAgain(ctx, done.ID)
	} else {
		queued = e.dispatch(ctx, t)
	}
	if queued != nil && !errors.Is(queued, ErrEnded) && !errors.Is(queued, ErrNotFound) {
		// The job stands; the reconciler of any worker will hand it over.
		e.opts.Logger.Warn("job is not yet handed to asynq", "job", done.ID, "error", queued)
	}
	return done, r.standing
}

// specFields are the fields of a job's hash that a prepared specification sets.
func specFields(s Spec, from origin) ([]any, error) {
	constant, err := constantOf(s, from)
	if err != nil {
		return nil, err
	}
	payload := s.Payload.([]byte)
	fields := append([]any{"ty", s.Type, "c", constant, "pl", payload, "q", s.Queue, "ma", s.MaxAttempts}, pin(s.Topic, payload)...)
	if s.KeyLife != "" {
		fields = append(fields, "kl", string(s.KeyLife)) // what frees its key
	}
	for name, value := range s.Labels {
		fields = append(fields, labelField+name, value)
	}
	return fields, nil
}

// labelField stands before a label's name in a job's hash, where lists filter by it.
const labelField = "l:"

// constantOf gives the part of a job's view that never changes, as commit.lua wants it: members
// that begin with a comma.
func constantOf(s Spec, from origin) (string, error) {
	b, err := json.Marshal(struct {
		Type    string            `json:"type"`
		Title   string            `json:"title,omitempty"`
		Labels  map[string]string `json:"labels,omitempty"`
		RetryOf JobID             `json:"retry_of,omitempty"`
		Parent  JobID             `json:"parent,omitempty"`
	}{s.Type, s.Title, s.Labels, from.retryOf, from.parent})
	if err != nil {
		return "", err
	}
	b[0] = ','
	return string(b[:len(b)-1]), nil
}
