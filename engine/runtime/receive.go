package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// NewJobID returns an ID for a job of the topic that the caller will Receive. The caller may store
// input under the ID before the job exists. Its error wraps ErrInvalidTopic.
func (rt *Runtime) NewJobID(topic wire.Topic) (wire.JobID, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return "", err
	}
	return ground.NewJobID(ground.ShardOf(topic, rt.g.Opts.Shards), rt.g.Now()), nil
}

// Receive creates a job whose input is still arriving. The job is Receiving, under attempt 0, until
// Received queues it or it ends. id comes from NewJobID for the same topic. share is the part of
// the progress bar that the arrival fills, in percent, 1 to 90; the attempts fill the rest. idle,
// from 1 second to 30 days, is how long the receiver may go without a report before the job is
// given up: by the receiver while it runs, otherwise by any worker's reconciler, see
// ExpireReception. With idle 0 the job waits for its receiver without a bound. shown is what the
// job shows at first.
//
// The receiver reports with the returned fence, one report at a time. A receiver that takes over
// reads the fence with Receiver. In s, Delay and Deadline must be zero. Calls with the same topic
// and Key return the same job, as Key and KeyLife say; it is then Existing and has another ID than
// id. Receiving an ID again, after ErrUnreachable, creates no second job; Receiver then returns its
// fence. Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrLimit, ErrUnreachable,
// ErrOutOfMemory, and ErrUnreplicated, with which Receive has created the job and returns the
// fence.
func (rt *Runtime) Receive(ctx context.Context, id wire.JobID, s wire.Spec, share int, idle time.Duration, shown Shown) (wire.Enqueued, Fence, error) {
	fail := func(err error) (wire.Enqueued, Fence, error) {
		return wire.Enqueued{}, Fence{}, fmt.Errorf("receive %s for %s: %w", excerpt.Of(s.Type, 64), excerpt.Of(string(s.Topic), 64), err)
	}
	option.Default(&s.Queue, rt.g.Opts.DefaultQueue)
	s, err := s.Prepared()
	if err != nil {
		return fail(err)
	}
	fields, err := specFields(s, origin{})
	if err != nil {
		return fail(err)
	}
	first := Report{Type: wire.JobProgress, Shown: &shown}
	if err := errors.Join(option.Within("share", share, 1, 90), checkIdle(idle), first.validate()); err != nil {
		return fail(err)
	}
	if s.Delay != 0 || !s.Deadline.IsZero() {
		return fail(fmt.Errorf("%w Delay or Deadline: a job that is received has none", wire.ErrInvalid))
	}
	if !rt.g.Keys.Holds(id) || id.Shard() != ground.ShardOf(s.Topic, rt.g.Opts.Shards) {
		return fail(fmt.Errorf("%w ID %q: want one that NewJobID gave for the topic", wire.ErrInvalid, excerpt.Of(string(id), 80)))
	}
	fence := Fence{Token: ground.NewToken()}
	o := operation{
		kind: wire.JobReceiving, topic: s.Topic, job: id, attempt: 0, fence: "0." + fence.Token, shown: &shown,
		fields: append(fields, "rs", share, "il", idle.Milliseconds()),
	}
	if s.Key != "" {
		o.key = receiveKey(s.Topic, s.Key)
	}
	if err := rt.admitQueue(ctx, s.Queue); err != nil {
		return fail(err)
	}
	var r result
	err = rt.g.Patiently(ctx, func() (err error) {
		r, err = rt.operate(ctx, o)
		return err
	})
	if err != nil {
		return fail(err)
	}
	if r.job != id {
		return wire.Enqueued{ID: r.job, Topic: s.Topic, Existing: true}, Fence{}, nil
	}
	return wire.Enqueued{ID: id, Topic: s.Topic}, fence, r.standing
}

func checkIdle(idle time.Duration) error {
	if idle == 0 {
		return nil
	}
	return option.Within("idle", idle, time.Second, 30*24*time.Hour)
}

func receiveKey(topic wire.Topic, key string) string { return "receive:" + string(topic) + ":" + key }

// ReceivedAs finds the job that Receive created with a Key. Its error wraps ErrNotFound, also once
// the key is free again, ErrInvalidTopic or ErrUnreachable.
func (rt *Runtime) ReceivedAs(ctx context.Context, topic wire.Topic, key string) (wire.JobID, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return "", err
	}
	done, err := rt.g.Redis.Get(ctx, rt.g.Keys.Operation(topic, receiveKey(topic, key))).Result()
	if errors.Is(err, redis.Nil) {
		return "", wire.ErrNotFound
	}
	if err != nil {
		return "", ground.Failure("look up a key", err)
	}
	job, _, _ := strings.Cut(done, " ")
	return wire.JobID(job), nil
}

