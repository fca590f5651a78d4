package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// JobsQuery selects jobs of a topic, by pages.
type JobsQuery struct {
	// Filter selects jobs; the zero Filter selects all.
	Filter Filter
	// After is the Next of the previous page; "" for the first.
	After string
	// Limit bounds the jobs of a page, from 1 to 500. Defaults to 100.
	Limit int
}

// JobsPage is a page of a topic's jobs.
type JobsPage struct {
	Jobs []View `json:"jobs"`
	// Next is the After of the next page; "" on the last.
	Next string `json:"next,omitempty"`
}

// RetryQuery says how an ended job is tried again. As JSON it is the body of
// POST /v1/jobs/{id}/retry.
type RetryQuery struct {
	// FromStart ignores the checkpoint. Otherwise the new job goes on from the old one's last
	// checkpoint, if there is one. In either case the input is not uploaded again.
	FromStart bool `json:"from_start,omitempty"`
	// Key makes Retry idempotent: calls with the same key return the same new job, as long as Redis
	// keeps it. Without a key, all calls for a job return the same new job; to try once more, retry
	// that one. At most 256 bytes.
	Key string `json:"key,omitempty"`
}

// A JobRequest is a Spec as JSON, the body of POST /v1/jobs.
type JobRequest struct {
	Topic       Topic             `json:"topic"`
	Type        string            `json:"type"`
	Payload     json.RawMessage   `json:"payload,omitempty"`
	Title       string            `json:"title,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Key         string            `json:"key,omitempty"`
	KeyLife     KeyLife           `json:"key_life,omitempty"`
	Queue       string            `json:"queue,omitempty"`
	DelayMS     int64             `json:"delay_ms,omitempty"`
	Deadline    time.Time         `json:"deadline,omitzero"`
	MaxAttempts int               `json:"max_attempts,omitempty"`
}

// NewJobRequest checks a specification and returns its request. A Payload of type []byte must be
// JSON, or empty. Its error is that of Spec.Validate.
func NewJobRequest(s Spec) (JobRequest, error) {
	full, err := s.Prepared()
	if err != nil {
		return JobRequest{}, err
	}
	return JobRequest{
		Topic: s.Topic, Type: s.Type, Payload: full.Payload.([]byte), Title: s.Title, Labels: s.Labels, Key: s.Key, KeyLife: s.KeyLife,
		Queue: s.Queue, DelayMS: s.Delay.Milliseconds(), Deadline: s.Deadline, MaxAttempts: s.MaxAttempts,
	}, nil
}

// Spec returns the request's specification. Its error is about delay_ms, and wraps ErrInvalid.
func (r JobRequest) Spec() (Spec, error) {
	const year = 365 * 24 * time.Hour
	if r.DelayMS < 0 || r.DelayMS > year.Milliseconds() {
		return Spec{}, fmt.Errorf("%w delay_ms %d: want 0 to %d", ErrInvalid, r.DelayMS, year.Milliseconds())
	}
	s := Spec{
		Topic: r.Topic, Type: r.Type, Title: r.Title, Labels: r.Labels, Key: r.Key, KeyLife: r.KeyLife, Queue: r.Queue,
		Delay: time.Duration(r.DelayMS) * time.Millisecond, Deadline: r.Deadline, MaxAttempts: r.MaxAttempts,
	}
	if len(r.Payload) > 0 {
		s.Payload = r.Payload
	}
	return s, nil
}
