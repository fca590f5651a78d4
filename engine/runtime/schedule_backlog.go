package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// A schedule's backlog is the jobs of its ticks that have not ended: a sorted set by tick in its
// topic's shard. It may hold more than Options.ScheduleJobs, since that bounds the waiting ones.

// maxBacklog bounds what is remembered; older jobs are left out.
func (rt *Runtime) maxBacklog() int { return 2*rt.g.Opts.ScheduleJobs + wire.MaxMissed }

// waits returns the jobs of a schedule that wait for a worker or are paused. It removes those that
// have ended from the backlog.
func (rt *Runtime) waits(ctx context.Context, s wire.Schedule) (map[wire.JobID]bool, error) {
	found, err := rt.g.Redis.ZRange(ctx, rt.g.Keys.Backlog(s), 0, -1).Result()
	if err != nil {
		return nil, ground.Failure("read the schedule's jobs", err)
	}
	ids := make([]wire.JobID, len(found))
	for i, id := range found {
		ids[i] = wire.JobID(id)
	}
	stand, err := rt.Attempts(ctx, ids)
	if err != nil {
		return nil, err
	}
	wait, ended := map[wire.JobID]bool{}, []any{}
	for _, a := range stand {
		switch {
		case a.State == "" || a.State.Ended():
			ended = append(ended, string(a.Job))
		case a.Waiting, a.State == wire.Paused:
			wait[a.Job] = true
		}
	}
	if len(ended) == 0 {
		return wait, nil
	}
	return wait, ground.Failure("forget the schedule's ended jobs", rt.g.Redis.ZRem(ctx, rt.g.Keys.Backlog(s), ended...).Err())
}

// crowd returns ErrLimit while too many jobs of other ticks wait, so that the ticks make none.
func (rt *Runtime) crowd(ctx context.Context, s wire.Schedule, ticks []time.Time) error {
	wait, err := rt.waits(ctx, s)
	if err != nil {
		return err
	}
	for _, at := range ticks { // another worker may have made them
		delete(wait, tickID(ground.ShardOf(s.Topic, rt.g.Opts.Shards), ground.ScheduleField(s), at))
	}
	if len(wait) >= rt.g.Opts.ScheduleJobs {
		return fmt.Errorf("%w: %d of the schedule's jobs wait in queue %s, which is the most; its ticks are skipped until fewer do", wire.ErrLimit, rt.g.Opts.ScheduleJobs, s.Queue)
	}
	return nil
}

// noteTicks records the jobs that a schedule's ticks have made, and in held why they made none, for
// lists of schedules; nil if they made some.
func (rt *Runtime) noteTicks(ctx context.Context, s wire.Schedule, jobs []wire.JobID, held error) error {
	pipe := rt.g.Redis.Pipeline()
	if len(jobs) > 0 {
		made := make([]redis.Z, len(jobs))
		for i, id := range jobs {
			made[i] = redis.Z{Score: float64(id.Time().UnixMilli()), Member: string(id)}
		}
		key := rt.g.Keys.Backlog(s)
		pipe.ZAdd(ctx, key, made...)
		pipe.ZRemRangeByRank(ctx, key, 0, int64(-1-rt.maxBacklog()))
		pipe.PExpire(ctx, key, rt.g.Opts.Retention)
	}
	if held != nil {
		pipe.HSet(ctx, rt.g.Keys.Held(), ground.ScheduleField(s), excerpt.Of(held.Error(), 300))
	} else {
		pipe.HDel(ctx, rt.g.Keys.Held(), ground.ScheduleField(s))
	}
	_, err := pipe.Exec(ctx)
	return ground.Failure("note the schedule's jobs", err)
}

// heldBack sets Err of those schedules whose ticks make no jobs and that have no other error.
func (rt *Runtime) heldBack(ctx context.Context, all []wire.Scheduled) error {
	if len(all) == 0 {
		return nil
	}
	fields := make([]string, len(all))
	for i, s := range all {
		fields[i] = ground.ScheduleField(s.Schedule)
	}
	why, err := rt.g.Redis.HMGet(ctx, rt.g.Keys.Held(), fields...).Result()
	if err != nil {
		return ground.Failure("read schedules", err)
	}
	for i, text := range why {
		if text, held := text.(string); held && all[i].Err == nil {
			all[i].Err = errors.New(text)
		}
	}
	return nil
}

// letGo forgets why a schedule's ticks made no jobs.
func (rt *Runtime) letGo(ctx context.Context, field string) error {
	return ground.Failure("note the schedule", rt.g.Redis.HDel(ctx, rt.g.Keys.Held(), field).Err())
}
