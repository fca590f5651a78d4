package runtime

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Bounds of a slice of children. One call of the commit script makes a slice; the reports of others
// go between two slices. spawners is how many tasks of a slice the engine dispatches at a time,
// since asynq takes one a round trip.
const (
	sliceChildren = 64
	sliceBytes    = 256 << 10
	spawners      = 16
)

// Spawn creates the children of a planned fan-out, as PlanFanOut returned them, and dispatches them,
// slice by slice. fence is the parent's: a superseded run creates no more. Children that exist
// stay as they are; Spawn dispatches those of them that wait again. depth is the parent's. Errors
// to branch on: ErrInvalid, ErrSuperseded, ErrLimit, ErrUnreachable, ErrOutOfMemory. After an error
// some of the children may exist, and the caller may repeat the call.
func (rt *Runtime) Spawn(ctx context.Context, parent wire.JobID, fence Fence, depth int, fanOut string, children []Child) error {
	fail := func(err error) error { return fmt.Errorf("make children of job %s: %w", parent, err) }
	if depth+1 > MaxChildDepth {
		return fail(fmt.Errorf("%w depth %d: children of children end at %d", wire.ErrInvalid, depth+1, MaxChildDepth))
	}
	now := rt.g.Now()
	slice, tasks := &ground.Submission{Shard: parent.Shard()}, make([]task, 0, sliceChildren)
	var late error
	flush := func() error {
		answers, err := rt.submitAndWait(ctx, slice)
		if err := errors.Join(err, refusedAny(answers)); err != nil {
			return err
		}
		if err := inParallel(ctx, spawners, tasks, rt.dispatch); err != nil {
			late = err
		}
		slice, tasks = &ground.Submission{Shard: parent.Shard()}, tasks[:0]
		return nil
	}
	size := 0
	for _, c := range children {
		o, t, err := making(c.Spec, ChildID(parent, fanOut, c.Name), now, origin{parent: parent})
		if err != nil {
			return fail(err)
		}
		o.fields = append(o.fields, "pa", string(parent), "pn", fanOut+"/"+c.Name, "pw", c.Weight, "pi", c.place, "pd", depth+1,
			"@parent", strconv.Itoa(fence.Attempt)+"."+fence.Token)
		if c.Optional {
			o.fields = append(o.fields, "po", 1)
		}
		if err := rt.admitQueue(ctx, t.queue); err != nil {
			return fail(err)
		}
		own := ground.Submission{Args: o.encode(nil)}
		if slice.Reports == sliceChildren || slice.Reports > 0 && size+own.Bytes() > sliceBytes {
			if err := flush(); err != nil {
				return fail(err)
			}
			size = 0
		}
		size += own.Bytes()
		slice.Reports++
		slice.Args = append(slice.Args, own.Args...)
		tasks = append(tasks, t)
	}
	if slice.Reports > 0 {
		if err := flush(); err != nil {
			return fail(err)
		}
	}
	if late != nil {
		// They exist; the reconciler of any worker dispatches them.
		rt.g.Opts.Logger.Warn("cannot hand some children to asynq; a reconciler does so later", "parent", parent, "error", late)
	}
	return nil
}

// submitAndWait commits operations and returns their answers. It does not wait for replicas.
func (rt *Runtime) submitAndWait(ctx context.Context, s *ground.Submission) ([]any, error) {
	type reply struct {
		answers []any
		err     error
	}
	answered := make(chan reply, 1)
	s.Done = func(answers []any, err error) { answered <- reply{answers, err} }
	if err := rt.g.Commits.Add(s); err != nil {
		return nil, err
	}
	select {
	case r := <-answered:
		if errors.Is(r.err, wire.ErrUnreplicated) {
			r.err = nil
		}
		return r.answers, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func refusedAny(answers []any) error {
	for _, a := range answers {
		if _, err := readResult(ground.Text(a)); err != nil {
			return err
		}
	}
	return nil
}
