package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Family is where a parent's last fan-out stands.
type Family struct {
	FanOut string // "": it had none
	Children
}

// Family reads where a job's last fan-out stands. Its error wraps ErrNotFound or
// ErrUnreachable.
func (e *Engine) Family(ctx context.Context, id JobID) (Family, error) {
	if !e.keys.holds(id) {
		return Family{}, ErrNotFound
	}
	f, err := e.redis.HMGet(ctx, e.keys.job(id), "st", "kx", "kn", "ke", "kf").Result()
	if err != nil {
		return Family{}, failure("read the children of job "+string(id), err)
	}
	if f[0] == nil {
		return Family{}, ErrNotFound
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(text(f[i]))
		return n
	}
	return Family{FanOut: text(f[1]), Children: Children{Count: number(2), Ended: number(3), Failed: number(4)}}, nil
}

// spawnBatch is how many children one submission makes, and spawners how many tasks are
// handed to asynq at a time, which takes one a round trip.
const (
	spawnBatch = 32
	spawners   = 16
)

// Spawn makes children, as PlanFanOut returned them, of a fan-out that was planned, and hands them to asynq. parent is the
// run's fence: once it is superseded it makes no more. Children that exist stay as they
// are, and those of them that wait are handed over again. depth is the parent's. Errors to
// branch on: ErrInvalid, ErrSuperseded, ErrUnreachable, ErrOutOfMemory; some of the
// children may have been made then, and the call may be repeated.
func (e *Engine) Spawn(ctx context.Context, parent JobID, fence Fence, depth int, fanOut string, children []Child) error {
	fail := func(err error) error { return fmt.Errorf("make children of job %s: %w", parent, err) }
	if depth+1 > MaxChildDepth {
		return fail(fmt.Errorf("%w depth %d: children of children end at %d", ErrInvalid, depth+1, MaxChildDepth))
	}
	now := time.Now()
	tasks := make([]task, len(children))
	var batches []*submission
	answered := make(chan error, len(children)/spawnBatch+1)
	for i, c := range children {
		o, t, err := c.Spec.making(ChildID(parent, fanOut, c.Name), now, origin{parent: parent})
		if err != nil {
			return fail(err)
		}
		o.fields = append(o.fields, "pa", string(parent), "pw", c.Weight, "pi", c.place, "pd", depth+1,
			"@parent", strconv.Itoa(fence.Attempt)+"."+fence.Token)
		if c.Optional {
			o.fields = append(o.fields, "po", 1)
		}
		tasks[i] = t
		if i%spawnBatch == 0 {
			batches = append(batches, &submission{shard: parent.shard(), milestone: true, done: func(answers []any, err error) {
				answered <- errors.Join(err, refusedAny(answers))
			}})
		}
		b := batches[len(batches)-1]
		b.reports++
		b.args = o.encode(b.args)
	}
	for _, b := range batches {
		if err := e.commits.add(b); err != nil {
			return fail(err)
		}
	}
	var made error
	for range batches {
		select {
		case err := <-answered:
			if err != nil && !errors.Is(err, ErrUnreplicated) && made == nil {
				made = err
			}
		case <-ctx.Done():
			return fail(context.Cause(ctx))
		}
	}
	if made != nil {
		return fail(made)
	}
	err := inParallel(ctx, spawners, tasks, e.dispatch)
	if err != nil {
		// They stand; the reconciler of any worker will hand them over.
		e.opts.Logger.Warn("some children are not yet handed to asynq", "parent", parent, "error", err)
	}
	return nil
}

func refusedAny(answers []any) error {
	for _, a := range answers {
		if _, err := readResult(text(a)); err != nil {
			return err
		}
	}
	return nil
}

// inParallel calls do for each of items, some at a time, and returns the first error.
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

