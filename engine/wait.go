package engine

import "context"

// Wait returns a job once it has ended, as its last record shows it. Wait survives cut connections
// and restarts of Redis. Errors to branch on: ErrInvalidJobID, ErrNotFound when the job does not
// exist or Redis no longer keeps it, ErrClosed, and the cause of ctx.
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
