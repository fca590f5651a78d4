package gateway

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what an operator sees of the gateway. None has a label that a client
// chooses.
type metrics struct {
	connections, subscriptions, topics prometheus.Gauge

	delivered, replayed, conflated, fellBehind prometheus.Counter
	sentFrames, sentBytes                      prometheus.Counter

	snapshots, refusals, closes *prometheus.CounterVec
	requests, problems          *prometheus.CounterVec
}

func newMetrics(r *prometheus.Registry) (*metrics, error) {
	var all []prometheus.Collector
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help})
		all = append(all, g)
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help})
		all = append(all, c)
		return c
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	m := &metrics{
		connections:   gauge("connections", "WebSockets that are open."),
		subscriptions: gauge("subscriptions", "Subscriptions of all connections."),
		topics:        gauge("topics", "Topics that anybody follows."),
		delivered:     counter("records_delivered_total", "Records sent as they were committed."),
		replayed:      counter("records_replayed_total", "Records sent from topics' streams."),
		conflated:     counter("records_conflated_total", "Ticks left out because a later record of their job went out."),
		fellBehind:    counter("fell_behind_total", "Times that a live subscription found no room in its session's window."),
		sentFrames:    counter("frames_sent_total", "Frames given to sockets."),
		sentBytes:     counter("frames_sent_bytes_total", "Bytes of the frames given to sockets."),
		snapshots:     vector("snapshots_total", "Snapshots given, by reason.", "reason"),
		refusals:      vector("errors_total", "Error frames sent, by code.", "code"),
		closes:        vector("closes_total", "WebSockets that the gateway closed, by code.", "code"),
		requests:      vector("requests_total", "Requests answered, by route and status.", "route", "status"),
		problems:      vector("problems_total", "Requests and handshakes that were refused or failed, by the problem's code.", "code"),
	}
	for _, c := range all {
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
