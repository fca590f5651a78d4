package engine

import "context"

// PutSchedule makes a schedule, or replaces the one that its topic has by that name, and
// returns where it stands and whether there was none. It ticks from now on; one that
// replaces another goes on after the last tick that was seen to, and putting the same
// again changes nothing. Workers hear of it within their ScheduleInterval. Errors to
// branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable, ErrOutOfMemory.
func (e *Engine) PutSchedule(ctx context.Context, s Schedule) (_ Scheduled, created bool, err error) {
	return e.rt.PutSchedule(ctx, s)
}

// DeleteSchedule ends a schedule. No tick makes a job once it has returned, except what a
// worker is making right then: one job, or after an outage those of the ticks that were
// missed. A configured one is none of its business. Errors to branch on: ErrInvalid, ErrInvalidTopic,
// ErrNoSchedule, ErrUnreachable.
func (e *Engine) DeleteSchedule(ctx context.Context, topic Topic, name string) error {
	return e.rt.DeleteSchedule(ctx, topic, name)
}

// Schedules lists a topic's schedules by name: those that are stored, and of configured,
// which may be none, those of the topic, which take the place of stored ones of their
// name. Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable.
func (e *Engine) Schedules(ctx context.Context, topic Topic, configured ...Schedule) ([]Scheduled, error) {
	return e.rt.Schedules(ctx, topic, configured...)
}
