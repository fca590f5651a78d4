package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/timetable"
)

// A Fired is the result of Fire.
type Fired struct {
	// Jobs are the jobs of the due ticks, in the order of the ticks. Other workers may have created
	// some of them.
	Jobs []wire.JobID
	// Skipped is how many due ticks create no job, for the reason in Held, which wraps ErrLimit:
	// too many of the schedule's jobs wait, its topic has too many live jobs, or its queue would be
	// one too many; or ErrNoDataset: their payload names a dataset that is being deleted.
	Skipped int
	Held    error
	// Passed is how many missed ticks create no job because of the schedule's Missed.
	Passed int
	// Mended is the time up to which ticks had been handled, if that was in the future: the
	// schedule now goes on from the present. Otherwise it is zero.
	Mended time.Time
	// Wait is the time until the next tick. It is negative when there is none, or when the schedule
	// no longer exists.
	Wait time.Duration
}

// Fire creates the jobs of a schedule's due ticks, by Redis's clock, which no worker has handled
// yet. Ticks older than grace count as missed. Fire reads a stored schedule anew and does nothing
// if it is deleted; of a configured one Redis has only its last handled tick.
//
// Any number of processes may call Fire concurrently. The ID of a tick's job is derived from the
// tick, so creating the job again changes nothing, as long as Redis keeps the job
// (Options.Retention). Fire handles ticks in order, and records a tick only after it has created
// its job; after an error the next call finds the same jobs. Errors to branch on: ErrInvalid,
// ErrInvalidTopic, ErrUnreachable, ErrOutOfMemory, and ErrClock while Redis's clock has jumped and
// has not kept its new course for as long as grace; Fire has then done nothing, and the caller
// calls it again later.
func (rt *Runtime) Fire(ctx context.Context, s wire.Scheduled, grace time.Duration) (Fired, error) {
	f, err := rt.fire(ctx, s, grace)
	if err != nil {
		return f, fmt.Errorf("schedule %s of %s: %w", excerpt.Of(s.Name, 64), excerpt.Of(string(s.Topic), 64), err)
	}
	return f, nil
}

func (rt *Runtime) fire(ctx context.Context, s wire.Scheduled, grace time.Duration) (Fired, error) {
	none := Fired{Wait: -1}
	field, known := ground.ScheduleField(s.Schedule), 0
	if s.Stored {
		known = 1
	}
	now, rest, err := rt.schedule(ctx, "see", field, known)
	if err != nil {
		return none, err
	}
	if err := rt.g.Clock.Steady(grace); err != nil {
		return none, err
	}
	text, tick := rest[0], rest[1]
	var t timetable.Timetable
	switch {
	case !s.Stored:
		s.Schedule, t, err = prepare(s.Schedule)
	case text == "":
		return none, nil // deleted
	default:
		s.Schedule, t, err = decodeSchedule(field, text)
	}
	if err != nil {
		return none, err
	}
	after, _ := readTick(tick)
	var mended time.Time
	if ahead(t, after, now) {
		if _, _, err := rt.schedule(ctx, "mend", field, tick); err != nil {
			return none, err
		}
		mended, after = after, now
	}
	r := timetable.Due(t, after, now, s.Missed.Jobs(), grace)
	fired := Fired{Passed: r.Passed, Mended: mended, Wait: -1}
	if len(r.Ticks) > 0 {
		if err := rt.fireTicks(ctx, s.Schedule, r.Ticks, &fired); err != nil {
			return fired, err
		}
	}
	if !r.Last.IsZero() {
		if _, _, err := rt.schedule(ctx, "move", field, r.Last.UnixMilli()); err != nil {
			return fired, err
		}
		after = r.Last
	}
	if next := t.Next(after); !next.IsZero() {
		fired.Wait = max(0, next.Sub(now))
	}
	return fired, nil
}

// fireTicks creates the jobs of due ticks: all of them, or none if there is no room for more, or if they name
// a dataset that is being deleted. The backlog counts only jobs of other ticks, so a second worker finds the
// jobs that the first created.
func (rt *Runtime) fireTicks(ctx context.Context, s wire.Schedule, ticks []time.Time, fired *Fired) error {
	held := rt.crowd(ctx, s, ticks)
	for _, at := range ticks {
		if held == nil {
			var job wire.JobID
			if job, held = rt.tick(ctx, s, at); held == nil {
				fired.Jobs = append(fired.Jobs, job)
				continue
			}
		}
		if !errors.Is(held, wire.ErrLimit) && !errors.Is(held, wire.ErrNoDataset) {
			return held
		}
		fired.Skipped, fired.Held = fired.Skipped+1, held
	}
	return rt.noteTicks(ctx, s, fired.Jobs, held)
}

// tick creates a tick's job, or finds it.
func (rt *Runtime) tick(ctx context.Context, s wire.Schedule, at time.Time) (wire.JobID, error) {
	o, t, err := making(s.Spec(), tickID(ground.ShardOf(s.Topic, rt.g.Opts.Shards), ground.ScheduleField(s), at), at, origin{})
	if err != nil {
		return "", err
	}
	done, err := rt.make(ctx, o, t)
	if err != nil && !errors.Is(err, wire.ErrUnreplicated) {
		return "", err
	}
	return done.ID, nil
}

// tickID is the ID of a tick's job: its time is the tick's, and a hash takes the place of the
// random bits.
func tickID(shard int, field string, at time.Time) wire.JobID {
	return ground.DerivedJobID(shard, at, fmt.Sprintf("schedule|%s|%d", field, at.UnixMilli()))
}
