package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A request to a parent also applies to its children, and to theirs. The commit that accepts a
// pause or a resume stores it as the parent's order; a cancel or an end follows from the parent's
// state. A cascade then goes over the children page by page. It commits a slice of them at a time,
// so that other commits come between. The call itself handles the first cascadeJobs; a goroutine of
// the engine handles the rest; reconcilers finish what that goroutine leaves.

// cascadeJobs is how many children a call waits for, cascadePage how many it reads at a time.
const (
	cascadeJobs = 500
	cascadePage = 250
)

// cascades are the cascades that go on after their call has returned.
type cascades struct {
	ended sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	running map[wire.JobID]*goingOn
}

type goingOn struct {
	again bool // another request came meanwhile
	stop  context.CancelFunc
}

// close stops the cascades, and returns when they have ended.
func (c *cascades) close() {
	c.mu.Lock()
	c.closed = true
	for _, g := range c.running {
		g.stop()
	}
	c.mu.Unlock()
	c.ended.Wait()
}

// FollowUp handles a job that an Ack names. It hands a parent whose children have ended to asynq,
// and has children follow the request to their parent, or cancels them if the parent has ended. Of
// many children only the first have followed when it returns. If it fails, the workers' heartbeats
// and reconcilers do the same later. Its error wraps ErrUnreachable.
func (rt *Runtime) FollowUp(ctx context.Context, id wire.JobID) error { return rt.tend(ctx, id) }

