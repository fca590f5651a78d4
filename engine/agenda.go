package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
	"github.com/tidemark-dev/tidemark/internal/timetable"
)

// PutSchedule makes a schedule, or replaces the one that its topic has by that name, and
// returns where it stands and whether there was none. It ticks from now on; one that
// replaces another goes on after the last tick that was seen to, and putting the same
// again changes nothing. Workers hear of it within their ScheduleInterval. Errors to
// branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable, ErrOutOfMemory.
func (e *Engine) PutSchedule(ctx context.Context, s Schedule) (_ Scheduled, created bool, err error) {
	fail := func(err error) (Scheduled, bool, error) {
		return Scheduled{}, false, fmt.Errorf("put schedule %s of %s: %w", excerpt.Of(s.Name, 64), excerpt.Of(string(s.Topic), 64), err)
	}
	s, t, err := prepare(s)
	if err != nil {
		return fail(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fail(err)
	}
	now, rest, err := e.schedule(ctx, "put", scheduleField(s), text, s.TimeZone+" "+s.Cron, string(s.Topic)+"|", MaxSchedules, MaxAllSchedules)
	if err != nil {
		return fail(err)
	}
	switch rest[0] {
	case "topic full":
		return fail(fmt.Errorf("%w Name %s: the topic has %d schedules, which is the most; delete one", ErrInvalid, s.Name, MaxSchedules))
	case "full":
		return fail(fmt.Errorf("%w Name %s: there are %d schedules, which is the most; delete some", ErrInvalid, s.Name, MaxAllSchedules))
	}
	if err := e.letGo(ctx, scheduleField(s)); err != nil {
		return fail(err)
	}
	return standing(s, t, rest[1], now), rest[0] == "created", nil
}

// DeleteSchedule ends a schedule. No tick makes a job once it has returned, except what a
// worker is making right then: one job, or after an outage those of the ticks that were
// missed. A configured one is none of its business. Errors to branch on: ErrInvalid, ErrInvalidTopic,
// ErrNoSchedule, ErrUnreachable.
func (e *Engine) DeleteSchedule(ctx context.Context, topic Topic, name string) error {
	if _, err := ParseTopic(string(topic)); err != nil {
		return err
	}
	if err := CheckScheduleName(name); err != nil {
		return err
	}
	_, rest, err := e.schedule(ctx, "delete", scheduleField(Schedule{Topic: topic, Name: name}))
	switch {
	case err == nil && rest[0] == "0":
		err = ErrNoSchedule
	case err == nil:
		err = e.letGo(ctx, scheduleField(Schedule{Topic: topic, Name: name}))
	}
	if err != nil {
		return fmt.Errorf("delete schedule %s of %s: %w", name, topic, err)
	}
	return nil
}

// Schedules lists a topic's schedules by name: those that are stored, and of configured,
// which may be none, those of the topic, which take the place of stored ones of their
// name. Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable.
func (e *Engine) Schedules(ctx context.Context, topic Topic, configured ...Schedule) ([]Scheduled, error) {
	if _, err := ParseTopic(string(topic)); err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(slices.Clone(configured), func(s Schedule) bool { return s.Topic != topic })
	a, err := e.agenda(ctx, "list", string(topic)+"|", own, stored)
	if err == nil {
		err = e.heldBack(ctx, a.Schedules)
	}
	return a.Schedules, err
}

// An Agenda is all schedules at a moment.
type Agenda struct {
	// Now is Redis's clock, by which schedules tick.
	Now time.Time
	// Schedules are sorted by topic and name. Of stored ones there is no more than Topic,
	// Name, Cron and TimeZone, and where they stand: Fire reads the rest.
	Schedules []Scheduled
}

// Agenda reads all schedules of the namespace, and those of configured, which take the
// place of stored ones of their topic and name. One that was never seen before ticks
// from now on. Errors to branch on: ErrInvalid and ErrInvalidTopic, of configured ones
// alone, ErrUnreachable, ErrOutOfMemory.
func (e *Engine) Agenda(ctx context.Context, configured []Schedule) (Agenda, error) {
	return e.agenda(ctx, "look", "", configured, timed)
}

// agenda runs a command that lists schedules; read reads what it says of a stored one.
func (e *Engine) agenda(
	ctx context.Context, how, topic string, configured []Schedule, read func(field, text, tick string, now time.Time) Scheduled,
) (Agenda, error) {
	tables := map[string]timetable.Timetable{}
	own := map[string]Schedule{}
	args := []any{how, topic}
	for _, s := range configured {
		s, t, err := prepare(s)
		if err != nil {
			return Agenda{}, fmt.Errorf("schedule %s of %s: %w", excerpt.Of(s.Name, 64), excerpt.Of(string(s.Topic), 64), err)
		}
		own[scheduleField(s)], tables[scheduleField(s)] = s, t
		args = append(args, scheduleField(s))
	}
	now, rest, err := e.schedule(ctx, args...)
	if err != nil {
		return Agenda{}, fmt.Errorf("read schedules: %w", err)
	}
	a := Agenda{Now: now, Schedules: make([]Scheduled, 0, len(rest)/3)}
	for found := range slices.Chunk(rest, 3) {
		field, text, tick := found[0], found[1], found[2]
		s, configured := own[field]
		switch {
		case configured && text != "": // its own line follows
		case configured:
			a.Schedules = append(a.Schedules, standing(s, tables[field], tick, now))
		default:
			a.Schedules = append(a.Schedules, read(field, text, tick, now))
		}
	}
	slices.SortFunc(a.Schedules, func(x, y Scheduled) int { return strings.Compare(scheduleField(x.Schedule), scheduleField(y.Schedule)) })
	return a, nil
}

// stored reads a schedule from Redis. One that cannot be used says why.
func stored(field, text, tick string, now time.Time) Scheduled {
	s, t, err := decodeSchedule(field, text)
	if err != nil {
		return Scheduled{Schedule: s, Err: err, Stored: true}
	}
	at := standing(s, t, tick, now)
	at.Stored = true
	return at
}

// timed reads when a schedule ticks that is stored, and no more of it.
func timed(field, times, tick string, now time.Time) Scheduled {
	topic, name, _ := strings.Cut(field, "|")
	zone, expression, known := strings.Cut(times, " ")
	s := Schedule{Topic: Topic(topic), Name: name, Cron: expression, TimeZone: zone}
	t, err := timetable.Parse(expression, zone)
	if !known {
		err = fmt.Errorf("%w schedule: Redis does not have when it ticks; put it again", ErrInvalid)
	}
	if err != nil {
		return Scheduled{Schedule: s, Err: err, Stored: true}
	}
	at := standing(s, t, tick, now)
	at.Stored = true
	return at
}

func decodeSchedule(field, text string) (Schedule, timetable.Timetable, error) {
	topic, name, _ := strings.Cut(field, "|")
	var s Schedule
	err := json.Unmarshal([]byte(text), &s)
	s.Topic, s.Name = Topic(topic), name
	if err != nil {
		return s, nil, errors.New("it is not as this program stores schedules: " + jsonerr.Why(err))
	}
	return prepare(s)
}

// prepare checks a schedule, completes it, and reads its expression.
func prepare(s Schedule) (Schedule, timetable.Timetable, error) {
	s, err := s.Prepared()
	if err != nil {
		return s, nil, err
	}
	t, err := timetable.Parse(s.Cron, s.TimeZone)
	return s, t, err
}

// standing says where a schedule stands whose tick Redis has, "" for none.
func standing(s Schedule, t timetable.Timetable, tick string, now time.Time) Scheduled {
	at := Scheduled{Schedule: s}
	after, was := readTick(tick)
	if after.IsZero() {
		after = now
	}
	if was {
		at.LastAt = after
	}
	if ahead(t, after, now) {
		at.Err = fmt.Errorf("%w, %s; a worker brings it back", ErrAhead, after.Format(time.RFC3339))
		after = now
	}
	at.NextAt = t.Next(after)
	return at
}

// ahead tells whether ticks were seen to further than the clock has come, by more than the
// next one: Redis's clock has been ahead.
func ahead(t timetable.Timetable, after, now time.Time) bool {
	if !after.After(now) {
		return false
	}
	next := t.Next(now)
	return !next.IsZero() && next.Before(after)
}

// readTick reads how far ticks were seen to, and whether there was one.
func readTick(tick string) (after time.Time, was bool) {
	ms, err := strconv.ParseInt(tick, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(max(ms, -ms)).UTC(), ms > 0
}

// schedule runs a command of schedule.lua, and returns Redis's clock and what else it
// was answered.
func (e *Engine) schedule(ctx context.Context, args ...any) (now time.Time, rest []string, err error) {
	began := time.Now()
	answer, err := e.scripts.schedule.Run(ctx, e.redis, []string{e.keys.schedules(), e.keys.ticks(), e.keys.times()}, args...).Slice()
	if err != nil {
		return time.Time{}, nil, failure("ask Redis", err)
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
	e.clock.look(now, began, time.Now())
	return now, rest[1:], nil
}
