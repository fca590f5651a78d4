package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Retry tries an ended job again: it makes a new one, its RetryOf, with the same type,
// payload, title, labels, queue and number of retries, and without its deadline. Errors
// to branch on: ErrNotFound, ErrState for a job that has not ended, is adopted, or whose
// payload is no longer kept (Options.RetryFailed, RetrySucceeded), ErrInvalid for one whose
// input never arrived or was lost, ErrLimit, ErrUnreachable, ErrOutOfMemory, and
// ErrUnreplicated, with which the job stands and is returned.
func (e *Engine) Retry(ctx context.Context, id JobID, q RetryQuery) (Enqueued, error) {
	done, err := e.retry(ctx, id, q)
	if err != nil {
		err = fmt.Errorf("retry job %s: %w", id, err)
	}
	return done, err
}

func (e *Engine) retry(ctx context.Context, id JobID, q RetryQuery) (Enqueued, error) {
	v, err := e.Job(ctx, id)
	if err != nil {
		return Enqueued{}, err
	}
	old, err := v.Job()
	if err != nil {
		return Enqueued{}, err
	}
	if err := option.Bytes("Key", len(q.Key), 256, "use a hash of it"); err != nil {
		return Enqueued{}, err
	}
	if !old.State.Ended() {
		return Enqueued{}, fmt.Errorf("%w: it is %s, and only a job that has ended is tried again; cancel it, or wait for its end", ErrState, old.State)
	}
	pipe := e.redis.Pipeline()
	job := pipe.HMGet(ctx, e.keys.job(id), "pl", "q", "ma", "cp", "cc", "rs", "at", "ai", "pk")
	shelf := pipe.HMGet(ctx, e.keys.shelf(id), "pl", "cp")
	if _, err := pipe.Exec(ctx); err != nil {
		return Enqueued{}, failure("read job "+string(id), err)
	}
	f := job.Val()
	if kept := shelf.Val(); kept[0] != nil {
		f[0], f[3] = kept[0], kept[1]
	}
	if f[7] != nil {
		return Enqueued{}, fmt.Errorf("%w: it was adopted, and asynq has its payload; run task %s of queue %s with asynq's tools, or enqueue another", ErrState, excerpt.Of(text(f[7]), 80), excerpt.Of(text(f[1]), 80))
	}
	if text(f[6]) == "0" {
		return Enqueued{}, fmt.Errorf("%w job: its input never arrived; upload it again", ErrInvalid)
	}
	if f[0] == nil && f[8] != nil {
		return Enqueued{}, fmt.Errorf("%w: its payload is no longer kept; enqueue it again, or upload its input again", ErrState)
	}
	if f[0] == nil {
		return Enqueued{}, fmt.Errorf("%w job: Redis has lost what was to be done; enqueue it again", ErrInvalid)
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(text(f[i]))
		return n
	}
	s := Spec{Topic: v.Topic, Type: old.Type, Title: old.Title, Labels: old.Labels, Payload: []byte(text(f[0])), Queue: text(f[1]), MaxAttempts: number(2)}
	now := e.Now()
	o, t, err := making(s, newJobID(id.Shard(), now), now, origin{retryOf: id})
	if err != nil {
		return Enqueued{}, err
	}
	o.key = "retry:" + string(id) + ":" + q.Key
	share, checkpoint := number(5), f[3] != nil && !q.FromStart
	if share > 0 {
		o.fields, o.tenths = append(o.fields, "rs", share), 10*share
	}
	if checkpoint {
		o.fields, o.tenths = append(o.fields, "cp", text(f[3])), number(4)
	}
	if share > 0 || checkpoint {
		o.fields = append(o.fields, "cc", o.tenths)
	}
	var done Enqueued
	err = e.patiently(ctx, func() (err error) {
		done, err = e.make(ctx, o, t)
		return err
	})
	return done, err
}

// Retryable tells which of jobs are live or can be tried again, in their order: those that
// may still read what their payloads name. It takes a round trip for 250 of them. Its error
// wraps ErrUnreachable.
func (e *Engine) Retryable(ctx context.Context, ids []JobID) ([]bool, error) {
	able := make([]bool, 0, len(ids))
	for chunk := range slices.Chunk(ids, 250) {
		pipe := e.redis.Pipeline()
		jobs, shelves := make([]*redis.SliceCmd, len(chunk)), make([]*redis.IntCmd, len(chunk))
		for i, id := range chunk {
			if e.keys.holds(id) {
				jobs[i] = pipe.HMGet(ctx, e.keys.job(id), "st", "pl")
				shelves[i] = pipe.Exists(ctx, e.keys.shelf(id))
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, failure("read jobs", err)
		}
		for i, job := range jobs {
			if job == nil {
				able = append(able, false)
				continue
			}
			state := State(text(job.Val()[0]))
			live := state != "" && !state.Ended()
			able = append(able, live || job.Val()[1] != nil || shelves[i].Val() > 0)
		}
	}
	return able, nil
}
