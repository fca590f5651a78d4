package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"time"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// Bounds of schedules. Every worker looks at when all of them tick, every few seconds.
const (
	// MaxSchedulePayloadBytes bounds the payload of a schedule's jobs.
	MaxSchedulePayloadBytes = 16 << 10
	// MaxSchedules is how many a topic has at most, MaxAllSchedules how many a namespace
	// has; those from configuration do not count.
	MaxSchedules    = 100
	MaxAllSchedules = 10_000
)

// ScheduleLabel is the label of a job that names the schedule that made it, unless the
// schedule's own labels have one of that name.
const ScheduleLabel = "schedule"

// ErrNoSchedule says that there is no such schedule. It wraps ErrNotFound.
var ErrNoSchedule error = noSchedule{}

type noSchedule struct{}

func (noSchedule) Error() string { return "no such schedule" }
func (noSchedule) Unwrap() error { return ErrNotFound }

// A Schedule makes a job each time it ticks. Any number of workers see to the ticks of
// any number of schedules; a tick makes one job, whose ID is made of the topic, the name
// and the tick's time, which JobID.Time gives back.
type Schedule struct {
	// Topic is whom the jobs' records are for. Required.
	Topic Topic
	// Name is the schedule's own within its topic: [a-z0-9][a-z0-9._-]{0,63}. Required.
	Name string
	// Cron says when it ticks: five fields (minute, hour, day of month, month, day of
	// week, where Sunday is 0 or 7), @hourly, @daily, @weekly, @monthly or @yearly, or @every with a duration in
	// whole seconds, 1s to 366 days, which ticks at the multiples of it since 1970-01-01
	// UTC. Of a day of month and a day of week that are both not "*", one is enough.
	// Required.
	Cron string
	// TimeZone is where Cron's times are the clock's: a name of the IANA database, which a
	// program that may run on a machine without it brings along by importing time/tzdata.
	// Defaults to UTC. Where the clocks of a place are put forward or back, an hour field
	// "*" is every hour that passes, so that a skipped hour has no ticks and a repeated
	// one has them twice. Any other hour field names hours of the day: a time that is
	// skipped ticks at the moment of the change, one that comes twice the first time.
	TimeZone string
	// Missed says what becomes of ticks that no worker was there for. Defaults to
	// MissedLatest.
	Missed MissedPolicy

	// Type, Title, Queue and MaxAttempts are each job's, with the bounds and defaults of
	// Spec. Type is required.
	Type        string
	Title       string
	Queue       string
	MaxAttempts int
	// Labels are each job's: at most 15, or 16 with one named ScheduleLabel.
	Labels map[string]string
	// Payload is what the handler gets: JSON of at most 16 KiB. Defaults to null.
	Payload json.RawMessage
}

// A Scheduled is a schedule and where it stands. As JSON it is what the protocol shows of
// it, which leaves the payload out.
type Scheduled struct {
	Schedule
	// LastAt is the newest tick that was seen to, whether or not it made a job; zero if
	// there was none.
	LastAt time.Time
	// NextAt is the first tick that nobody has seen to: it is in the past when no worker
	// does. Zero if there is none.
	NextAt time.Time
	// Err is why a schedule's ticks make no jobs, as when its time zone is one that this
	// program does not know, or, in the list of a topic's, why its last tick was skipped: too
	// many of its jobs wait.
	Err error

	// stored says that it is Redis that knows of it, and not a configuration.
	stored bool
}

// ErrAhead says that the ticks of a schedule were seen to up to a time that is still to come,
// since Redis's clock was ahead. Fire mends that.
var ErrAhead = errors.New("ticks were seen to up to a time that is still to come, by Redis's clock")

var scheduleForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// Validate checks the schedule as PutSchedule does. Its error wraps ErrInvalid or
// ErrInvalidTopic, and names the field and the bound.
func (s Schedule) Validate() error {
	_, err := s.prepare()
	return err
}

