package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// A schedule's backlog is the jobs of its ticks that have not ended, a zset by tick in its
// topic's shard. It may hold more than Options.ScheduleJobs, since running ones do not wait.

// maxBacklog bounds what is remembered; older jobs are left out.
func (o Options) maxBacklog() int { return 2*o.ScheduleJobs + MaxMissed }

// waits are the jobs of a schedule that wait for a worker, or for somebody to resume them. What
// has ended is forgotten.
func (e *Engine) waits(ctx context.Context, s Schedule) (map[JobID]bool, error) {
	found, err := e.redis.ZRange(ctx, e.keys.backlog(s), 0, -1).Result()
	if err != nil {
		return nil, failure("read the schedule's jobs", err)
	}
	ids := make([]JobID, len(found))
	for i, id := range found {
		ids[i] = JobID(id)
	}
	stand, err := e.Attempts(ctx, ids)
	if err != nil {
		return nil, err
	}
	wait, ended := map[JobID]bool{}, []any{}
	for _, a := range stand {
		switch {
		case a.State == "" || a.State.Ended():
			ended = append(ended, string(a.Job))
		case a.Waiting, a.State == Paused:
			wait[a.Job] = true
		}
	}
	if len(ended) == 0 {
		return wait, nil
	}
	return wait, failure("forget the schedule's ended jobs", e.redis.ZRem(ctx, e.keys.backlog(s), ended...).Err())
}

// crowd is why a schedule's ticks make no jobs at the moment, nil if they do: too many jobs of
// other ticks wait.
func (e *Engine) crowd(ctx context.Context, s Schedule, ticks []time.Time) error {
	wait, err := e.waits(ctx, s)
	if err != nil {
		return err
	}
	for _, at := range ticks { // another worker may have made them
		delete(wait, tickID(shardOf(s.Topic, e.opts.Shards), scheduleField(s), at))
	}
	if len(wait) >= e.opts.ScheduleJobs {
		return fmt.Errorf("%w: %d of the schedule's jobs wait in queue %s, which is the most; its ticks are skipped until fewer do", ErrLimit, e.opts.ScheduleJobs, s.Queue)
	}
	return nil
}

// noteTicks keeps what a schedule's ticks came to: the jobs that they have made, and why they
// make none, which its list shows; nil if they do.
func (e *Engine) noteTicks(ctx context.Context, s Schedule, jobs []JobID, held error) error {
	pipe := e.redis.Pipeline()
	if len(jobs) > 0 {
		made := make([]redis.Z, len(jobs))
		for i, id := range jobs {
			made[i] = redis.Z{Score: float64(id.Time().UnixMilli()), Member: string(id)}
		}
		key := e.keys.backlog(s)
		pipe.ZAdd(ctx, key, made...)
		pipe.ZRemRangeByRank(ctx, key, 0, int64(-1-e.opts.maxBacklog()))
		pipe.PExpire(ctx, key, e.opts.Retention)
	}
	if held != nil {
		pipe.HSet(ctx, e.keys.held(), scheduleField(s), excerpt.Of(held.Error(), 300))
	} else {
		pipe.HDel(ctx, e.keys.held(), scheduleField(s))
	}
	_, err := pipe.Exec(ctx)
	return failure("note the schedule's jobs", err)
}

// heldBack gives schedules that have no other trouble the reason for which their ticks make no
// jobs.
func (e *Engine) heldBack(ctx context.Context, all []Scheduled) error {
	if len(all) == 0 {
		return nil
	}
	fields := make([]string, len(all))
	for i, s := range all {
		fields[i] = scheduleField(s.Schedule)
	}
	why, err := e.redis.HMGet(ctx, e.keys.held(), fields...).Result()
	if err != nil {
		return failure("read schedules", err)
	}
	for i, text := range why {
		if text, held := text.(string); held && all[i].Err == nil {
			all[i].Err = errors.New(text)
		}
	}
	return nil
}

// letGo forgets why a schedule's ticks made no jobs.
func (e *Engine) letGo(ctx context.Context, field string) error {
	return failure("note the schedule", e.redis.HDel(ctx, e.keys.held(), field).Err())
}
