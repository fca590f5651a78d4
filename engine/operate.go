package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// An operation is everything that is reported from outside a run. It is applied
// once per key, and its result is kept for a day for whoever repeats it.
type operation struct {
	kind    RecordType
	topic   Topic
	job     JobID  // "": a notification
	key     string // "": creating a job, which its own ID makes idempotent
	attempt int    // -1: any
	fence   string // of a job's receiver
	beat    string // "": any; otherwise the attempt's last heartbeat
	outcome string
	extra   string
	fields  []any  // names and values
	tenths  int    // 0: the job's stays
	shown   *Shown // nil: the job's stays
}

// result is what became of an operation: the job that it is about, and the n of
// its record.
type result struct {
	job       JobID
	rev       string
	duplicate bool
}

func (e *Engine) operate(ctx context.Context, o operation) (result, error) {
	with := append([]any{"@topic", string(o.topic)}, o.fields...)
	if o.key != "" {
		with = append(with, "@op", o.key)
	}
	if o.attempt >= 0 {
		with = append(with, "@attempt", o.attempt)
	}
	if o.beat != "" {
		with = append(with, "@beat", o.beat)
	}
	if o.outcome != "" {
		with = append(with, "@outcome", o.outcome)
	}
	if o.extra != "" {
		with = append(with, "@extra", o.extra)
	}
	s := &submission{shard: shardOf(o.topic, e.opts.Shards), reports: 1, milestone: true}
	progress := ""
	if o.shown != nil {
		progress = string(o.shown.append(nil))
	}
	s.args = append([]any{string(o.kind), string(o.job), o.fence, "", o.tenths, progress, len(with) / 2}, with...)
	type reply struct {
		answer string
		err    error
	}
	done := make(chan reply, 1)
	s.done = func(answers []any, err error) {
		if answers == nil {
			done <- reply{"", err}
			return
		}
		done <- reply{text(answers[0]), err}
	}
	if err := e.commits.add(s); err != nil {
		return result{}, err
	}
	select {
	case r := <-done:
		if r.answer == "" {
			return result{}, r.err
		}
		if r.answer[0] == '-' || r.answer[0] == '!' {
			return result{}, refusal(r.answer)
		}
		job, rev, _ := strings.Cut(r.answer[1:], " ")
		return result{job: JobID(job), rev: rev, duplicate: r.answer[0] == '='}, r.err
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	}
}

// Cancel asks a job to stop. One that no worker has yet ends at once, also while its
// input arrives; a running one is told with its next heartbeat and ends when its
// handler has returned. Canceling twice is no error. Errors to branch on: ErrNotFound,
// ErrEnded, ErrUnreachable.
func (e *Engine) Cancel(ctx context.Context, id JobID) error { return e.cancel(ctx, id, -1) }

func (e *Engine) cancel(ctx context.Context, id JobID, attempt int) error {
	if _, err := ParseJobID(string(id)); err != nil {
		return err
	}
	a, err := e.Current(ctx, id)
	if err == nil {
		_, err = e.operate(ctx, operation{kind: JobCanceling, topic: a.Topic, job: id, key: newKey(), attempt: attempt})
	}
	if err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	if a.Waiting {
		e.withdraw(a)
	}
	return nil
}

// Notify puts a notification into a topic's stream: body is its JSON, at most 16
// KiB. Calls with the same key, within a day and a topic, write one record; ""
// writes one a call. Errors to branch on: ErrInvalid, ErrInvalidTopic,
// ErrUnreachable.
func (e *Engine) Notify(ctx context.Context, topic Topic, key string, body json.RawMessage) error {
	if _, err := ParseTopic(string(topic)); err != nil {
		return err
	}
	body, err := oneLine("notification", body)
	if err != nil {
		return err
	}
	if err := bounded("notification", len(body), MaxResultBytes, "store the rest and name it"); err != nil {
		return err
	}
	own := newKey()
	if key != "" {
		own = "notify:" + string(topic) + ":" + key
	}
	_, err = e.operate(ctx, operation{
		kind: NotificationCreated, topic: topic, attempt: -1,
		key: own, extra: `,"notification":` + string(body),
	})
	return err
}
