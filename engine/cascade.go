package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
)

// What is asked of a parent is asked of its children, and of theirs. The commit that accepts it
// keeps it as the parent's order (a pause, a resume), or it follows from the parent's state (a
// cancel, an end); a cascade then goes over the children, page by page, and commits a slice of
// them at a time, so that others come between. The first cascadeJobs are seen to before the call
// returns, the rest by a goroutine of the engine, and where that ends too early by reconcilers.

// cascadeJobs is how many children a call waits for, cascadePage how many are read at a time.
const (
	cascadeJobs = 500
	cascadePage = 250
)

// cascades are those that go on after their call.
type cascades struct {
	ended sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	running map[JobID]*goingOn
}

type goingOn struct {
	again bool // something was asked meanwhile
	stop  context.CancelFunc
}

// close stops them, and returns when they have ended.
func (c *cascades) close() {
	c.mu.Lock()
	c.closed = true
	for _, g := range c.running {
		g.stop()
	}
	c.mu.Unlock()
	c.ended.Wait()
}

// Tend sees to a job that an Ack names: a parent whose children have ended is handed to asynq,
// and children follow what was asked of their parent, or are canceled where it has ended. Of many
// children only the first have followed when it returns. When it fails the workers' heartbeats
// and reconcilers come to the same, later. Its error wraps ErrUnreachable.
func (e *Engine) Tend(ctx context.Context, id JobID) error { return e.tend(ctx, id) }

func (e *Engine) tend(ctx context.Context, id JobID) error {
	all := &e.cascades
	all.mu.Lock()
	running := all.running[id]
	if running != nil {
		running.again = true
	}
	all.mu.Unlock()
	if running != nil {
		return nil
	}
	c := e.newCascade(id)
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
			e.goOn(own, id, c)
		})
	}
	return nil
}

// goOn runs a cascade to its end, and again while another call has asked for it meanwhile.
func (e *Engine) goOn(ctx context.Context, id JobID, c *cascade) {
	for again := true; again; c = e.newCascade(id) {
		err := c.run(ctx, math.MaxInt)
		if err != nil && ctx.Err() == nil {
			e.opts.Logger.Warn("a job's children are seen to later", "job", id, "error", err)
		}
		all := &e.cascades
		all.mu.Lock()
		g := all.running[id]
		again, g.again = g.again && err == nil, false
		if !again {
			delete(all.running, id)
		}
		all.mu.Unlock()
	}
}

// A cascade goes over families, the youngest first.
type cascade struct {
	e     *Engine
	stack []generation
	stale []Attempt // whose tasks are not to run
}

// A generation is the children of a job, and how many of them have followed.
type generation struct {
	parent JobID
	what   string // they follow; see asked
	from   int64
}

func (e *Engine) newCascade(of JobID) *cascade {
	return &cascade{e: e, stack: []generation{{parent: of}}}
}

// run goes on until all have followed, or most children were looked at.
func (c *cascade) run(ctx context.Context, most int) error {
	for len(c.stack) > 0 && most > 0 {
		n, err := c.page(ctx)
		if err != nil {
			return errors.Join(err, c.tidy(ctx))
		}
		most -= n
	}
	return c.tidy(ctx)
}

// asked is what the children of a job are to follow: "cancel", an order of a commit, or "".
func (e *Engine) asked(ctx context.Context, id JobID) (string, error) {
	a, err := e.Current(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrEnded), err == nil && a.Canceling:
		return "cancel", nil
	case err != nil:
		return "", err
	case a.Waiting: // its children have ended, or it was resumed
		return a.Order, e.handOn(ctx, a)
	}
	return a.Order, nil
}

