package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// FanOut makes children, which are jobs of their own in the same topic, and returns what
// became of them once all have ended. The first time that is not yet so, and the error is
// ErrAwaiting: the handler returns it, its slot is free meanwhile, and the job goes on
// with another attempt when the last child has ended. That attempt comes by here again,
// and gets the outcomes, in the order of children.
//
//	outcomes, err := run.FanOut(ctx, "resize", children)
//	if err != nil {
//		return err
//	}
//
// So a handler must come to the same fan-outs, with children of the same names, in every
// attempt: what it decides them by belongs into the payload or a checkpoint. Where it comes to
// others, the error wraps engine.ErrInvalid and names some of those that differ. A job may
// have several, one after the other, under different names; no children give no outcomes
// at once.
//
// The children together fill what the present stage has of the bar, or all of it where
// there are no stages, each by its weight, and a child that has ended counts whole. A
// child that fails fails its parent, unless it is Optional. Canceling, pausing and
// resuming the parent does the same to its children, and one that ends in any other way
// cancels those that have not. A child that ended longer ago than the engine's Retention
// is a zero engine.Job.
//
// Errors to branch on: ErrAwaiting, engine.ErrInvalid, engine.ErrState while the
// children of another fan-out have not ended and in an adopted job, ErrSuperseded, and
// ctx's cause.
func (r *Run) FanOut(ctx context.Context, name string, children []engine.Child) ([]engine.Job, error) {
	if len(children) == 0 {
		return nil, nil
	}
	outcomes, err := r.fanOut(ctx, name, children)
	if err != nil && !errors.Is(err, ErrAwaiting) {
		err = fmt.Errorf("fan-out %.80q of job %s: %w", name, r.job, err)
	}
	return outcomes, err
}

func (r *Run) fanOut(ctx context.Context, name string, children []engine.Child) ([]engine.Job, error) {
	if r.adopted || r.detached {
		return nil, fmt.Errorf("%w: it is adopted, and Tidemark cannot make asynq begin its next attempt once its children have ended; enqueue the parent with Engine.Enqueue", engine.ErrState)
	}
	// One after the other: of two calls at once the second hears of the first.
	r.fanning.Lock()
	defer r.fanning.Unlock()
	children, plan, err := runtime.PlanFanOut(name, r.topic, r.started.Queue, children)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(children))
	for i, c := range children {
		names[i] = c.Name
	}
	var family runtime.Family
	var made []bool
	var outcomes []engine.Job
	err = r.persist(ctx, func() error {
		if family, err = r.jobs.Family(ctx, r.job, name); err != nil {
			return err
		}
		if made, err = r.jobs.Spawned(ctx, r.job, name, names); err != nil {
			return err
		}
		outcomes, err = r.jobs.Outcomes(ctx, r.job, name, names)
		return err
	})
	if err != nil {
		return nil, err
	}
	earlier := count(made)
	switch {
	case family.Names != "" && family.Names != plan.Names,
		family.FanOut == name && family.Count != plan.Count,
		// Planned by a version that kept no names, or before another fan-out.
		family.Names == "" && family.FanOut == name && family.Ended == family.Count && earlier < plan.Count,
		family.FanOut != name && 0 < earlier && earlier < plan.Count:
		return nil, r.changed(ctx, name, names, made)
	case family.FanOut == name && family.Ended == family.Count:
		r.await(false) // a handler may ask again until they have ended
		return outcomes, nil
	case family.FanOut == name:
	case earlier == plan.Count:
		return outcomes, nil // it was over before the next one was begun
	case family.Ended < family.Count:
		return nil, fmt.Errorf("%w: %d of %d children of its fan-out %s have ended", engine.ErrState, family.Ended, family.Count, family.FanOut)
	default:
		if err := r.plan(plan); err != nil {
			return nil, err
		}
	}
	if err := r.spawn(ctx, name, children, made, outcomes); err != nil {
		return nil, err
	}
	r.await(true)
	return nil, ErrAwaiting
}

// await says whether the attempt ends as one that awaits children.
func (r *Run) await(awaits bool) {
	r.mu.Lock()
	r.awaits = awaits
	r.mu.Unlock()
}

func count(made []bool) int {
	n := 0
	for _, m := range made {
		if m {
			n++
		}
	}
	return n
}

// changed is the error of a fan-out whose children are not those of an earlier attempt. It names
// a few of those that differ.
func (r *Run) changed(ctx context.Context, fanOut string, names []string, made []bool) error {
	const few = 3
	var fresh []string
	for i, name := range names {
		if !made[i] {
			fresh = append(fresh, name)
		}
	}
	var gone []string
	if err := r.persist(ctx, func() (err error) {
		gone, err = r.jobs.SpawnedOthers(ctx, r.job, fanOut, names, few+1)
		return err
	}); err != nil {
		return err
	}
	quote := func(names []string) string {
		var b strings.Builder
		for i, name := range names[:min(few, len(names))] {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%.40q", name)
		}
		if len(names) > few {
			b.WriteString(" and others")
		}
		return b.String()
	}
	differ := ""
	if len(fresh) > 0 {
		differ += "; not made then: " + quote(fresh)
	}
	if len(gone) > 0 {
		differ += "; made then and not named now: " + quote(gone)
	}
	return fmt.Errorf("%w children: they are not those of an earlier attempt%s; decide them by the payload or a checkpoint", engine.ErrInvalid, differ)
}

// plan commits a fan-out before the first of its children is made.
func (r *Run) plan(plan runtime.FanOut) error {
	plan.From, plan.To = r.out.Span()
	return r.out.Ask(runtime.Report{Type: engine.JobProgress, FanOut: &plan})
}

// spawn makes the children that are not made, and hands those over that an earlier attempt
// has made and may not have handed over.
func (r *Run) spawn(ctx context.Context, name string, children []engine.Child, made []bool, outcomes []engine.Job) error {
	missing := make([]engine.Child, 0, len(children))
	for i, c := range children {
		switch {
		case !made[i]:
		case outcomes[i].State == engine.Queued:
			c.Spec.Deadline = time.Time{} // it has its own, which may have passed
		default:
			continue // also one that is forgotten since it ended
		}
		missing = append(missing, c)
	}
	fence := runtime.Fence{Attempt: r.Attempt(), Token: r.fence.Token}
	return r.persist(ctx, func() error { return r.jobs.Spawn(ctx, r.job, fence, r.started.Depth, name, missing) })
}

// persist calls do again until Redis is there and has memory; see backoff.Persist.
func (r *Run) persist(ctx context.Context, do func() error) error {
	return backoff.Persist(ctx, r.logger, do)
}
