package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// MaxPayloadBytes bounds a job's payload: it names its input, it does not hold it.
const MaxPayloadBytes = 256 << 10

// Spec is a job to be enqueued.
type Spec struct {
	// Topic is whom the job's records are for. Required.
	Topic Topic
	// Type names the handler: [a-z][a-z0-9._-]{0,63}. Required.
	Type string
	// Payload is what the handler gets: a []byte as it is, anything else as JSON;
	// at most 256 KiB. It never appears in a record.
	Payload any
	// Title is for people, at most 200 characters.
	Title string
	// Labels are for programs and searches: at most 16, names
	// [a-z][a-z0-9._-]{0,63}, values at most 256 bytes.
	Labels map[string]string
	// Key makes Enqueue idempotent: within a day, calls with the same topic and
	// key give the same job, whatever else they say. At most 256 bytes.
	Key string
	// Queue is the asynq queue: [a-z0-9][a-z0-9_-]{0,63}, not ending in "-rescue", which
	// are queues of Tidemark's own. Defaults to "default".
	Queue string
	// Delay is how long the job waits before its first attempt, at most 1 year.
	Delay time.Duration
	// Deadline ends the job as failed, with code "deadline", when it has not ended
	// by itself. Zero: none.
	Deadline time.Time
	// MaxRetries is how many times a failed attempt is tried again, at most 1000.
	// 0 means the default of 3, a negative number none. Crashes and drains cost
	// no retry.
	MaxRetries int
}

const maxLabels = 16

// DefaultQueue is the queue of a job that names none.
const DefaultQueue = "default"

// DefaultMaxRetries is the number of retries of a job that names none.
const DefaultMaxRetries = 3

// Enqueued is what Enqueue answers.
type Enqueued struct {
	Job   JobID
	Topic Topic
	// Existing says that a call with the same Key had made the job before.
	Existing bool
}

var (
	nameForm  = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)
	queueForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

// Validate checks the specification as Enqueue does. Its error wraps ErrInvalid or
// ErrInvalidTopic, and names the field and the bound.
func (s Spec) Validate() error {
	_, err := s.constant("")
	if err == nil {
		_, err = s.payload()
	}
	return err
}

// Enqueue makes a job and hands it to asynq. It is accepted, and will reach an end,
// once Enqueue has returned without an error; what that survives is what Redis
// keeps, see docs/guarantees.md. After ErrUnreachable it may or may not have been
// accepted: with a Key, enqueue it again. Errors to branch on: ErrInvalid,
// ErrInvalidTopic, ErrUnreachable, ErrOutOfMemory, and ErrUnreplicated, with which
// the job stands and is returned.
func (e *Engine) Enqueue(ctx context.Context, s Spec) (Enqueued, error) {
	now := time.Now()
	id := newJobID(shardOf(s.Topic, e.opts.Shards), now)
	t, _, err := e.accept(ctx, s, id, now)
	if err != nil && !errors.Is(err, ErrUnreplicated) {
		return Enqueued{}, err
	}
	done := Enqueued{Job: t.job, Topic: s.Topic, Existing: t.job != id}
	if done.Existing {
		// Whoever made it may not have come as far as asynq.
		if err := e.dispatchAgain(ctx, done.Job); err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrNotFound) {
			return Enqueued{}, fmt.Errorf("enqueue %s for %s: %w", s.Type, s.Topic, err)
		}
		return done, nil
	}
	e.hand(ctx, t)
	return done, err
}

// accept makes the job id, unless there is one or the key has another, and returns the
// task of its first attempt and whether there was one. Delay counts from now.
func (e *Engine) accept(ctx context.Context, s Spec, id JobID, now time.Time) (t task, existing bool, err error) {
	fail := func(err error) (task, bool, error) {
		return task{}, false, fmt.Errorf("enqueue %s for %s: %w", clip(s.Type, 64), clip(string(s.Topic), 64), err)
	}
	constant, err := s.constant("")
	if err != nil {
		return fail(err)
	}
	payload, err := s.payload()
	if err != nil {
		return fail(err)
	}
	s.complete()
	o := operation{
		kind: JobQueued, topic: s.Topic, job: id, attempt: 1,
		fields: []any{"ty", s.Type, "c", constant, "pl", payload, "q", s.Queue, "mr", s.MaxRetries},
	}
	var at time.Time
	if s.Delay > 0 {
		at = now.Add(s.Delay)
		o.fields = append(o.fields, "ra", at.UnixMilli())
	}
	if !s.Deadline.IsZero() {
		o.fields = append(o.fields, "dl", s.Deadline.UnixMilli())
	}
	if s.Key != "" {
		o.key = "enqueue:" + string(s.Topic) + ":" + s.Key
	}
	r, err := e.operate(ctx, o)
	if err != nil && !errors.Is(err, ErrUnreplicated) {
		return fail(err)
	}
	t = task{job: id, attempt: 1, kind: s.Type, queue: s.Queue, at: at}
	if r.job != "" {
		t.job = r.job
	}
	return t, r.duplicate, err
}

