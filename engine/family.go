package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// Bounds of a fan-out. The sum of the weights times a thousand tenths, twice over, stays
// a whole number in a double, in which the script counts.
const (
	MaxChildren      = 100_000
	MaxChildWeight   = 10_000
	MaxChildDepth    = 8
	maxChildNameSize = 128
)

var fanOutForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// A Child is a job that a run makes for a part of its own work.
type Child struct {
	// Name tells the child from its siblings, and makes it the same job whenever the fan-out
	// is repeated: 1 to 128 bytes. Required.
	Name string
	// Spec is the job. Its Topic is the parent's, and may be left out; it has no Key.
	Spec Spec
	// Weight is its share of the fan-out's part of the bar against its siblings', 1 to
	// 10,000. Defaults to 1.
	Weight int
	// Optional lets the parent go on when the child fails or is canceled. Otherwise the
	// parent fails with it, with code "child_failed", and its siblings are canceled.
	Optional bool

	place int // among its siblings
}

// A FanOut is the plan of a run's children. It is fixed before the first of them is
// made, so that what a child adds to the bar never changes.
type FanOut struct {
	// Name: [a-z0-9][a-z0-9._-]{0,63}. The next fan-out of a job has another one.
	Name string
	// Count is how many children there will be, Weight the sum of their weights.
	Count, Weight int
	// From and To, in tenths, are where in the parent's bar the children begin and end.
	From, To int
}

func (f *FanOut) validate() error {
	if !fanOutForm.MatchString(f.Name) {
		return fmt.Errorf("%w fan-out name %q: want [a-z0-9][a-z0-9._-]{0,63}", ErrInvalid, clip(f.Name, 80))
	}
	return errors.Join(
		option.Within("number of children", f.Count, 1, MaxChildren),
		option.Within("sum of weights", f.Weight, f.Count, f.Count*MaxChildWeight),
		option.Within("From", f.From, 0, f.To),
		option.Within("To", f.To, 0, 1000),
	)
}

func (f *FanOut) encode() string {
	return fmt.Sprintf("%s %d %d %d %d", f.Name, f.Count, f.Weight, f.From, f.To)
}

// PlanFanOut checks children, gives them their defaults and their parent's topic, and
// returns them with the plan of their fan-out, whose place in the bar is open. Its error
// wraps ErrInvalid or ErrInvalidTopic, and names the child.
func PlanFanOut(name string, topic Topic, children []Child) ([]Child, FanOut, error) {
	plan := FanOut{Name: name, Count: len(children)}
	complete := make([]Child, len(children))
	names := make(map[string]bool, len(children))
	for i, c := range children {
		fail := func(err error) ([]Child, FanOut, error) {
			return nil, FanOut{}, fmt.Errorf("child %d, %q: %w", i, clip(c.Name, 80), err)
		}
		option.Default(&c.Weight, 1)
		option.Default(&c.Spec.Topic, topic)
		if err := errors.Join(
			option.Within("length of Name in bytes", len(c.Name), 1, maxChildNameSize),
			option.Within("Weight", c.Weight, 1, MaxChildWeight),
		); err != nil {
			return fail(err)
		}
		switch {
		case names[c.Name]:
			return fail(fmt.Errorf("%w Name: another child has it", ErrInvalid))
		case c.Spec.Topic != topic:
			return fail(fmt.Errorf("%w Topic %q: want the parent's, %s, or none", ErrInvalid, clip(string(c.Spec.Topic), 80), topic))
		case c.Spec.Key != "":
			return fail(fmt.Errorf("%w Key: a child's name is its key", ErrInvalid))
		}
		// A deadline may have passed when a fan-out is repeated: Spawn refuses it where
		// the child is not made.
		timeless := c.Spec
		timeless.Deadline = time.Time{}
		if err := timeless.Validate(); err != nil {
			return fail(err)
		}
		c.place = i
		names[c.Name] = true
		plan.Weight += c.Weight
		complete[i] = c
	}
	plan.To = 1000
	return complete, plan, plan.validate()
}

// ChildID is the ID of a parent's child: its parent, the fan-out and its name decide it, so
// a fan-out that is repeated makes no child twice. parent must be well-formed.
func ChildID(parent JobID, fanOut, name string) JobID {
	return derivedJobID(parent.shard(), parent.Time(), "child\x00"+string(parent)+"\x00"+fanOut+"\x00"+name)
}

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
