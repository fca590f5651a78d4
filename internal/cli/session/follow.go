package session

import (
	"context"

	"github.com/tidemark-dev/tidemark/engine"
)

// Follow hands everything to take, and returns the followed job as it was last shown.
func (s *Session) Follow(ctx context.Context, q engine.FollowQuery, take func(engine.Update) error) (last engine.Job, err error) {
	if q.Filter.Job != "" {
		if _, _, err := s.Job(ctx, q.Filter.Job); err != nil {
			return engine.Job{}, err
		}
	} else if s.Remote != nil {
		// A server that is not there at all is more likely a wrong address than an
		// outage to wait out.
		if _, err := s.Store.Jobs(ctx, q.Topic, engine.JobsQuery{Limit: 1}); err != nil {
			return engine.Job{}, err
		}
	}
	for u, err := range s.Store.Follow(ctx, q) {
		if err == nil && q.Filter.Job != "" {
			last, err = JobOf(u, last)
		}
		if err == nil {
			err = take(u)
		}
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// JobOf is the followed job after an update. A record from before what a snapshot has
// shown changes nothing.
func JobOf(u engine.Update, before engine.Job) (engine.Job, error) {
	switch {
	case u.Kind == engine.UpdateSnapshot && len(u.Jobs) == 1:
		return u.Jobs[0].Job()
	case u.Kind == engine.UpdateRecord:
		r, err := u.Entry.Record()
		if err != nil || r.Job == nil || r.Job.Rev < before.Rev {
			return before, err
		}
		return *r.Job, nil
	}
	return before, nil
}
