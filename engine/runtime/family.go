package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Family is the state of a parent's last fan-out.
type Family struct {
	FanOut string // "" if there was none
	wire.Children
	// Names identifies the children's names of the FanOut that the caller asked for; "" if it was
	// never planned, or by a version that recorded no names.
	Names string
}

// Family reads the state of a job's last fan-out, and the names of fanOut's children; fanOut may be
// an earlier one. Its error wraps ErrNotFound or ErrUnreachable.
func (rt *Runtime) Family(ctx context.Context, id wire.JobID, fanOut string) (Family, error) {
	if !rt.g.Keys.Holds(id) {
		return Family{}, wire.ErrNotFound
	}
	f, err := rt.g.Redis.HMGet(ctx, rt.g.Keys.Job(id), "st", "kx", "kn", "ke", "kf", "n:"+fanOut).Result()
	if err != nil {
		return Family{}, ground.Failure("read the children of job "+string(id), err)
	}
	if f[0] == nil {
		return Family{}, wire.ErrNotFound
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(ground.Text(f[i]))
		return n
	}
	return Family{FanOut: ground.Text(f[1]), Children: wire.Children{Count: number(2), Ended: number(3), Failed: number(4)}, Names: ground.Text(f[5])}, nil
}

// inParallel calls do for each item, up to most at a time, and returns the first error.
func inParallel[T any](ctx context.Context, most int, items []T, do func(context.Context, T) error) error {
	var all sync.WaitGroup
	var once sync.Once
	var first error
	slots := make(chan struct{}, most)
	for _, item := range items {
		if ctx.Err() != nil {
			once.Do(func() { first = context.Cause(ctx) })
			break
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := do(ctx, item); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	all.Wait()
	return first
}

// Spawned reports which children of a fan-out were ever created, in the order of names, including
// those that have expired since they ended. Its error wraps ErrUnreachable.
func (rt *Runtime) Spawned(ctx context.Context, parent wire.JobID, fanOut string, names []string) ([]bool, error) {
	const page = 500
	pipe := rt.g.Redis.Pipeline()
	var cmds []*redis.SliceCmd
	for chunk := range slices.Chunk(names, page) {
		args := make([]any, 0, 2+len(chunk))
		args = append(args, "ZMSCORE", rt.g.Keys.Children(parent))
		for _, name := range chunk {
			args = append(args, string(ChildID(parent, fanOut, name)))
		}
		cmd := redis.NewSliceCmd(ctx, args...) // redis.FloatSliceCmd turns a missing value into 0
		_ = pipe.Process(ctx, cmd)             // cmd has its own error
		cmds = append(cmds, cmd)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, ground.Failure("read the children of job "+string(parent), err)
	}
	made := make([]bool, 0, len(names))
	for _, c := range cmds {
		for _, score := range c.Val() {
			made = append(made, score != nil)
		}
	}
	return made, nil
}

// SpawnedOthers returns up to most names of children that a fan-out has created and that are not in
// names. A child that has expired has no name any more. It reads all children, so callers use it
// only to explain an error. Its error wraps ErrUnreachable.
func (rt *Runtime) SpawnedOthers(ctx context.Context, parent wire.JobID, fanOut string, names []string, most int) ([]string, error) {
	named := make(map[string]bool, len(names))
	for _, name := range names {
		named[string(ChildID(parent, fanOut, name))] = true
	}
	var beside []string
	const page = 500
	for from := int64(0); len(beside) < most; from += page {
		found, err := rt.g.Redis.ZRange(ctx, rt.g.Keys.Children(parent), from, from+page-1).Result()
		if err != nil {
			return nil, ground.Failure("list the children of job "+string(parent), err)
		}
		pipe := rt.g.Redis.Pipeline()
		var cmds []*redis.StringCmd
		for _, id := range found {
			if !named[id] {
				cmds = append(cmds, pipe.HGet(ctx, rt.g.Keys.Job(wire.JobID(id)), "pn"))
			}
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return nil, ground.Failure("read the children of job "+string(parent), err)
		}
		for _, c := range cmds {
			if name, own := strings.CutPrefix(c.Val(), fanOut+"/"); own && len(beside) < most {
				beside = append(beside, name)
			}
		}
		if len(found) < page {
			break
		}
	}
	return beside, nil
}

// Outcomes reads children of a fan-out, in the order of their names. A child that was never
// created, or has expired since it ended, is a zero Job. Its error wraps ErrUnreachable.
func (rt *Runtime) Outcomes(ctx context.Context, parent wire.JobID, fanOut string, names []string) ([]wire.Job, error) {
	ids := make([]wire.JobID, len(names))
	for i, name := range names {
		ids[i] = ChildID(parent, fanOut, name)
	}
	views, err := rt.g.Views(ctx, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[wire.JobID]wire.Job, len(views))
	for _, v := range views {
		if found[v.ID], err = v.Job(); err != nil {
			return nil, fmt.Errorf("child %s of job %s: %w", v.ID, parent, err)
		}
	}
	jobs := make([]wire.Job, len(ids))
	for i, id := range ids {
		jobs[i] = found[id]
	}
	return jobs, nil
}

// cutTend cuts the jobs that need a follow-up off an answer of commit.lua.
func cutTend(answer string) (string, []wire.JobID) {
	answer, list, found := strings.Cut(answer, "\t")
	if !found {
		return answer, nil
	}
	var ids []wire.JobID
	for id := range strings.FieldsSeq(list) {
		ids = append(ids, wire.JobID(id))
	}
	return answer, ids
}
