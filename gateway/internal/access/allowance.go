package access

import (
	"fmt"
	"net/http"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// An Allowance is the jobs that principals may make who are no admins, by their type. It does not change.
type Allowance map[string]Allowed

// Allowed is what such a job may be. No field is zero.
type Allowed struct {
	Queue           string
	MaxAttempts     int
	MaxPayloadBytes int
}

// May refuses a principal jobs of a type, with 403.
func (a Allowance) May(p *auth.Principal, jobType string) error {
	if _, allowed := a[jobType]; p.Admin || allowed {
		return nil
	}
	return &problem.Refusal{
		Status: http.StatusForbidden, Code: "forbidden",
		Detail: fmt.Sprintf("you may not enqueue jobs of type %q; the setting gateway.enqueue.types has those that users may", excerpt.Of(jobType, 80)),
	}
}

// MayRetry refuses a principal to retry a job of a type in a queue, with 403: the new job goes to the same queue.
func (a Allowance) MayRetry(p *auth.Principal, jobType, queue string) error {
	if err := a.May(p, jobType); err != nil || p.Admin || queue == a[jobType].Queue {
		return err
	}
	return &problem.Refusal{
		Status: http.StatusForbidden, Code: "forbidden",
		Detail: fmt.Sprintf("you may not retry jobs of the queue %q: jobs of type %s that users make go to the queue %s", excerpt.Of(queue, 80), jobType, a[jobType].Queue),
	}
}

// Fit refuses a principal a job that is not among those of a, with 403 or 400. payloadBytes is the length of the payload
// that the principal wrote. To a job that it does not refuse Fit gives the queue and the attempts that go with its type.
func (a Allowance) Fit(p *auth.Principal, s *engine.Spec, payloadBytes int) error {
	if err := a.May(p, s.Type); err != nil || p.Admin {
		return err
	}
	t := a[s.Type]
	switch {
	case s.Queue != "" && s.Queue != t.Queue:
		return fmt.Errorf("%w: queue %q: jobs of type %s go to the queue %s", problem.ErrRequest, excerpt.Of(s.Queue, 80), s.Type, t.Queue)
	case s.MaxAttempts > t.MaxAttempts:
		return fmt.Errorf("%w: max_attempts %d: jobs of type %s have at most %d", problem.ErrRequest, s.MaxAttempts, s.Type, t.MaxAttempts)
	case payloadBytes > t.MaxPayloadBytes:
		return fmt.Errorf("%w: payload of %d bytes: jobs of type %s have at most %d", problem.ErrRequest, payloadBytes, s.Type, t.MaxPayloadBytes)
	}
	s.Queue = t.Queue
	if s.MaxAttempts == 0 {
		s.MaxAttempts = min(engine.DefaultMaxAttempts, t.MaxAttempts)
	}
	return nil
}