func (rt *Runtime) tend(ctx context.Context, id wire.JobID) error {
	all := &rt.cascades
	all.mu.Lock()
	running := all.running[id]
	if running != nil {
		running.again = true
	}
	all.mu.Unlock()
	if running != nil {
		return nil
	}
	c := rt.newCascade(id)
	if err := c.run(ctx, cascadeJobs); err != nil || len(c.stack) == 0 {
		return err
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.running[id] == nil && !all.closed {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		all.running[id] = &goingOn{stop: stop}
		all.ended.Go(func() {
			defer stop()
			rt.goOn(own, id, c)
		})
	}
	return nil
}

// goOn runs a cascade to its end, and once more if another call has requested it meanwhile.
func (rt *Runtime) goOn(ctx context.Context, id wire.JobID, c *cascade) {
	for again := true; again; c = rt.newCascade(id) {
		err := c.run(ctx, math.MaxInt)
		if err != nil && ctx.Err() == nil {
			rt.g.Opts.Logger.Warn("cannot update a job's children; a reconciler does so later", "job", id, "error", err)
		}
		all := &rt.cascades
		all.mu.Lock()
		g := all.running[id]
		again, g.again = g.again && err == nil, false
		if !again {
			delete(all.running, id)
		}
		all.mu.Unlock()
	}
}

// A cascade goes over families, the newest generation first.
type cascade struct {
	rt    *Runtime
	stack []generation
	stale []Attempt // whose tasks must not run
}

// A generation is the children of a job, and how many of them have followed.
type generation struct {
	parent wire.JobID
	what   string // the request that they follow; see asked
	from   int64
}

func (rt *Runtime) newCascade(of wire.JobID) *cascade {
	return &cascade{rt: rt, stack: []generation{{parent: of}}}
}

// run goes on until all children have followed, or until it has examined most of them.
func (c *cascade) run(ctx context.Context, most int) error {
	for len(c.stack) > 0 && most > 0 {
		n, err := c.page(ctx)
		if err != nil {
			return errors.Join(err, c.drop(ctx))
		}
		most -= n
	}
	return c.drop(ctx)
}

func (c *cascade) drop(ctx context.Context) error {
	stale := c.stale
	c.stale = nil
	return c.rt.DropTasks(ctx, stale)
}

// asked returns what the children of a job must follow: "cancel", an order of a commit, or "".
func (rt *Runtime) asked(ctx context.Context, id wire.JobID) (string, error) {
	a, err := rt.Current(ctx, id)
	switch {
	case errors.Is(err, wire.ErrNotFound), errors.Is(err, wire.ErrEnded), err == nil && a.Canceling:
		return "cancel", nil
	case err != nil:
		return "", err
	case a.Waiting: // the job's children have ended, or it was resumed
		return a.Order, rt.handOn(ctx, a)
	}
	return a.Order, nil
}

// page has the next children of the newest generation follow, and returns how many it examined.
func (c *cascade) page(ctx context.Context) (int, error) {
	rt, top := c.rt, len(c.stack)-1
	g := c.stack[top]
	what, err := rt.asked(ctx, g.parent)
	if err != nil {
		return 0, err
	}
	if what == "" {
		c.stack = c.stack[:top]
		return 0, nil
	}
	if what != g.what {
		g.what, g.from = what, 0
	}
	found, err := rt.g.Redis.ZRange(ctx, rt.g.Keys.Children(g.parent), g.from, g.from+cascadePage-1).Result()
	if err != nil {
		return 0, ground.Failure("list the children of job "+string(g.parent), err)
	}
	ids := make([]wire.JobID, len(found))
	for i, id := range found {
		ids[i] = wire.JobID(id)
	}
	children, err := rt.Attempts(ctx, ids)
	if err != nil {
		return 0, err
	}
	live := children[:0]
	for _, a := range children {
		if a.State != "" && !a.State.Ended() {
			live = append(live, a)
		}
	}
	tend, stale, err := rt.FollowParent(ctx, what, live)
	c.stale = append(c.stale, stale...)
	if err != nil {
		return len(found), fmt.Errorf("children of job %s: %w", g.parent, err)
	}
	g.from += int64(len(found))
	c.stack[top] = g
	if len(found) < cascadePage {
		c.stack = c.stack[:top]
		if what != "cancel" {
			rt.note(g.parent, "followed", "@order", what)
		}
	}
	for _, id := range tend {
		c.stack = append(c.stack, generation{parent: id})
	}
	return len(found), nil
}

// FollowParent applies the parent's request to children: "cancel", or an order as in Attempt.Order.
// It returns the jobs to follow up, and the children whose tasks must not run any more, for
// DropTasks. An order that is not the parent's newest changes nothing. Its error wraps
// ErrUnreachable; some of the children may then have followed.
func (rt *Runtime) FollowParent(ctx context.Context, what string, children []Attempt) (tend []wire.JobID, stale []Attempt, err error) {
	kind := map[byte]wire.RecordType{'c': wire.JobCanceling, 'p': wire.JobPausing, 'r': wire.JobResumed}[what[0]]
	var resumed []wire.JobID
	for len(children) > 0 {
		slice := children[:min(sliceChildren, len(children))]
		children = children[len(slice):]
		s := &ground.Submission{Shard: slice[0].Job.Shard(), Reports: len(slice)}
		for _, a := range slice {
			o := operation{kind: kind, topic: a.Topic, job: a.Job, key: ground.NewKey(), attempt: -1}
			if kind == wire.JobCanceling {
				o.fields = []any{"@follows", 1}
			} else {
				o.fields = []any{"@order", what}
			}
			s.Args = o.encode(s.Args)
		}
		answers, err := rt.submitAndWait(ctx, s)
		if err != nil {
			return tend, stale, err
		}
		for i, answer := range answers {
			r, err := readResult(ground.Text(answer))
			switch {
			case Stale(err):
				continue // it is over, or is being canceled, or something newer was asked
			case err != nil:
				return tend, stale, err
			}
			tend = append(tend, r.tend...)
			switch {
			case kind == wire.JobResumed && slice[i].State == wire.Paused:
				resumed = append(resumed, slice[i].Job)
			case kind != wire.JobResumed && slice[i].Waiting:
				stale = append(stale, slice[i])
			}
		}
	}
	return tend, stale, rt.handOnAll(ctx, resumed)
}

// DropTasks deletes the tasks of attempts that no longer wait from asynq. If a job was resumed
// meanwhile, the deleted task may be its present one: DropTasks dispatches it again. Its error
// wraps ErrUnreachable.
func (rt *Runtime) DropTasks(ctx context.Context, stale []Attempt) error {
	if len(stale) == 0 {
		return nil
	}
	ids := make([]wire.JobID, len(stale))
	for i, a := range stale {
		ids[i] = a.Job
	}
	return errors.Join(rt.drop(ctx, stale), rt.handOnAll(ctx, ids))
}

// handOnAll dispatches those of the jobs that wait and have no task.
func (rt *Runtime) handOnAll(ctx context.Context, ids []wire.JobID) error {
	attempts, err := rt.Attempts(ctx, ids)
	if err != nil {
		return err
	}
	waiting := attempts[:0]
	for _, a := range attempts {
		if a.Waiting {
			waiting = append(waiting, a)
		}
	}
	return inParallel(ctx, spawners, waiting, rt.handOn)
}

func (rt *Runtime) tendAll(ctx context.Context, ids []wire.JobID) {
	for _, id := range ids {
		if err := rt.tend(ctx, id); err != nil {
			rt.g.Opts.Logger.Warn("cannot update a job's children, or dispatch the job that waited for them; a reconciler does so later", "job", id, "error", err)
		}
	}
}