// page has the next children of the youngest generation follow, and says how many it looked at.
func (c *cascade) page(ctx context.Context) (int, error) {
	e, top := c.e, len(c.stack)-1
	g := c.stack[top]
	what, err := e.asked(ctx, g.parent)
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
	found, err := e.redis.ZRange(ctx, e.keys.children(g.parent), g.from, g.from+cascadePage-1).Result()
	if err != nil {
		return 0, failure("list the children of job "+string(g.parent), err)
	}
	ids := make([]JobID, len(found))
	for i, id := range found {
		ids[i] = JobID(id)
	}
	children, err := e.Attempts(ctx, ids)
	if err != nil {
		return 0, err
	}
	live := children[:0]
	for _, a := range children {
		if a.State != "" && !a.State.Ended() {
			live = append(live, a)
		}
	}
	tend, err := c.follow(ctx, what, live)
	if err != nil {
		return len(found), fmt.Errorf("children of job %s: %w", g.parent, err)
	}
	g.from += int64(len(found))
	c.stack[top] = g
	if len(found) < cascadePage {
		c.stack = c.stack[:top]
		if what != "cancel" {
			e.note(g.parent, "followed", "@order", what)
		}
	}
	for _, id := range tend {
		c.stack = append(c.stack, generation{parent: id})
	}
	return len(found), nil
}

// follow asks children what their parent was asked, and returns the jobs to see to next.
func (c *cascade) follow(ctx context.Context, what string, children []Attempt) (tend []JobID, err error) {
	e := c.e
	kind := map[byte]RecordType{'c': JobCanceling, 'p': JobPausing, 'r': JobResumed}[what[0]]
	var resumed []JobID
	for len(children) > 0 {
		slice := children[:min(sliceChildren, len(children))]
		children = children[len(slice):]
		s := &submission{shard: slice[0].Job.Shard(), reports: len(slice)}
		for _, a := range slice {
			o := operation{kind: kind, topic: a.Topic, job: a.Job, key: newKey(), attempt: -1}
			if kind != JobCanceling {
				o.fields = []any{"@order", what}
			}
			s.args = o.encode(s.args)
		}
		answers, err := e.submitAndWait(ctx, s)
		if err != nil {
			return tend, err
		}
		for i, answer := range answers {
			r, err := readResult(text(answer))
			switch {
			case errors.Is(err, ErrEnded), errors.Is(err, ErrNotFound), errors.Is(err, ErrState), errors.Is(err, ErrSuperseded):
				continue // it is over, or is being canceled, or something newer was asked
			case err != nil:
				return tend, err
			}
			tend = append(tend, r.tend...)
			switch {
			case kind == JobResumed && slice[i].State == Paused:
				resumed = append(resumed, slice[i].Job)
			case kind != JobResumed && slice[i].Waiting:
				c.stale = append(c.stale, slice[i])
			}
		}
	}
	return tend, e.handOnAll(ctx, resumed)
}

// tidy takes the tasks of those that do not wait any more out of asynq. One that was resumed
// meanwhile may have been given that very task: it is handed over again.
func (c *cascade) tidy(ctx context.Context) error {
	stale := c.stale
	c.stale = nil
	if len(stale) == 0 {
		return nil
	}
	ids := make([]JobID, len(stale))
	for i, a := range stale {
		ids[i] = a.Job
	}
	return errors.Join(c.e.drop(ctx, stale), c.e.handOnAll(ctx, ids))
}

// handOnAll hands those of jobs over that wait and have no task.
func (e *Engine) handOnAll(ctx context.Context, ids []JobID) error {
	attempts, err := e.Attempts(ctx, ids)
	if err != nil {
		return err
	}
	waiting := attempts[:0]
	for _, a := range attempts {
		if a.Waiting {
			waiting = append(waiting, a)
		}
	}
	return inParallel(ctx, spawners, waiting, e.handOn)
}

func (e *Engine) tendAll(ctx context.Context, ids []JobID) {
	for _, id := range ids {
		if err := e.tend(ctx, id); err != nil {
			e.opts.Logger.Warn("a job's children, or the job that waited for them, are seen to later", "job", id, "error", err)
		}
	}
}
