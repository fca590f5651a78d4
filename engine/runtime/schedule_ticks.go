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

// A Fired is what Fire did.
type Fired struct {
	// Jobs are those of the ticks that were due, in the order of the ticks; another
	// worker may have made some of them.
	Jobs []wire.JobID
	// Skipped is how many ticks that were due make no job, for the reason in Held, which
	// wraps ErrLimit: too many of the schedule's jobs wait, its topic has too many live ones,
	// or its queue is one too many.
	Skipped int
	Held    error
	// Passed is how many missed ticks get no job, as the schedule's Missed says.
	Passed int
	// Mended is up to when ticks had been seen to, where that was a time still to come: the
	// schedule goes on from now. Zero: it was right.
	Mended time.Time
	// Wait is how long it is until the next tick; negative when none comes, or when the
	// schedule is no longer there.
	Wait time.Duration
}

// Fire makes the jobs of a schedule's ticks that are due, by Redis's clock, and that
// nobody has seen to. Ticks that are older than grace have been missed. A schedule that
// is stored is taken as it is now, which may be not at all; of a configured one Redis
// knows only how far its ticks were seen to.
//
// Any number of processes may do this at the same time: a tick's job has an ID that is
// made of the tick, and making a job again changes nothing, as long as the engine's
// Retention keeps it. Ticks are seen to in their order, and only when their jobs stand
// is it noted; after an error the same jobs are found again. Errors to branch on:
// ErrInvalid, ErrInvalidTopic, ErrUnreachable, ErrOutOfMemory, and ErrClock while Redis's clock
// has jumped and not kept its course for as long as grace: nothing was done then, and calling
// again later is enough.
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

// fireTicks makes the jobs of ticks that are due, all of them or, where there is no room for
// more, none: a backlog is counted in jobs of other ticks, so that whoever comes second finds
// what the first has made.
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
		if !errors.Is(held, wire.ErrLimit) {
			return held
		}
		fired.Skipped, fired.Held = fired.Skipped+1, held
	}
	return rt.noteTicks(ctx, s, fired.Jobs, held)
}

// tick makes a tick's job, or finds it.
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

// tickID is the ID of a tick's job: the time is the tick's, and the rest is of a hash
// instead of chance.
func tickID(shard int, field string, at time.Time) wire.JobID {
	return ground.DerivedJobID(shard, at, fmt.Sprintf("schedule|%s|%d", field, at.UnixMilli()))
}
