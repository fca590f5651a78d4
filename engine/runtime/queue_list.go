package runtime

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// listQueues finds the queues of AllQueues. The caller holds the status.
//
// In the default namespace Tidemark's queues have plain names, like those of other programs. A queue
// is Tidemark's where its workers serve it, where it has a rescue queue, or where one of its jobs is
// found in it: the next to run, one that runs, or the next to come due. It is another program's
// where another program serves it, or one of that program's tasks is found there. It may be both.
func (rt *Runtime) listQueues(ctx context.Context) ([]QueueRef, error) {
	names := map[string]bool{} // without the namespace; without rescue and type queues of Tidemark's
	own, foreign := map[string]bool{}, map[string]bool{}
	add := func(name string) {
		plain, ours := rt.plainName(name)
		if ours {
			names[plain] = true
		}
	}
	for name := range rt.status.fleet.names {
		add(name)
	}
	for _, s := range rt.status.fleet.servers {
		for name := range s.queues {
			add(name)
		}
	}
	for name := range names {
		if of, jobType := companion(name); of != "" && jobType == "" {
			own[of] = true
		}
	}
	for name := range names {
		if of, _ := companion(name); own[of] {
			delete(names, name)
		}
	}
	for _, s := range rt.status.fleet.servers {
		for name := range names {
			if _, other := s.serves(rt.QueueName(name)); other {
				foreign[name] = true
			}
		}
	}
	if err := rt.seeTasks(ctx, names, own, foreign); err != nil {
		return nil, err
	}
	refs := make([]QueueRef, 0, len(own)+len(foreign))
	for name := range own {
		refs = append(refs, QueueRef{Name: name})
	}
	for name := range foreign {
		if rt.QueueName(name) == name { // another namespace's are no program's but Tidemark's
			refs = append(refs, QueueRef{Name: name, Foreign: true})
		}
	}
	slices.SortFunc(refs, func(a, b QueueRef) int {
		if a.Name == b.Name && a.Foreign {
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return refs, nil
}

// seeTasks notes whose tasks queues hold, by one of each kind.
func (rt *Runtime) seeTasks(ctx context.Context, names, own, foreign map[string]bool) error {
	pipe := rt.g.Redis.Pipeline()
	tasks := map[string][]*redis.StringCmd{}
	due := map[string]*redis.StringSliceCmd{}
	for name := range names {
		key := func(kind string) string { return rt.asynqKey(name, kind) }
		tasks[name] = []*redis.StringCmd{pipe.LIndex(ctx, key("pending"), -1), pipe.LIndex(ctx, key("active"), 0)}
		due[name] = pipe.ZRange(ctx, key("scheduled"), 0, 0)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return ground.Failure("read queues", err)
	}
	for name := range names {
		ids := due[name].Val()
		for _, c := range tasks[name] {
			if id := c.Val(); id != "" {
				ids = append(ids, id)
			}
		}
		for _, id := range ids {
			if rt.IsAttempt(id) && wire.CheckQueue(name) == nil {
				own[name] = true
			} else {
				foreign[name] = true
			}
		}
	}
	return nil
}
