package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine"
)

const (
	// queuesTimeout bounds the question for the queues that a reader of metrics asks.
	queuesTimeout = 2 * time.Second
	// maxQueueLabels bounds the queues that have metrics of their own. The others are one, otherQueues.
	maxQueueLabels = 100
	otherQueues    = "other"
)

// queueMetrics are what is in the queues. Each scrape asks Redis, so all gateways show the same, and nothing is spent
// between scrapes. An autoscaler that has scaled a queue's workers to none wakes them by tidemark_queue_jobs.
type queueMetrics struct {
	queues func(context.Context) ([]engine.Queue, error)
	failed func(error)

	known, jobs, oldest, paused, workers *prometheus.Desc
}

func newQueueMetrics(r *prometheus.Registry, queues func(context.Context) ([]engine.Queue, error), failed func(error)) error {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("tidemark", "", name), help, labels, nil)
	}
	m := &queueMetrics{
		queues: queues, failed: failed,
		known:   desc("queues_known", "1 where the other metrics of queues are here, 0 where Redis did not answer."),
		jobs:    desc("queue_jobs", "Jobs in a queue, by state: waiting for a worker, running, or delayed.", "queue", "state"),
		oldest:  desc("queue_oldest_waiting_seconds", "For how long the first of a queue's waiting jobs has waited.", "queue"),
		paused:  desc("queue_paused", "1 while a queue is paused.", "queue"),
		workers: desc("queue_workers", "Worker processes that take jobs from a queue. One that was killed counts for up to 10 s.", "queue"),
	}
	if err := r.Register(m); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (m *queueMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.known, m.jobs, m.oldest, m.paused, m.workers} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *queueMetrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queuesTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	all, err := m.queues(ctx)
	if err != nil {
		m.failed(err)
		gauge(m.known, 0)
		return
	}
	gauge(m.known, 1)
	for _, q := range labeled(all) {
		paused := 0.0
		if q.Paused {
			paused = 1
		}
		gauge(m.paused, paused, q.Name)
		gauge(m.workers, float64(q.Workers), q.Name)
		gauge(m.oldest, float64(q.Counts.OldestSeconds), q.Name)
		gauge(m.jobs, float64(q.Counts.Waiting), q.Name, "waiting")
		gauge(m.jobs, float64(q.Counts.Running), q.Name, "running")
		gauge(m.jobs, float64(q.Counts.Delayed), q.Name, "delayed")
	}
}

// labeled are the queues that are Tidemark's, in order, and what exceeds the bound as one: how much there is in all, and
// whether the oldest job, the least workers and a pause are among them.
func labeled(all []engine.Queue) []engine.Queue {
	var own []engine.Queue
	for _, q := range all {
		if q.Foreign {
			continue
		}
		var n engine.QueueCounts
		if q.Counts != nil {
			n = *q.Counts
		}
		q.Counts = &n
		if len(own) == maxQueueLabels {
			q.Name = otherQueues
		}
		if len(own) <= maxQueueLabels {
			own = append(own, q)
			continue
		}
		rest := &own[maxQueueLabels]
		rest.Paused = rest.Paused || q.Paused
		rest.Workers = min(rest.Workers, q.Workers)
		rest.Counts.Waiting += n.Waiting
		rest.Counts.Running += n.Running
		rest.Counts.Delayed += n.Delayed
		rest.Counts.OldestSeconds = max(rest.Counts.OldestSeconds, n.OldestSeconds)
	}
	return own
}
