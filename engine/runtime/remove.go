package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Remove is that of engine.Engine.
func (rt *Runtime) Remove(ctx context.Context, id wire.JobID) error {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return err
	}
	if err := rt.remove(ctx, id); err != nil {
		return fmt.Errorf("remove job %s: %w", id, err)
	}
	return nil
}

// remove removes the children first: while some are left, so is the job, and a call that was cut
// short can be repeated.
func (rt *Runtime) remove(ctx context.Context, id wire.JobID) error {
	found, err := rt.Attempts(ctx, []wire.JobID{id})
	if err != nil {
		return err
	}
	a := found[0]
	if a.State == "" {
		return wire.ErrNotFound
	}
	// A job that must stay keeps its children.
	if _, err := rt.operate(ctx, removal(a, "@ask", 1)); err != nil {
		return removable(a, err)
	}
	if a.Parent {
		if err := rt.familyEnded(ctx, id); err != nil {
			return err
		}
		if err := rt.removeChildren(ctx, id); err != nil {
			return err
		}
	}
	if err := rt.forgetTasks(ctx, found); err != nil {
		return err
	}
	o := removal(a)
	o.key = ground.NewKey()
	var r result
	err = rt.g.Patiently(ctx, func() (err error) {
		r, err = rt.operate(ctx, o)
		return err
	})
	return cmp.Or(removable(a, err), r.standing)
}

func removal(a Attempt, fields ...any) operation {
	return operation{kind: wire.JobRemoved, topic: a.Topic, job: a.Job, attempt: -1, fields: fields}
}

// removable says what makes a job removable that is not.
func removable(a Attempt, err error) error {
	if errors.Is(err, wire.ErrState) && !a.State.Ended() {
		return fmt.Errorf("%w, and only a job that has ended is removed; cancel it, or wait for its end", err)
	}
	return err
}

// familyEnded refuses a job of whose children, or theirs, one lives. That of an ended job is about to
// be canceled.
func (rt *Runtime) familyEnded(ctx context.Context, parent wire.JobID) error {
	for from := int64(0); ; from += cascadePage {
		children, err := rt.children(ctx, parent, from, cascadePage)
		if err != nil {
			return err
		}
		for _, a := range children {
			switch {
			case a.State != "" && !a.State.Ended():
				return fmt.Errorf("%w: its child %s is %s; try again once that has ended", wire.ErrState, a.Job, a.State)
			case a.Parent:
				if err := rt.familyEnded(ctx, a.Job); err != nil {
					return err
				}
			}
		}
		if len(children) < cascadePage {
			return nil
		}
	}
}

// children reads some of a job's children, in their order.
func (rt *Runtime) children(ctx context.Context, parent wire.JobID, from, most int64) ([]Attempt, error) {
	found, err := rt.g.Redis.ZRange(ctx, rt.g.Keys.Children(parent), from, from+most-1).Result()
	if err != nil {
		return nil, ground.Failure("list the children of job "+string(parent), err)
	}
	ids := make([]wire.JobID, len(found))
	for i, id := range found {
		ids[i] = wire.JobID(id)
	}
	return rt.Attempts(ctx, ids)
}

// removeChildren removes the children of an ended job, and theirs, a slice at a time.
func (rt *Runtime) removeChildren(ctx context.Context, parent wire.JobID) error {
	for {
		children, err := rt.children(ctx, parent, 0, sliceChildren)
		if err != nil || len(children) == 0 {
			return err
		}
		var forgotten []any
		var leaves []Attempt
		for _, a := range children {
			switch {
			case a.State == "": // Redis has forgotten it
				forgotten = append(forgotten, string(a.Job))
			case a.Parent:
				if err := rt.remove(ctx, a.Job); err != nil && !errors.Is(err, wire.ErrNotFound) && !errors.Is(err, wire.ErrUnreplicated) {
					return fmt.Errorf("its child %s: %w", a.Job, err)
				}
			default:
				leaves = append(leaves, a)
			}
		}
		if len(forgotten) > 0 {
			if err := rt.g.Redis.ZRem(ctx, rt.g.Keys.Children(parent), forgotten...).Err(); err != nil {
				return ground.Failure("take forgotten children from job "+string(parent), err)
			}
		}
		if err := rt.removeLeaves(ctx, leaves); err != nil {
			return err
		}
	}
}