// hand gives asynq the task of a job that was just made.
func (e *Engine) hand(ctx context.Context, t task) {
	if err := e.dispatch(ctx, t); err != nil {
		// The job stands; the reconciler of any worker will hand it over.
		e.opts.Logger.Warn("job is not yet handed to asynq", "job", t.job, "error", err)
	}
}

// complete gives what s leaves open its default, and makes MaxRetries a plain number.
func (s *Spec) complete() {
	option.Default(&s.Queue, DefaultQueue)
	switch {
	case s.MaxRetries == 0:
		s.MaxRetries = DefaultMaxRetries
	case s.MaxRetries < 0:
		s.MaxRetries = 0
	}
}

// constant checks everything but the payload, and gives the part of the job's view
// that never changes, as commit.lua wants it: members that begin with a comma.
func (s Spec) constant(retryOf JobID) (string, error) {
	if _, err := ParseTopic(string(s.Topic)); err != nil {
		return "", err
	}
	if !nameForm.MatchString(s.Type) {
		return "", fmt.Errorf("%w Type %q: want [a-z][a-z0-9._-]{0,63}", ErrInvalid, clip(s.Type, 80))
	}
	if n := utf8.RuneCountInString(s.Title); n > MaxTitleRunes {
		return "", fmt.Errorf("%w Title of %d characters: at most %d; put the rest into the payload", ErrInvalid, n, MaxTitleRunes)
	}
	if len(s.Labels) > maxLabels {
		return "", fmt.Errorf("%w Labels: %d of them, at most %d", ErrInvalid, len(s.Labels), maxLabels)
	}
	for name, value := range s.Labels {
		if !nameForm.MatchString(name) {
			return "", fmt.Errorf("%w label name %q: want [a-z][a-z0-9._-]{0,63}", ErrInvalid, clip(name, 80))
		}
		if err := bounded("label "+name, len(value), 256, "put it into the payload"); err != nil {
			return "", err
		}
	}
	if s.Queue != "" {
		if err := CheckQueue(s.Queue); err != nil {
			return "", err
		}
	}
	if err := errors.Join(
		bounded("Key", len(s.Key), 256, "use a hash of it"),
		option.Within("Delay", s.Delay, 0, 365*24*time.Hour),
		option.Within("MaxRetries", s.MaxRetries, -1, 1000),
	); err != nil {
		return "", err
	}
	if !s.Deadline.IsZero() && !s.Deadline.After(time.Now().Add(s.Delay)) {
		return "", fmt.Errorf("%w Deadline %s: it is before the job could start", ErrInvalid, s.Deadline.Format(time.RFC3339))
	}
	b, err := json.Marshal(struct {
		Type    string            `json:"type"`
		Title   string            `json:"title,omitempty"`
		Labels  map[string]string `json:"labels,omitempty"`
		RetryOf JobID             `json:"retry_of,omitempty"`
	}{s.Type, s.Title, s.Labels, retryOf})
	if err != nil {
		return "", err
	}
	if err := bounded("Title and Labels, as JSON,", len(b), maxConstantBytes, "put some of it into the payload"); err != nil {
		return "", err
	}
	b[0] = ','
	return string(b[:len(b)-1]), nil
}

// CheckQueue checks the name of a queue. Its error wraps ErrInvalid.
func CheckQueue(name string) error {
	if !queueForm.MatchString(name) || strings.HasSuffix(name, rescueSuffix) {
		return fmt.Errorf("%w Queue %q: want [a-z0-9][a-z0-9_-]{0,63}, not ending in %s", ErrInvalid, clip(name, 80), rescueSuffix)
	}
	return nil
}

func (s Spec) payload() ([]byte, error) {
	b, raw := s.Payload.([]byte)
	if !raw {
		var err error
		if b, err = json.Marshal(s.Payload); err != nil {
			return nil, fmt.Errorf("%w Payload: %w", ErrInvalid, err)
		}
	}
	if b == nil {
		b = []byte{}
	}
	return b, bounded("Payload", len(b), MaxPayloadBytes, "store it as a blob and name that")
}
