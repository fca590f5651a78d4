package runtime

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Retry is that of engine.Engine.
func (rt *Runtime) Retry(ctx context.Context, id wire.JobID, q wire.RetryQuery) (wire.Enqueued, error) {
	done, err := rt.retry(ctx, id, q)
	if err != nil {
		err = fmt.Errorf("retry job %s: %w", id, err)
	}
	return done, err
}

func (rt *Runtime) retry(ctx context.Context, id wire.JobID, q wire.RetryQuery) (wire.Enqueued, error) {
	v, err := rt.g.Job(ctx, id)
	if err != nil {
		return wire.Enqueued{}, err
	}
	old, err := v.Job()
	if err != nil {
		return wire.Enqueued{}, err
	}
	if err := option.Bytes("Key", len(q.Key), 256, "use a hash of it"); err != nil {
		return wire.Enqueued{}, err
	}
	if !old.State.Ended() {
		return wire.Enqueued{}, fmt.Errorf("%w: it is %s, and only a job that has ended is tried again; cancel it, or wait for its end", wire.ErrState, old.State)
	}
	pipe := rt.g.Redis.Pipeline()
	job := pipe.HMGet(ctx, rt.g.Keys.Job(id), "pl", "q", "ma", "cp", "cc", "rs", "at", "ai", "pk", "ca")
	shelf := pipe.HMGet(ctx, rt.g.Keys.Shelf(id), "pl", "cp", "ca")
	if _, err := pipe.Exec(ctx); err != nil {
		return wire.Enqueued{}, ground.Failure("read job "+string(id), err)
	}
	f := job.Val()
	if kept := shelf.Val(); kept[0] != nil {
		f[0], f[3], f[9] = kept[0], kept[1], kept[2]
	}
	if f[7] != nil {
		return wire.Enqueued{}, fmt.Errorf("%w: it was adopted, and asynq has its payload; run task %s of queue %s with asynq's tools, or enqueue another", wire.ErrState, excerpt.Of(ground.Text(f[7]), 80), excerpt.Of(ground.Text(f[1]), 80))
	}
	if ground.Text(f[6]) == "0" {
		return wire.Enqueued{}, fmt.Errorf("%w job: its input never arrived; upload it again", wire.ErrInvalid)
	}
	if f[0] == nil && f[8] != nil {
		return wire.Enqueued{}, fmt.Errorf("%w: its payload is no longer kept; enqueue it again, or upload its input again", wire.ErrState)
	}
	if f[0] == nil {
		return wire.Enqueued{}, fmt.Errorf("%w job: Redis has lost what was to be done; enqueue it again", wire.ErrInvalid)
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(ground.Text(f[i]))
		return n
	}
	s := wire.Spec{Topic: v.Topic, Type: old.Type, Title: old.Title, Labels: old.Labels, Payload: []byte(ground.Text(f[0])), Queue: ground.Text(f[1]), MaxAttempts: number(2)}
	now := rt.g.Now()
	o, t, err := making(s, ground.NewJobID(id.Shard(), now), now, origin{retryOf: id})
	if err != nil {
		return wire.Enqueued{}, err
	}
	o.fields = append(o.fields, "@heir", string(id))
	o.key = "retry:" + string(id) + ":" + q.Key
	share, checkpoint := number(5), f[3] != nil && !q.FromStart
	if share > 0 {
		o.fields, o.tenths = append(o.fields, "rs", share), 10*share
	}
	if checkpoint {
		o.fields, o.tenths = append(o.fields, "cp", ground.Text(f[3])), number(4)
		if state := ground.Text(f[9]); state != "" {
			o.fields = append(append(o.fields, "ca", state), pinArtifacts(state)...)
		}
	}
	if share > 0 || checkpoint {
		o.fields = append(o.fields, "cc", o.tenths)
	}
	var done wire.Enqueued
	err = rt.g.Patiently(ctx, func() (err error) {
		done, err = rt.make(ctx, o, t)
		return err
	})
	return done, err
}

// Retryable reports which of the jobs are live or can be retried, in their order: those may still
// read what their payloads name. It takes a round trip for 250 of them. The error wraps
// ErrUnreachable.
func (rt *Runtime) Retryable(ctx context.Context, ids []wire.JobID) ([]bool, error) {
	able := make([]bool, 0, len(ids))
	for chunk := range slices.Chunk(ids, 250) {
		pipe := rt.g.Redis.Pipeline()
		jobs, shelves := make([]*redis.SliceCmd, len(chunk)), make([]*redis.IntCmd, len(chunk))
		for i, id := range chunk {
			if rt.g.Keys.Holds(id) {
				jobs[i] = pipe.HMGet(ctx, rt.g.Keys.Job(id), "st", "pl")
				shelves[i] = pipe.Exists(ctx, rt.g.Keys.Shelf(id))
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, ground.Failure("read jobs", err)
		}
		for i, job := range jobs {
			if job == nil {
				able = append(able, false)
				continue
			}
			state := wire.State(ground.Text(job.Val()[0]))
			live := state != "" && !state.Ended()
			able = append(able, live || job.Val()[1] != nil || shelves[i].Val() > 0)
		}
	}
	return able, nil
}
