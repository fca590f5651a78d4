package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"time"

	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/internal/timetable"
)

// Bounds of schedules. Every worker computes the ticks of all of them, every few seconds.
const (
	// MaxSchedulePayloadBytes bounds the payload of a schedule's jobs.
	MaxSchedulePayloadBytes = 16 << 10
	// MaxSchedules is how many a topic may have, MaxAllSchedules how many a namespace may have.
	// Configured schedules do not count.
	MaxSchedules    = 100
	MaxAllSchedules = 10_000
)

// ScheduleLabel is the label that names the schedule that created a job, unless the schedule's own
// labels have that name.
const ScheduleLabel = "schedule"

// A Schedule creates a job each time it ticks. Any number of workers may handle the ticks of any
// number of schedules. A tick creates one job. The job's ID is derived from the topic, the name and
// the tick's time, which JobID.Time returns.
type Schedule struct {
	// Topic is the topic of the jobs. Required.
	Topic Topic `json:"topic,omitempty"`
	// Name identifies the schedule within its topic: [a-z0-9][a-z0-9._-]{0,63}. Required.
	Name string `json:"name,omitempty"`
	// Cron says when it ticks: five fields (minute, hour, day of month, month, day of week, where
	// Sunday is 0 or 7), @hourly, @daily, @weekly, @monthly or @yearly, or @every with a duration
	// in whole seconds, 1s to 366 days, which ticks at the multiples of it since 1970-01-01 UTC. If
	// neither the day of month nor the day of week is "*", a day that matches one of them ticks.
	// Required.
	Cron string `json:"cron"`
	// TimeZone is the zone of Cron's times: a name of the IANA database. A program that may run on
	// a machine without the database imports time/tzdata. Defaults to UTC. When clocks are put
	// forward or back, an hour field of "*" means every hour that passes: a skipped hour has no
	// ticks, a repeated one has them twice. Any other hour field means hours of the day: a skipped
	// time ticks at the moment of the change, a repeated one ticks the first time.
	TimeZone string `json:"time_zone,omitempty"`
	// Missed decides what happens to ticks missed while no worker ran. Defaults to MissedLatest.
	Missed MissedPolicy `json:"missed,omitempty"`

	// Type, Title, Queue and MaxAttempts are those of each job, with the bounds and defaults of
	// Spec. Type is required.
	Type  string `json:"type"`
	Title string `json:"title,omitempty"`
	// Labels are those of each job: at most 15, or 16 with one named ScheduleLabel.
	Labels      map[string]string `json:"labels,omitempty"`
	Queue       string            `json:"queue,omitempty"`
	MaxAttempts int               `json:"max_attempts,omitempty"`
	// Payload is what the handler gets: a []byte, which must be JSON, unchanged, anything else as JSON,
	// at most 16 KiB. Defaults to null. A schedule that was read has a json.RawMessage.
	Payload any `json:"payload,omitempty"`
}

// bareSchedule is a Schedule without its methods.
type bareSchedule Schedule

