package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/internal/timetable"
)

// PutSchedule is that of engine.Engine.
func (rt *Runtime) PutSchedule(ctx context.Context, s wire.Schedule) (_ wire.Scheduled, created bool, err error) {
	fail := func(err error) (wire.Scheduled, bool, error) {
		return wire.Scheduled{}, false, fmt.Errorf("put schedule %s of %s: %w", excerpt.Of(s.Name, 64), excerpt.Of(string(s.Topic), 64), err)
	}
	option.Default(&s.Queue, rt.g.Opts.DefaultQueue)
	s, t, err := prepare(s)
	if err != nil {
		return fail(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fail(err)
	}
	now, rest, err := rt.schedule(ctx, "put", ground.ScheduleField(s), text, s.TimeZone+" "+s.Cron, string(s.Topic)+"|", wire.MaxSchedules, wire.MaxAllSchedules)
	if err != nil {
		return fail(err)
	}
	switch rest[0] {
	case "topic full":
		return fail(fmt.Errorf("%w Name %s: the topic has %d schedules, which is the most; delete one", wire.ErrInvalid, s.Name, wire.MaxSchedules))
	case "full":
		return fail(fmt.Errorf("%w Name %s: there are %d schedules, which is the most; delete some", wire.ErrInvalid, s.Name, wire.MaxAllSchedules))
	}
	if err := rt.letGo(ctx, ground.ScheduleField(s)); err != nil {
		return fail(err)
	}
	return standing(s, t, rest[1], now), rest[0] == "created", nil
}

// DeleteSchedule is that of engine.Engine.
func (rt *Runtime) DeleteSchedule(ctx context.Context, topic wire.Topic, name string) error {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return err
	}
	if err := wire.CheckScheduleName(name); err != nil {
		return err
	}
	_, rest, err := rt.schedule(ctx, "delete", ground.ScheduleField(wire.Schedule{Topic: topic, Name: name}))
	switch {
	case err == nil && rest[0] == "0":
		err = wire.ErrNoSchedule
	case err == nil:
		err = rt.letGo(ctx, ground.ScheduleField(wire.Schedule{Topic: topic, Name: name}))
	}
	if err != nil {
		return fmt.Errorf("delete schedule %s of %s: %w", name, topic, err)
	}
	return nil
}

// Schedules is that of engine.Engine.
func (rt *Runtime) Schedules(ctx context.Context, topic wire.Topic, configured ...wire.Schedule) ([]wire.Scheduled, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(slices.Clone(configured), func(s wire.Schedule) bool { return s.Topic != topic })
	a, err := rt.agenda(ctx, "list", string(topic)+"|", own, stored)
	if err == nil {
		err = rt.heldBack(ctx, a.Schedules)
	}
	return a.Schedules, err
}

// A ScheduleList is all schedules at one moment.
type ScheduleList struct {
	// Now is Redis's time; schedules tick by it.
	Now time.Time
	// Schedules are sorted by topic and name. A stored one has only its Topic, Name, Cron and
	// TimeZone, and its state: Fire reads the rest.
	Schedules []wire.Scheduled
}

// AllSchedules reads all schedules of the namespace, and merges those of configured, each of which
// hides a stored one of its topic and name. A new schedule ticks from now on. Errors to branch on:
// ErrInvalid and ErrInvalidTopic, for configured ones only, ErrUnreachable, ErrOutOfMemory.
func (rt *Runtime) AllSchedules(ctx context.Context, configured []wire.Schedule) (ScheduleList, error) {
	return rt.agenda(ctx, "look", "", configured, timed)
}

// agenda runs a command that lists schedules; read parses its answer about a stored one.
func (rt *Runtime) agenda(
	ctx context.Context, how, topic string, configured []wire.Schedule, read func(field, text, tick string, now time.Time) wire.Scheduled,
) (ScheduleList, error) {
	tables := map[string]timetable.Timetable{}
	own := map[string]wire.Schedule{}
	args := []any{how, topic}
	for _, s := range configured {
		option.Default(&s.Queue, rt.g.Opts.DefaultQueue)
		s, t, err := prepare(s)
		if err != nil {
			return ScheduleList{}, fmt.Errorf("schedule %s of %s: %w", excerpt.Of(s.Name, 64), excerpt.Of(string(s.Topic), 64), err)
		}
		own[ground.ScheduleField(s)], tables[ground.ScheduleField(s)] = s, t
		args = append(args, ground.ScheduleField(s))
	}
	now, rest, err := rt.schedule(ctx, args...)
	if err != nil {
		return ScheduleList{}, fmt.Errorf("read schedules: %w", err)
	}
	a := ScheduleList{Now: now, Schedules: make([]wire.Scheduled, 0, len(rest)/3)}
	for found := range slices.Chunk(rest, 3) {
		field, text, tick := found[0], found[1], found[2]
		s, configured := own[field]
		switch {
		case configured && text != "": // the configured one's own line follows
		case configured:
			a.Schedules = append(a.Schedules, standing(s, tables[field], tick, now))
		default:
			a.Schedules = append(a.Schedules, read(field, text, tick, now))
		}
	}
	slices.SortFunc(a.Schedules, func(x, y wire.Scheduled) int {
		return strings.Compare(ground.ScheduleField(x.Schedule), ground.ScheduleField(y.Schedule))
	})
	return a, nil
}

