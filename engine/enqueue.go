package engine

import (
	"cmp"
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
	// Key makes Enqueue idempotent: calls with the same topic and key give the same
	// job, whatever else they say, for as long as that job is kept. At most 256 bytes.
	Key string
	// KeyLife says which ends of the job free its Key before that, so that the next call
	// makes another job. Zero: none.
	KeyLife KeyLife
	// Queue is the asynq queue: [a-z0-9][a-z0-9_-]{0,63}, not ending in "-rescue", which
	// are queues of Tidemark's own. Defaults to "default".
	Queue string
	// Delay is how long the job waits before its first attempt, at most 1 year.
	Delay time.Duration
	// Deadline ends the job as failed, with code "deadline", when it has not ended
	// by itself. Zero: none.
	Deadline time.Time
	// MaxAttempts is how many attempts may fail before the job does, 1 to 1000; after a
	// failed one of fewer the job is tried again. Crashes and drains do not count. Zero
	// means the default of 4.
	MaxAttempts int
}

// A KeyLife says how long a Key gives the job that it has made.
type KeyLife string

// The lives of a key that are shorter than its job is kept.
const (
	// KeyUntilFailed: until the job fails or is canceled.
	KeyUntilFailed KeyLife = "until_failed"
	// KeyWhileLive: until the job ends in any way.
	KeyWhileLive KeyLife = "while_live"
)

const maxLabels = 16

// DefaultQueue is the queue of a job that names none.
const DefaultQueue = "default"

// DefaultMaxAttempts is the MaxAttempts of a job that names none.
const DefaultMaxAttempts = 4

// Enqueued is what Enqueue answers.
type Enqueued struct {
	ID    JobID
	Topic Topic
	// Existing says that a call with the same Key had made the job before.
	Existing bool
}

var (
	nameForm  = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)
	queueForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

const mostAttempts = 1000

// Validate checks the specification as Enqueue does, but for whether its deadline leaves
// time to start, which is for Redis's clock to say. Its error wraps ErrInvalid or
// ErrInvalidTopic, and names the field and the bound.
func (s Spec) Validate() error {
	_, err := s.constant(origin{})
	if err == nil {
		_, err = s.payload()
	}
	return err
}

// inTime checks that the job could start before its deadline.
func (s Spec) inTime(now time.Time) error {
	if s.Deadline.IsZero() || s.Deadline.After(now.Add(s.Delay)) {
		return nil
	}
	return fmt.Errorf("%w Deadline %s: it is before the job could start", ErrInvalid, s.Deadline.Format(time.RFC3339))
}

// Enqueue makes a job and hands it to asynq. It is accepted, and will reach an end,
// once Enqueue has returned without an error; what that survives is what Redis
// keeps, see docs/guarantees.md. After ErrUnreachable it may or may not have been
// accepted: with a Key, enqueue it again. Errors to branch on: ErrInvalid,
// ErrInvalidTopic, ErrLimit, ErrUnreachable, ErrOutOfMemory, and ErrUnreplicated, with
// which the job stands and is returned.
func (e *Engine) Enqueue(ctx context.Context, s Spec) (Enqueued, error) {
	now := e.Now()
	if s.Delay != 0 || !s.Deadline.IsZero() {
		now = e.readNow(ctx)
	}
	o, t, err := s.making(newJobID(shardOf(s.Topic, e.opts.Shards), now), now, origin{})
	if s.Key != "" {
		o.key = "enqueue:" + string(s.Topic) + ":" + s.Key
	}
	var done Enqueued
	if err == nil {
		err = e.patiently(ctx, func() (err error) {
			done, err = e.make(ctx, o, t)
			return err
		})
	}
	if err != nil {
		err = fmt.Errorf("enqueue %s for %s: %w", clip(s.Type, 64), clip(string(s.Topic), 64), err)
	}
	return done, err
}

// origin is what else a new job comes from.
type origin struct {
	retryOf JobID
	parent  JobID
}

