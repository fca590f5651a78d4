package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine"
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
// attempt: what it decides them by belongs into the payload or a checkpoint. A job may
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
		return nil, fmt.Errorf("%w: it is adopted, and once its children have ended nobody could make asynq begin its next attempt; enqueue the parent with Engine.Enqueue", engine.ErrState)
	}
	children, plan, err := engine.PlanFanOut(name, r.topic, children)
	if err != nil {
		return nil, err
	}
	family, err := r.plan(ctx, plan)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(children))
	for i, c := range children {
		names[i] = c.Name
	}
	var outcomes []engine.Job
	err = r.persist(ctx, func() error {
		outcomes, err = r.engine.Outcomes(ctx, r.job, name, names)
		return err
	})
	if err != nil {
		return nil, err
	}
	if family.Ended == family.Count {
		return outcomes, nil
	}
	// Those that an earlier attempt has made and not handed over are handed over.
	missing := make([]engine.Child, 0, len(children))
	for i, j := range outcomes {
		if j.ID == "" || j.State == engine.Queued {
			missing = append(missing, children[i])
		}
	}
	err = r.persist(ctx, func() error {
		return r.engine.Spawn(ctx, r.job, engine.Fence{Attempt: r.Attempt(), Token: r.out.fence.Token}, r.started.Depth, name, missing)
	})
	if err != nil {
		return nil, err
	}
	r.out.mu.Lock()
	r.awaits = true
	r.out.mu.Unlock()
	return nil, ErrAwaiting
}

// plan commits a fan-out before the first of its children is made, unless an earlier
// attempt has.
func (r *Run) plan(ctx context.Context, plan engine.FanOut) (family engine.Family, err error) {
	err = r.persist(ctx, func() error {
		family, err = r.engine.Family(ctx, r.job)
		return err
	})
	switch {
	case err != nil:
		return family, err
	case family.FanOut == plan.Name && family.Count != plan.Count:
		return family, fmt.Errorf("%w children: %d of them, and %d in an earlier attempt; decide them by the payload or a checkpoint", engine.ErrInvalid, plan.Count, family.Count)
	case family.FanOut == plan.Name:
		return family, nil
	case family.Ended < family.Count:
		return family, fmt.Errorf("%w: %d of %d children of its fan-out %s have ended", engine.ErrState, family.Ended, family.Count, family.FanOut)
	}
	r.out.mu.Lock()
	plan.From, plan.To = r.out.view.span()
	r.out.mu.Unlock()
	if err := r.out.ask(engine.Report{Type: engine.JobProgress, FanOut: &plan}); err != nil {
		return family, err
	}
	return engine.Family{FanOut: plan.Name, Children: engine.Children{Count: plan.Count}}, nil
}
