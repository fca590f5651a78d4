package wire

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// MaxPayloadBytes bounds a job's payload. A payload names the job's input, and does not contain it.
const MaxPayloadBytes = 256 << 10

// Spec is a job to be enqueued.
type Spec struct {
	// Topic is the audience of the job's records. Required.
	Topic Topic
	// Type names the handler: [a-z][a-z0-9._-]{0,63}. Required.
	Type string
	// Payload is what the handler gets: a []byte unchanged, anything else as JSON, at most 256 KiB.
	// No record contains it.
	Payload any
	// Title is for people, at most 200 characters.
	Title string
	// Labels are for programs and searches: at most 16, names
	// [a-z][a-z0-9._-]{0,63}, values at most 256 bytes.
	Labels map[string]string
	// Key makes Enqueue idempotent: calls with the same topic and key return the same job, whatever
	// else differs, as long as Redis keeps that job. At most 256 bytes.
	Key string
	// KeyLife frees the Key earlier, when the job ends in the given way; the next call then creates
	// another job. The zero value does not.
	KeyLife KeyLife
	// Queue is the asynq queue: [a-z0-9][a-z0-9_-]{0,63}, not ending in "-rescue", which marks
	// Tidemark's own queues. Defaults to the engine's default queue, which is DefaultQueue unless
	// its Options name another.
	Queue string
	// Delay is how long the job waits before its first attempt, at most 1 year.
	Delay time.Duration
	// Deadline ends a job that has not ended by then as failed, with the code "deadline". Zero
	// means none.
	Deadline time.Time
	// MaxAttempts is how many attempts may fail, from 1 to 1000: with the last of them the job
	// fails. Crashes and drains do not count. Zero means the default of 4.
	MaxAttempts int
}

// A KeyLife says how long a Key returns the job that it created.
type KeyLife string

// The lives of a key that end before Redis drops the job.
const (
	// KeyUntilFailed: until the job fails or is canceled.
	KeyUntilFailed KeyLife = "until_failed"
	// KeyWhileLive: until the job ends in any way.
	KeyWhileLive KeyLife = "while_live"
)

const maxLabels = 16

// DefaultQueue is the queue of a job whose Spec names none, unless the engine's Options name
// another. Applications of asynq use "default", so it is not that.
const DefaultQueue = "tidemark"

// FormerQueue was the default queue of earlier versions. An application's tasks may wait in asynq's
// queue of that name, so a worker that serves the default queue takes only jobs of Tidemark's from
// it.
const FormerQueue = "default"

// DefaultMaxAttempts is the MaxAttempts of a job whose Spec gives none.
const DefaultMaxAttempts = 4

// Enqueued is what Enqueue and Retry return.
type Enqueued struct {
	ID    JobID `json:"id"`
	Topic Topic `json:"topic"`
	// Existing says that an earlier call with the same Key created the job.
	Existing bool `json:"existing"`
}

var (
	nameForm  = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)
	queueForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

const (
	mostAttempts = 1000
	// maxConstantBytes bounds a job's constants in its view, as JSON, where a character may take
	// six bytes. It keeps a record within MaxRecordBytes whatever the texts are.
	maxConstantBytes = 6 << 10
)

// Validate checks the specification as Enqueue does. It does not check whether the deadline leaves
// time to start, which depends on Redis's clock. Its error wraps ErrInvalid or ErrInvalidTopic, and
// names each field that is wrong and its bound, one a line.
func (s Spec) Validate() error {
	_, err := s.Prepared()
	return err
}

// Prepared checks s and returns it with its defaults, and with its Payload encoded as a []byte. Its
// error is that of Validate.
func (s Spec) Prepared() (Spec, error) {
	if err := s.check(); err != nil {
		return s, err
	}
	payload, err := s.payload()
	if err != nil {
		return s, err
	}
	s.Payload = payload
	option.Default(&s.Queue, DefaultQueue)
	option.Default(&s.MaxAttempts, DefaultMaxAttempts)
	return s, nil
}

// check checks everything but the payload.
func (s Spec) check() error {
	_, topic := ParseTopic(string(s.Topic))
	problems := []error{topic, CheckName("Type", s.Type)}
	if n := utf8.RuneCountInString(s.Title); n > MaxTitleRunes {
		problems = append(problems, fmt.Errorf("%w Title of %d characters: at most %d; put the rest into the payload", ErrInvalid, n, MaxTitleRunes))
	}
	problems = append(problems, checkLabels(s.Labels))
	switch s.KeyLife {
	case "", KeyUntilFailed, KeyWhileLive:
	default:
		problems = append(problems, fmt.Errorf("%w KeyLife %q: want %q, %q or none", ErrInvalid, clip(string(s.KeyLife), 40), KeyUntilFailed, KeyWhileLive))
	}
	if s.KeyLife != "" && s.Key == "" {
		problems = append(problems, fmt.Errorf("%w KeyLife %q: there is no Key", ErrInvalid, clip(string(s.KeyLife), 40)))
	}
	if s.Queue != "" {
		problems = append(problems, CheckQueue(s.Queue))
	}
	problems = append(problems,
		option.Bytes("Key", len(s.Key), 256, "use a hash of it"),
		option.Within("Delay", s.Delay, 0, 365*24*time.Hour),
		option.Within("MaxAttempts", cmp.Or(s.MaxAttempts, DefaultMaxAttempts), 1, mostAttempts),
	)
	if err := errors.Join(problems...); err != nil {
		return err
	}
	texts, err := json.Marshal(struct {
		Title  string            `json:"title"`
		Labels map[string]string `json:"labels"`
	}{s.Title, s.Labels})
	return errors.Join(err, option.Bytes("Title and Labels, as JSON,", len(texts), maxConstantBytes, "put some of it into the payload"))
}

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("%w Labels: %d of them, at most %d", ErrInvalid, len(labels), maxLabels)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		problems = append(problems, CheckName("label name", name), option.Bytes("label "+clip(name, 80), len(labels[name]), 256, "put it into the payload"))
	}
	return errors.Join(problems...)
}

// CheckName checks a name such as a job's type: [a-z][a-z0-9._-]{0,63}. Its error wraps ErrInvalid,
// and calls the name what.
func CheckName(what, name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%w %s %q: want [a-z][a-z0-9._-]{0,63}", ErrInvalid, what, clip(name, 80))
	}
	return nil
}

// QueueForm says in words what form the name of a queue has.
const QueueForm = "[a-z0-9][a-z0-9_-]{0,63}, not ending in " + RescueSuffix

// CheckQueue checks the name of a queue. Its error wraps ErrInvalid.
func CheckQueue(name string) error {
	if !queueForm.MatchString(name) || strings.HasSuffix(name, RescueSuffix) {
		return fmt.Errorf("%w Queue %q: want %s", ErrInvalid, clip(name, 80), QueueForm)
	}
	return nil
}

// RescueSuffix ends the names of Tidemark's own queues. Each holds those jobs of a queue that lost
// their worker or were handed back.
const RescueSuffix = "-rescue"

// encoded is a payload as JSON.
func encoded(payload any) ([]byte, error) {
	b, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("%w Payload: it does not encode to JSON: %s", ErrInvalid, clip(err.Error(), 200))
	}
	return b, nil
}

func (s Spec) payload() ([]byte, error) {
	b, raw := s.Payload.([]byte)
	if !raw {
		var err error
		if b, err = encoded(s.Payload); err != nil {
			return nil, err
		}
	}
	if b == nil {
		b = []byte{}
	}
	return b, option.Bytes("Payload", len(b), MaxPayloadBytes, "store it as a blob and name that")
}