// removeLeaves removes jobs without children of their own, of one shard, in one commit.
func (rt *Runtime) removeLeaves(ctx context.Context, leaves []Attempt) error {
	if len(leaves) == 0 {
		return nil
	}
	if err := rt.forgetTasks(ctx, leaves); err != nil {
		return err
	}
	s := &ground.Submission{Shard: leaves[0].Job.Shard(), Reports: len(leaves), Milestone: true}
	for _, a := range leaves {
		o := removal(a)
		o.key = ground.NewKey()
		s.Args = o.encode(s.Args)
	}
	answers, err := rt.submitAndWait(ctx, s)
	if err != nil {
		return err
	}
	for i, answer := range answers {
		if _, err := readResult(ground.Text(answer)); err != nil && !errors.Is(err, wire.ErrNotFound) {
			return fmt.Errorf("its child %s: %w", leaves[i].Job, err)
		}
	}
	return nil
}

// forgetTasks deletes what asynq keeps of ended jobs' attempts: tasks in its archive. The task of an
// adopted job is the application's, and stays. A task that a worker is about to acknowledge is
// left to it.
func (rt *Runtime) forgetTasks(ctx context.Context, jobs []Attempt) error {
	type task struct{ queue, id string }
	var tasks []task
	for _, a := range jobs {
		if a.Adopted() || !a.State.Ended() {
			continue
		}
		for attempt := range a.Attempt {
			for _, queue := range []string{a.Queue, RescueQueue(a.Queue), TypeQueue(a.Queue, a.Type)} {
				tasks = append(tasks, task{queue, TaskID(a.Job, attempt+1)})
			}
		}
	}
	for chunk := range slices.Chunk(tasks, 500) {
		pipe := rt.g.Redis.Pipeline()
		there := make([]*redis.IntCmd, len(chunk))
		for i, t := range chunk {
			there[i] = pipe.Exists(ctx, rt.asynqKey(t.queue, "t:"+t.id))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return ground.Failure("look for tasks of removed jobs", err)
		}
		for i, t := range chunk {
			if there[i].Val() == 0 {
				continue
			}
			if err := rt.tasks.DeleteTask(rt.QueueName(t.queue), t.id); err != nil && ground.Away(err) {
				return ground.Failure("delete a task of a removed job", err)
			}
		}
	}
	return nil
}

// Removed lists the jobs that were removed at since or later, by Redis's clock, of those that ended
// jobs' retention still covers, and uploads of removed jobs that a job named until then. A caller
// that keeps files of jobs deletes those that nothing else refers to; see Pinned. It takes a call
// for each shard, in one round trip. Its error wraps ErrUnreachable.
func (rt *Runtime) Removed(ctx context.Context, since time.Time) ([]wire.JobID, error) {
	pipe := rt.g.Redis.Pipeline()
	lists := make([]*redis.StringSliceCmd, rt.g.Opts.Shards)
	for shard := range lists {
		lists[shard] = pipe.ZRangeByScore(ctx, rt.g.Keys.Removed(shard), &redis.ZRangeBy{Min: strconv.FormatInt(since.UnixMilli(), 10), Max: "+inf"})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, ground.Failure("list removed jobs", err)
	}
	var jobs []wire.JobID
	for _, list := range lists {
		for _, id := range list.Val() {
			jobs = append(jobs, wire.JobID(id))
		}
	}
	return jobs, nil
}

// WasRemoved reports whether a job of this ID was removed. Redis knows that for as long as it keeps ended
// jobs. Its error wraps ErrUnreachable.
func (rt *Runtime) WasRemoved(ctx context.Context, id wire.JobID) (bool, error) {
	err := rt.g.Redis.ZScore(ctx, rt.g.Keys.Removed(id.Shard()), string(id)).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, ground.Failure("look for job "+string(id)+" among the removed", err)
}