// scheduleJSON is a Schedule whose payload is JSON. Its own member hides the schedule's.
type scheduleJSON struct {
	bareSchedule
	Payload json.RawMessage `json:"payload,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (s Schedule) MarshalJSON() ([]byte, error) {
	payload, err := s.payload()
	if err != nil {
		return nil, err
	}
	return json.Marshal(scheduleJSON{bareSchedule(s), payload})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Schedule) UnmarshalJSON(b []byte) error {
	bare, payload := bareSchedule(*s), json.RawMessage(nil)
	bare.Payload = &payload // which takes the bytes as they are
	if err := json.Unmarshal(b, &bare); err != nil {
		return err
	}
	bare.Payload = s.Payload
	if payload != nil {
		bare.Payload = payload
	}
	*s = Schedule(bare)
	return nil
}

// payload encodes the Payload; nil stands for none. Its error wraps ErrInvalid.
func (s Schedule) payload() (json.RawMessage, error) {
	var b []byte
	switch p := s.Payload.(type) {
	case nil:
		return nil, nil
	case []byte:
		b = p
	case json.RawMessage:
		b = p
	default:
		return encoded(p)
	}
	if len(b) == 0 {
		return nil, nil
	}
	if !json.Valid(b) {
		return nil, fmt.Errorf("%w Payload: want JSON", ErrInvalid)
	}
	return b, nil
}

// A Scheduled is a schedule and its state. Its JSON is that of the protocol, which leaves the
// payload out.
type Scheduled struct {
	Schedule
	// LastAt is the newest handled tick, whether or not it created a job; zero if there is none.
	LastAt time.Time
	// NextAt is the first tick that no worker has handled. It is in the past while no worker
	// handles ticks. Zero if there is none.
	NextAt time.Time
	// Err is why the schedule's ticks create no jobs, such as a time zone that this program does
	// not know. In the list of a topic's schedules it is also why the last tick was skipped: too
	// many of the schedule's jobs wait.
	Err error

	// Stored says that Redis keeps the schedule; otherwise it comes from a configuration.
	Stored bool
}

var scheduleForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// Validate checks the schedule as PutSchedule does. Its error wraps ErrInvalid, or ErrInvalidTopic, and
// names each field that is wrong and its bound, one a line.
func (s Schedule) Validate() error {
	_, err := s.Prepared()
	return err
}

// Prepared checks s and returns it with its defaults. Its error is that of Validate.
func (s Schedule) Prepared() (Schedule, error) {
	option.Default(&s.TimeZone, "UTC")
	option.Default(&s.Missed, MissedLatest)
	option.Default(&s.Queue, DefaultQueue)
	option.Default(&s.MaxAttempts, DefaultMaxAttempts)
	_, cron := timetable.Parse(s.Cron, s.TimeZone)
	payload, encoding := s.payload()
	if payload == nil {
		payload = json.RawMessage("null")
	}
	s.Payload = payload
	var labels error
	if _, own := s.Labels[ScheduleLabel]; !own && len(s.Labels) >= maxLabels {
		labels = fmt.Errorf("%w Labels: %d of them, at most %d beside the label %s", ErrInvalid, len(s.Labels), maxLabels-1, ScheduleLabel)
	}
	spec := s.Spec()
	if labels != nil {
		spec.Labels = nil // with the schedule's own there would be one too many
	}
	return s, errors.Join(
		spec.Validate(), labels, CheckScheduleName(s.Name), cron, s.Missed.validate(), encoding,
		option.Bytes("Payload", len(payload), MaxSchedulePayloadBytes, "store it as a blob and name that"),
	)
}

// CheckScheduleName checks the name of a schedule. Its error wraps ErrInvalid.
func CheckScheduleName(name string) error {
	if !scheduleForm.MatchString(name) {
		return fmt.Errorf("%w schedule Name %q: want [a-z0-9][a-z0-9._-]{0,63}", ErrInvalid, clip(name, 80))
	}
	return nil
}

// Spec returns the job that a tick creates.
func (s Schedule) Spec() Spec {
	labels := map[string]string{ScheduleLabel: s.Name}
	maps.Copy(labels, s.Labels)
	payload := s.Payload
	if raw, ok := payload.(json.RawMessage); ok {
		payload = []byte(raw)
	}
	return Spec{
		Topic: s.Topic, Type: s.Type, Payload: payload, Title: s.Title, Labels: labels, Queue: s.Queue, MaxAttempts: s.MaxAttempts,
	}
}

// scheduledJSON is a Scheduled in the form of the protocol.
type scheduledJSON struct {
	scheduleJSON
	LastAt time.Time `json:"last_at,omitzero"`
	NextAt time.Time `json:"next_at,omitzero"`
	Error  string    `json:"error,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (s Scheduled) MarshalJSON() ([]byte, error) {
	j := scheduledJSON{scheduleJSON: scheduleJSON{bareSchedule: bareSchedule(s.Schedule)}, LastAt: s.LastAt, NextAt: s.NextAt}
	if s.Err != nil {
		j.Error = s.Err.Error()
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Scheduled) UnmarshalJSON(b []byte) error {
	var j scheduledJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Scheduled{Schedule: Schedule(j.bareSchedule), LastAt: j.LastAt, NextAt: j.NextAt}
	if j.Payload != nil {
		s.Payload = j.Payload
	}
	if j.Error != "" {
		s.Err = errors.New(j.Error)
	}
	return nil
}

// A MissedPolicy says what happens to ticks missed while no worker ran.
type MissedPolicy string

// The policies.
const (
	// MissedSkip skips them.
	MissedSkip MissedPolicy = "skip"
	// MissedLatest creates one job for the newest of them. It is the default.
	MissedLatest MissedPolicy = "latest"
	// MissedAll creates a job for each, up to the newest MaxMissed.
	MissedAll MissedPolicy = "all"
)

// MaxMissed is for how many missed ticks of a schedule MissedAll creates jobs at a time.
const MaxMissed = timetable.MaxDue

// Jobs is how many missed ticks create jobs, at most.
func (p MissedPolicy) Jobs() int {
	return map[MissedPolicy]int{MissedSkip: 0, MissedLatest: 1, MissedAll: MaxMissed}[p]
}

func (p MissedPolicy) validate() error {
	switch p {
	case MissedSkip, MissedLatest, MissedAll:
		return nil
	}
	return fmt.Errorf("%w Missed %q: want %s, %s or %s", ErrInvalid, clip(string(p), 40), MissedSkip, MissedLatest, MissedAll)
}