// prepare completes the schedule, checks it, and reads its expression.
func (s *Schedule) prepare() (timetable, error) {
	s.complete()
	if _, err := ParseTopic(string(s.Topic)); err != nil {
		return nil, err
	}
	if err := CheckScheduleName(s.Name); err != nil {
		return nil, err
	}
	t, err := parseTimetable(s.Cron, s.TimeZone)
	if err != nil {
		return nil, err
	}
	if err := s.Missed.validate(); err != nil {
		return nil, err
	}
	if !json.Valid(s.Payload) {
		return nil, fmt.Errorf("%w Payload: want JSON", ErrInvalid)
	}
	if err := bounded("Payload", len(s.Payload), MaxSchedulePayloadBytes, "store it as a blob and name that"); err != nil {
		return nil, err
	}
	if _, own := s.Labels[ScheduleLabel]; !own && len(s.Labels) >= maxLabels {
		return nil, fmt.Errorf("%w Labels: %d of them, at most %d beside the label %s", ErrInvalid, len(s.Labels), maxLabels-1, ScheduleLabel)
	}
	return t, s.spec().Validate()
}

func (s *Schedule) complete() {
	option.Default(&s.TimeZone, "UTC")
	option.Default(&s.Missed, MissedLatest)
	option.Default(&s.Queue, DefaultQueue)
	option.Default(&s.MaxAttempts, DefaultMaxAttempts)
	if len(s.Payload) == 0 {
		s.Payload = json.RawMessage("null")
	}
}

// CheckScheduleName checks the name of a schedule. Its error wraps ErrInvalid.
func CheckScheduleName(name string) error {
	if !scheduleForm.MatchString(name) {
		return fmt.Errorf("%w schedule Name %q: want [a-z0-9][a-z0-9._-]{0,63}", ErrInvalid, clip(name, 80))
	}
	return nil
}

// spec is the job that a tick makes.
func (s Schedule) spec() Spec {
	labels := map[string]string{ScheduleLabel: s.Name}
	maps.Copy(labels, s.Labels)
	return Spec{
		Topic: s.Topic, Type: s.Type, Payload: []byte(s.Payload), Title: s.Title, Labels: labels, Queue: s.Queue, MaxAttempts: s.MaxAttempts,
	}
}

// times is when a complete schedule ticks, as Redis has it. No zone has a space.
func (s Schedule) times() string { return s.TimeZone + " " + s.Cron }

// field is the schedule's in all hashes. No topic has the character between.
func (s Schedule) field() string { return string(s.Topic) + "|" + s.Name }

// scheduleJSON is a schedule as Redis and the protocol have it.
type scheduleJSON struct {
	Topic       Topic             `json:"topic"`
	Name        string            `json:"name"`
	Cron        string            `json:"cron"`
	TimeZone    string            `json:"time_zone"`
	Missed      MissedPolicy      `json:"missed"`
	Type        string            `json:"type"`
	Payload     json.RawMessage   `json:"payload,omitempty"`
	Title       string            `json:"title,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Queue       string            `json:"queue"`
	MaxAttempts int               `json:"max_attempts"`

	LastAt *time.Time `json:"last_at,omitempty"`
	NextAt *time.Time `json:"next_at,omitempty"`
	Error  string     `json:"error,omitempty"`
}

func (s Schedule) wire() scheduleJSON {
	return scheduleJSON{
		Topic: s.Topic, Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, Missed: s.Missed, Type: s.Type, Payload: s.Payload,
		Title: s.Title, Labels: s.Labels, Queue: s.Queue, MaxAttempts: s.MaxAttempts,
	}
}

func (j scheduleJSON) schedule() Schedule {
	return Schedule{
		Topic: j.Topic, Name: j.Name, Cron: j.Cron, TimeZone: j.TimeZone, Missed: j.Missed, Type: j.Type, Payload: j.Payload,
		Title: j.Title, Labels: j.Labels, Queue: j.Queue, MaxAttempts: j.MaxAttempts,
	}
}

// MarshalJSON implements json.Marshaler.
func (s Scheduled) MarshalJSON() ([]byte, error) {
	j := s.wire()
	j.Payload = nil
	if !s.LastAt.IsZero() {
		j.LastAt = &s.LastAt
	}
	if !s.NextAt.IsZero() {
		j.NextAt = &s.NextAt
	}
	if s.Err != nil {
		j.Error = s.Err.Error()
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Scheduled) UnmarshalJSON(b []byte) error {
	var j scheduleJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Scheduled{Schedule: j.schedule()}
	if j.LastAt != nil {
		s.LastAt = *j.LastAt
	}
	if j.NextAt != nil {
		s.NextAt = *j.NextAt
	}
	if j.Error != "" {
		s.Err = errors.New(j.Error)
	}
	return nil
}
