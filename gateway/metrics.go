package gateway

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what an operator sees of requests; the rooms have further ones of their own.
// None has a label that a client chooses.
type metrics struct {
	requests, problems *prometheus.CounterVec
}

func newMetrics(r *prometheus.Registry) (*metrics, error) {
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests: vector("requests_total", "Requests answered, by route and status.", "route", "status"),
		problems: vector("problems_total", "Requests and handshakes that were refused or failed, by the problem's code.", "code"),
	}
	for _, c := range []prometheus.Collector{m.requests, m.problems} {
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
