package gateway

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tidemark-dev/tidemark/gateway/internal/access"
)

// metrics are what an operator sees of requests; the rooms have further ones of their own.
// None has a label that a client chooses.
type metrics struct {
	requests, problems, ended *prometheus.CounterVec
}

func newMetrics(r *prometheus.Registry) (*metrics, error) {
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests: vector("requests_total", "Requests answered, by route and status.", "route", "status"),
		problems: vector("problems_total", "Requests and handshakes that were refused or failed, by the problem's code.", "code"),
	}
	m.ended = vector("uses_ended_total", "Connections, uploads and downloads that ended with their credentials, by why: expired, revoked, or unknown where what is revoked cannot be read.", "why")
	for _, c := range []prometheus.Collector{m.requests, m.problems, m.ended} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := r.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// useEnded counts a use that has ended with its credentials.
func (m *metrics) useEnded(why error) {
	label := "unknown"
	switch {
	case errors.Is(why, access.ErrExpired):
		label = "expired"
	case errors.Is(why, access.ErrRevoked):
		label = "revoked"
	}
	m.ended.WithLabelValues(label).Inc()
}
