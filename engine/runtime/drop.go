package runtime

import (
	"context"
	"slices"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
)

// dropPage is how many entries of a list of pending tasks are looked at in one call, and how many
// tasks are taken out in one. fewTasks are taken out one by one, as asynq does it.
const (
	dropPage = 250
	fewTasks = 16
)

// drop takes the tasks of attempts that are not to run out of asynq. It is a tidying: a task
// that stays, as where the call is cut short, acknowledges itself.
func (rt *Runtime) drop(ctx context.Context, attempts []Attempt) error {
	if len(attempts) <= fewTasks {
		for _, a := range attempts {
			rt.withdraw(a)
		}
		return nil
	}
	queues := map[string][]string{}
	for _, a := range attempts {
		if !a.Parked.IsZero() {
			rt.withdraw(a)
			continue
		}
		queues[a.Queue] = append(queues[a.Queue], TaskID(a.Job, a.Attempt))
	}
	for queue, ids := range queues {
		left := make(map[string]bool, len(ids))
		for _, id := range ids {
			left[id] = true
		}
		for _, in := range []string{queue, RescueQueue(queue)} {
			if err := rt.dropPending(ctx, in, left); err != nil {
				return err
			}
		}
		delayed := slices.DeleteFunc(ids, func(id string) bool { return !left[id] })
		for _, in := range []string{queue, RescueQueue(queue)} {
			for page := range slices.Chunk(delayed, dropPage) {
				if _, err := rt.dropFrom(ctx, in, -1, -1, page); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// dropPending takes the tasks named out of the list of a queue's pending ones, and out of left.
// It walks from the newest on: what is enqueued meanwhile moves the others towards it, and what
// is taken by workers goes at the other end, so that none is passed by.
func (rt *Runtime) dropPending(ctx context.Context, queue string, left map[string]bool) error {
	for from := int64(0); len(left) > 0; {
		page, err := rt.g.Redis.LRange(ctx, rt.asynqKey(queue, "pending"), from, from+dropPage-1).Result()
		if err != nil {
			return ground.Failure("list pending tasks", err)
		}
		if len(page) == 0 {
			return nil
		}
		found := slices.DeleteFunc(slices.Clone(page), func(id string) bool { return !left[id] })
		dropped := int64(0)
		if len(found) > 0 {
			// Some may have moved on by what was enqueued since.
			if dropped, err = rt.dropFrom(ctx, queue, from, from+2*dropPage, found); err != nil {
				return err
			}
			if int(dropped) == len(found) {
				for _, id := range found {
					delete(left, id)
				}
			}
		}
		from += int64(len(page)) - dropped
	}
	return nil
}

func (rt *Runtime) dropFrom(ctx context.Context, queue string, from, to int64, ids []string) (int64, error) {
	keys := []string{rt.asynqKey(queue, "pending"), rt.asynqKey(queue, "scheduled")}
	args := []any{from, to}
	for _, id := range ids {
		keys = append(keys, rt.asynqKey(queue, "t:"+id))
		args = append(args, id)
	}
	n, err := rt.g.Scripts.Drop.Run(ctx, rt.g.Redis, keys, args...).Int64()
	return n, ground.Failure("take tasks out of asynq", err)
}
