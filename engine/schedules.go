package engine

import "context"

// PutSchedule creates a schedule, or replaces the one of that name in its topic, and returns its
// state and whether it is new. A new schedule ticks from now on. A replacement goes on after the
// last handled tick; putting the same schedule again changes nothing. Workers read it within their
// ScheduleInterval. Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable,
// ErrOutOfMemory.
func (e *Engine) PutSchedule(ctx context.Context, s Schedule) (_ Scheduled, created bool, err error) {
	return e.rt.PutSchedule(ctx, s)
}

// DeleteSchedule deletes a stored schedule. After it has returned, no tick creates a job, except
// for what a worker is creating at that moment: one job, or after an outage those of the missed
// ticks. Configured schedules are not affected. Errors to branch on: ErrInvalid, ErrInvalidTopic,
// ErrNoSchedule, ErrUnreachable.
func (e *Engine) DeleteSchedule(ctx context.Context, topic Topic, name string) error {
	return e.rt.DeleteSchedule(ctx, topic, name)
}

// Schedules lists a topic's schedules by name: the stored ones, and those of configured that are
// the topic's. A configured schedule hides a stored one of its name. configured may be empty.
// Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable.
func (e *Engine) Schedules(ctx context.Context, topic Topic, configured ...Schedule) ([]Scheduled, error) {
	return e.rt.Schedules(ctx, topic, configured...)
}