// Made tells which children of a fan-out were ever made, in the order of their names, also
// of those that were forgotten since they ended. Its error wraps ErrUnreachable.
func (e *Engine) Made(ctx context.Context, parent JobID, fanOut string, names []string) ([]bool, error) {
	const page = 500
	pipe := e.redis.Pipeline()
	var cmds []*redis.SliceCmd
	for chunk := range slices.Chunk(names, page) {
		args := make([]any, 0, 2+len(chunk))
		args = append(args, "ZMSCORE", e.keys.children(parent))
		for _, name := range chunk {
			args = append(args, string(ChildID(parent, fanOut, name)))
		}
		cmd := redis.NewSliceCmd(ctx, args...) // redis.FloatSliceCmd makes 0 of what is missing
		_ = pipe.Process(ctx, cmd)             // it has its own error
		cmds = append(cmds, cmd)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, failure("read the children of job "+string(parent), err)
	}
	made := make([]bool, 0, len(names))
	for _, c := range cmds {
		for _, score := range c.Val() {
			made = append(made, score != nil)
		}
	}
	return made, nil
}

// Outcomes reads children of a fan-out, in the order of their names; a zero Job for one
// that was never made, or was forgotten since it ended. Its error wraps ErrUnreachable.
func (e *Engine) Outcomes(ctx context.Context, parent JobID, fanOut string, names []string) ([]Job, error) {
	ids := make([]JobID, len(names))
	for i, name := range names {
		ids[i] = ChildID(parent, fanOut, name)
	}
	views, err := e.views(ctx, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[JobID]Job, len(views))
	for _, v := range views {
		if found[v.ID], err = v.Job(); err != nil {
			return nil, fmt.Errorf("child %s of job %s: %w", v.ID, parent, err)
		}
	}
	jobs := make([]Job, len(ids))
	for i, id := range ids {
		jobs[i] = found[id]
	}
	return jobs, nil
}

// eachChild calls do for the live children of a job, some at a time. Those that end
// meanwhile are no error, and nobody was promised how many replicas hold what do asks.
func (e *Engine) eachChild(ctx context.Context, parent JobID, do func(context.Context, JobID) error) error {
	const page = 500
	for from := int64(0); ; from += page {
		found, err := e.redis.ZRange(ctx, e.keys.children(parent), from, from+page-1).Result()
		if err != nil {
			return failure("list the children of job "+string(parent), err)
		}
		ids := make([]JobID, len(found))
		for i, id := range found {
			ids[i] = JobID(id)
		}
		states, err := e.States(ctx, ids)
		if err != nil {
			return err
		}
		live := ids[:0]
		for i, s := range states {
			if s != "" && !s.Ended() {
				live = append(live, ids[i])
			}
		}
		err = inParallel(ctx, 2*spawners, live, func(ctx context.Context, id JobID) error {
			err := do(ctx, id)
			if errors.Is(err, ErrEnded) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnreplicated) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if len(found) < page {
			return nil
		}
	}
}

// cutTend takes the jobs that somebody must see to off an answer of commit.lua.
func cutTend(answer string) (string, []JobID) {
	answer, list, found := strings.Cut(answer, "\t")
	if !found {
		return answer, nil
	}
	var ids []JobID
	for id := range strings.FieldsSeq(list) {
		ids = append(ids, JobID(id))
	}
	return answer, ids
}

// Tend sees to a job that an Ack names: a parent whose children have ended is handed to
// asynq, and the children of one that has ended or is being canceled are canceled. When
// it fails the workers' heartbeats and reconcilers come to the same, later. Its error
// wraps ErrUnreachable.
func (e *Engine) Tend(ctx context.Context, id JobID) error { return e.tend(ctx, id) }

func (e *Engine) tend(ctx context.Context, id JobID) error {
	a, err := e.Current(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrEnded), err == nil && a.Canceling:
		return e.eachChild(ctx, id, e.Cancel)
	case err != nil:
		return err
	case a.Waiting:
		return e.handOn(ctx, a)
	}
	return nil
}

func (e *Engine) tendAll(ctx context.Context, ids []JobID) {
	for _, id := range ids {
		if err := e.tend(ctx, id); err != nil {
			e.opts.Logger.Warn("a job's children, or the job that waited for them, are seen to later", "job", id, "error", err)
		}
	}
}