// A Reception is the state of a job whose input is arriving.
type Reception struct {
	Topic wire.Topic
	// Fence is the receiver's. Its Seq is that of the receiver's last report.
	Fence Fence
	// Share is the share given to Receive.
	Share int
}

// Receiver reads what a receiver needs to continue a reception. Its error wraps ErrNotFound,
// ErrEnded, ErrSuperseded when all input has arrived and the job is queued or further, or
// ErrUnreachable.
func (rt *Runtime) Receiver(ctx context.Context, id wire.JobID) (Reception, error) {
	if !rt.g.Keys.Holds(id) {
		return Reception{}, wire.ErrNotFound
	}
	f, err := rt.g.Redis.HMGet(ctx, rt.g.Keys.Job(id), "t", "st", "fk", "sq", "rs").Result()
	if err != nil {
		return Reception{}, ground.Failure("read job "+string(id), err)
	}
	switch state := wire.State(ground.Text(f[1])); {
	case state == "":
		return Reception{}, wire.ErrNotFound
	case state.Ended():
		return Reception{}, fmt.Errorf("%w: it is %s", wire.ErrEnded, state)
	case state != wire.Receiving:
		return Reception{}, fmt.Errorf("%w: the job is %s", ErrSuperseded, state)
	}
	r := Reception{Topic: wire.Topic(ground.Text(f[0]))}
	_, r.Fence.Token, _ = strings.Cut(ground.Text(f[2]), ".")
	r.Fence.Seq, _ = strconv.ParseUint(ground.Text(f[3]), 10, 64)
	r.Share, _ = strconv.Atoi(ground.Text(f[4]))
	return r, nil
}

// Received reports that a job's input has arrived: it queues the job and hands it to asynq. shown,
// if not nil, replaces what the job shows. Calling it again, from any process, is no error. Errors
// to branch on: ErrNotFound, ErrEnded, ErrUnreachable, ErrOutOfMemory, and ErrUnreplicated, with
// which the job is queued.
func (rt *Runtime) Received(ctx context.Context, id wire.JobID, shown *Shown) error {
	fail := func(err error) error { return fmt.Errorf("queue job %s, which was received: %w", id, err) }
	r, err := rt.Receiver(ctx, id)
	if err != nil && !errors.Is(err, ErrSuperseded) {
		return fail(err)
	}
	var done result
	if err == nil {
		done, err = rt.operate(ctx, operation{
			kind: wire.JobQueued, topic: r.Topic, job: id, attempt: 0, tenths: 10 * r.Share, shown: shown,
		})
		if err != nil && !errors.Is(err, ErrSuperseded) {
			return fail(err)
		}
	}
	if err := rt.dispatchAgain(ctx, id); err != nil && !errors.Is(err, wire.ErrEnded) && !errors.Is(err, wire.ErrNotFound) {
		// The job is queued; any worker's reconciler hands it to asynq.
		rt.g.Opts.Logger.Warn("cannot hand the job to asynq; a reconciler does so later", "job", id, "error", err)
	}
	if done.standing != nil {
		return fail(done.standing)
	}
	return nil
}

// CancelReception is Cancel for a job that is still Receiving. Errors to branch on: ErrSuperseded
// when the job is queued or further, and those of Cancel.
func (rt *Runtime) CancelReception(ctx context.Context, id wire.JobID) error {
	return rt.cancel(ctx, id, 0)
}

// ExpireReception fails a job that is still Receiving, with the code "upload_expired", because no
// input has arrived for idle. Its errors are those of Fail.
func (rt *Runtime) ExpireReception(ctx context.Context, id wire.JobID, idle time.Duration) error {
	return rt.Fail(ctx, id, 0, wire.JobError{Code: wire.CodeUploadExpired, Message: "nothing of the file has arrived for " + idle.String() + "; upload it again"})
}

// States reads the states of jobs, in their order; "" for a job that does not exist. One round trip
// reads 500. Its error wraps ErrUnreachable.
func (rt *Runtime) States(ctx context.Context, ids []wire.JobID) ([]wire.State, error) {
	states := make([]wire.State, 0, len(ids))
	for chunk := range slices.Chunk(ids, 500) {
		pipe := rt.g.Redis.Pipeline()
		cmds := make([]*redis.StringCmd, len(chunk))
		for i, id := range chunk {
			if rt.g.Keys.Holds(id) {
				cmds[i] = pipe.HGet(ctx, rt.g.Keys.Job(id), "st")
			}
		}
		_, _ = pipe.Exec(ctx) // each command's own error is read below
		for _, c := range cmds {
			if c == nil {
				states = append(states, "")
				continue
			}
			if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
				return nil, ground.Failure("read the states of jobs", err)
			}
			states = append(states, wire.State(c.Val()))
		}
	}
	return states, nil
}