// making is the operation that makes a job of the specification, and its first task. Delay
// counts from now.
func (s Spec) making(id JobID, now time.Time, from origin) (operation, task, error) {
	constant, err := s.constant(from)
	if err != nil {
		return operation{}, task{}, err
	}
	payload, err := s.payload()
	if err == nil {
		err = s.inTime(now)
	}
	if err != nil {
		return operation{}, task{}, err
	}
	s.complete()
	o := operation{
		kind: JobQueued, topic: s.Topic, job: id, attempt: 1,
		fields: append([]any{"ty", s.Type, "c", constant, "pl", payload, "q", s.Queue, "ma", s.MaxAttempts}, pin(s.Topic, payload)...),
	}
	t := task{job: id, topic: s.Topic, attempt: 1, kind: s.Type, queue: s.Queue}
	o.fields = append(o.fields, s.keyLife()...)
	if s.Delay > 0 {
		t.at = now.Add(s.Delay)
		o.fields = append(o.fields, "ra", t.at.UnixMilli())
	}
	if !s.Deadline.IsZero() {
		o.fields = append(o.fields, "dl", s.Deadline.UnixMilli())
	}
	return o, t, nil
}

// make makes a job, unless there is one of that ID or its key has made another, and hands it
// to asynq. Its error says that there is none, but for ErrUnreplicated.
func (e *Engine) make(ctx context.Context, o operation, t task) (Enqueued, error) {
	if err := e.admitQueue(ctx, t.queue); err != nil {
		return Enqueued{}, err
	}
	r, err := e.operate(ctx, o)
	if err != nil {
		return Enqueued{}, err
	}
	done := Enqueued{ID: r.job, Topic: o.topic, Existing: r.job != o.job}
	queued := error(nil)
	if r.duplicate {
		// Whoever made it may not have come as far as asynq.
		queued = e.dispatchAgain(ctx, done.ID)
	} else {
		queued = e.dispatch(ctx, t)
	}
	if queued != nil && !errors.Is(queued, ErrEnded) && !errors.Is(queued, ErrNotFound) {
		// The job stands; the reconciler of any worker will hand it over.
		e.opts.Logger.Warn("job is not yet handed to asynq", "job", done.ID, "error", queued)
	}
	return done, r.standing
}

// complete gives what s leaves open its default.
func (s *Spec) complete() {
	option.Default(&s.Queue, DefaultQueue)
	option.Default(&s.MaxAttempts, DefaultMaxAttempts)
}

// keyLife is the field of the job's hash that says what frees its key.
func (s *Spec) keyLife() []any {
	if s.KeyLife == "" {
		return nil
	}
	return []any{"kl", string(s.KeyLife)}
}

// constant checks everything but the payload, and gives the part of the job's view
// that never changes, as commit.lua wants it: members that begin with a comma.
func (s Spec) constant(from origin) (string, error) {
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
	switch s.KeyLife {
	case "", KeyUntilFailed, KeyWhileLive:
	default:
		return "", fmt.Errorf("%w KeyLife %q: want %q, %q or none", ErrInvalid, clip(string(s.KeyLife), 40), KeyUntilFailed, KeyWhileLive)
	}
	if s.KeyLife != "" && s.Key == "" {
		return "", fmt.Errorf("%w KeyLife %q: there is no Key", ErrInvalid, s.KeyLife)
	}
	if s.Queue != "" {
		if err := CheckQueue(s.Queue); err != nil {
			return "", err
		}
	}
	if err := errors.Join(
		bounded("Key", len(s.Key), 256, "use a hash of it"),
		option.Within("Delay", s.Delay, 0, 365*24*time.Hour),
		option.Within("MaxAttempts", cmp.Or(s.MaxAttempts, DefaultMaxAttempts), 1, mostAttempts),
	); err != nil {
		return "", err
	}
	b, err := json.Marshal(struct {
		Type    string            `json:"type"`
		Title   string            `json:"title,omitempty"`
		Labels  map[string]string `json:"labels,omitempty"`
		RetryOf JobID             `json:"retry_of,omitempty"`
		Parent  JobID             `json:"parent,omitempty"`
	}{s.Type, s.Title, s.Labels, from.retryOf, from.parent})
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
			return nil, fmt.Errorf("%w Payload: it does not encode to JSON: %s", ErrInvalid, clip(err.Error(), 200))
		}
	}
	if b == nil {
		b = []byte{}
	}
	return b, bounded("Payload", len(b), MaxPayloadBytes, "store it as a blob and name that")
}
