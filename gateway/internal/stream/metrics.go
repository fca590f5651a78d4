package stream

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// metrics are what an operator sees of sessions. None has a label that a client chooses.
type metrics struct {
	connections, subscriptions, topics prometheus.Gauge

	delivered, replayed, conflated, fellBehind prometheus.Counter
	sentFrames, sentBytes                      prometheus.Counter

	pagesRead prometheus.Counter

	snapshots, refusals, closes *prometheus.CounterVec
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
	vector := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help}, []string{label})
		all = append(all, c)
		return c
	}
	m := &metrics{
		connections:   gauge("connections", "WebSockets, event streams and polls that are open."),
		subscriptions: gauge("subscriptions", "Subscriptions of all connections."),
		topics:        gauge("topics", "Topics that anybody follows."),
		delivered:     counter("records_delivered_total", "Records sent as they were committed."),
		replayed:      counter("records_replayed_total", "Records sent from topics' streams."),
		conflated:     counter("records_conflated_total", "Ticks left out because a later record of their job went out."),
		fellBehind:    counter("fell_behind_total", "Times that a live subscription found no room in its session's window."),
		sentFrames:    counter("frames_sent_total", "Frames given to connections."),
		sentBytes:     counter("frames_sent_bytes_total", "Bytes of the frames given to connections."),
		pagesRead:     counter("pages_read_total", "Pages of topics' streams and of snapshots read for subscriptions that were behind."),
		snapshots:     vector("snapshots_total", "Snapshots given, by reason.", "reason"),
		refusals:      vector("errors_total", "Error frames sent, by code.", "code"),
		closes:        vector("closes_total", "WebSockets, event streams and polls that the gateway ended, by close code.", "code"),
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func closeLabel(reason transport.Reason) string { return strconv.Itoa(int(reason)) }
