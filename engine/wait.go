package engine

import "context"

// Wait returns a job once it has ended, as its last record shows it. It survives cut
// connections and restarts of Redis. Errors to branch on: ErrInvalidJobID, ErrNotFound for
// a job that there is not or that is no longer kept, ErrClosed, and the cause of ctx.
func (e *Engine) Wait(ctx context.Context, id JobID) (Job, error) {
	for _, err := range e.Follow(ctx, FollowQuery{Filter: Filter{Job: id}}) {
		if err != nil {
			return Job{}, err
		}
	}
	v, err := e.Job(ctx, id)
	if err != nil {
		return Job{}, err
	}
	return v.Job()
}