// stored parses a schedule from Redis. If the schedule cannot be used, its Err says why.
func stored(field, text, tick string, now time.Time) wire.Scheduled {
	s, t, err := decodeSchedule(field, text)
	if err != nil {
		return wire.Scheduled{Schedule: s, Err: err, Stored: true}
	}
	at := standing(s, t, tick, now)
	at.Stored = true
	return at
}

// timed parses only when a stored schedule ticks.
func timed(field, times, tick string, now time.Time) wire.Scheduled {
	topic, name, _ := strings.Cut(field, "|")
	zone, expression, known := strings.Cut(times, " ")
	s := wire.Schedule{Topic: wire.Topic(topic), Name: name, Cron: expression, TimeZone: zone}
	t, err := timetable.Parse(expression, zone)
	if !known {
		err = fmt.Errorf("%w schedule: Redis has lost its cron expression; put it again", wire.ErrInvalid)
	}
	if err != nil {
		return wire.Scheduled{Schedule: s, Err: err, Stored: true}
	}
	at := standing(s, t, tick, now)
	at.Stored = true
	return at
}

func decodeSchedule(field, text string) (wire.Schedule, timetable.Timetable, error) {
	topic, name, _ := strings.Cut(field, "|")
	var s wire.Schedule
	err := json.Unmarshal([]byte(text), &s)
	s.Topic, s.Name = wire.Topic(topic), name
	if err != nil {
		return s, nil, errors.New("it is not as this program stores schedules: " + jsonerr.Why(err))
	}
	return prepare(s)
}

// prepare checks a schedule, sets its defaults, and parses its expression.
func prepare(s wire.Schedule) (wire.Schedule, timetable.Timetable, error) {
	s, err := s.Prepared()
	if err != nil {
		return s, nil, err
	}
	t, err := timetable.Parse(s.Cron, s.TimeZone)
	return s, t, err
}

// standing returns the state of a schedule. tick is its last tick in Redis, "" for none.
func standing(s wire.Schedule, t timetable.Timetable, tick string, now time.Time) wire.Scheduled {
	at := wire.Scheduled{Schedule: s}
	after, was := readTick(tick)
	if after.IsZero() {
		after = now
	}
	if was {
		at.LastAt = after
	}
	if ahead(t, after, now) {
		at.Err = fmt.Errorf("%w, %s; a worker brings it back", wire.ErrAhead, after.Format(time.RFC3339))
		after = now
	}
	at.NextAt = t.Next(after)
	return at
}

// ahead reports whether the last handled tick is in the future by more than one tick: Redis's clock
// was ahead.
func ahead(t timetable.Timetable, after, now time.Time) bool {
	if !after.After(now) {
		return false
	}
	next := t.Next(now)
	return !next.IsZero() && next.Before(after)
}

// readTick parses the time of the last handled tick, and reports whether there was one.
func readTick(tick string) (after time.Time, was bool) {
	ms, err := strconv.ParseInt(tick, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(max(ms, -ms)).UTC(), ms > 0
}

// schedule runs a command of schedule.lua, and returns Redis's time and the rest of the answer.
func (rt *Runtime) schedule(ctx context.Context, args ...any) (now time.Time, rest []string, err error) {
	began := time.Now()
	answer, err := rt.g.Scripts.Schedule.Run(ctx, rt.g.Redis, []string{rt.g.Keys.Schedules(), rt.g.Keys.Ticks(), rt.g.Keys.Times()}, args...).Slice()
	if err != nil {
		return time.Time{}, nil, ground.Failure("ask Redis", err)
	}
	rest = make([]string, len(answer))
	for i, a := range answer {
		rest[i] = fmt.Sprint(a)
	}
	ms, err := strconv.ParseInt(rest[0], 10, 64)
	if err != nil {
		return time.Time{}, nil, errors.New("Redis's clock cannot be read: " + excerpt.Of(rest[0], 40))
	}
	now = time.UnixMilli(ms).UTC()
	rt.g.Clock.Look(now, began, time.Now())
	return now, rest[1:], nil
}
