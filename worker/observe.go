package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// Outcomes of attempts that end without a record of their own. The others are the last word of the
// record's type, such as "succeeded" of job.succeeded.
const (
	outcomeSuperseded = "superseded" // another attempt is the current one
	outcomeAbandoned  = "abandoned"  // the drain was over before the handler returned
	outcomeRefused    = "refused"    // Redis did not accept the end
)

// logStart logs that the attempt has started.
func (r *Run) logStart() {
	r.logger.LogAttrs(context.Background(), slog.LevelInfo, "attempt started", slog.String("queue", r.queue))
}

// logEnd logs and counts the attempt's end, once: at info, or at warn if it has gone wrong.
func (r *Run) logEnd(level slog.Level, outcome string, attrs ...slog.Attr) {
	if !r.logged.CompareAndSwap(false, true) {
		return
	}
	took := time.Since(r.began)
	r.metrics.end(r.jobType, outcome, took)
	attrs = append([]slog.Attr{slog.String("outcome", outcome), slog.Duration("duration", took.Round(time.Millisecond))}, attrs...)
	r.logger.LogAttrs(context.Background(), level, "attempt ended", attrs...)
}

// tell logs a committed end. A panic's stack is in a line of its own and nowhere else.
func (r *Run) tell(report runtime.Report, err error) {
	if panicked := (*panicError)(nil); errors.As(err, &panicked) {
		r.logger.Error("the handler panicked", "panic", panicked.text, "stack", string(panicked.stack))
	}
	outcome := strings.TrimPrefix(string(report.Type), "job.")
	if report.Error == nil {
		r.logEnd(slog.LevelInfo, outcome)
		return
	}
	r.logEnd(slog.LevelWarn, outcome, slog.String("code", report.Error.Code), slog.String("error", words(err)))
}

// metrics are what an operator sees of attempts and queues. Labels are of types and outcomes, none is of jobs.
type metrics struct {
	running *prometheus.GaugeVec
	ended   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	refused prometheus.Gauge
}

// newMetrics registers the metrics, or shares those that another Worker or Adopter has registered.
// r may be nil: they are then not shown.
func newMetrics(r *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "tidemark", Subsystem: "worker", Name: "attempts_running", Help: "Attempts that run, by job type.",
		}, []string{"type"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tidemark", Subsystem: "worker", Name: "attempts_total", Help: "Attempts that have ended, by job type and outcome.",
		}, []string{"type", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tidemark", Subsystem: "worker", Name: "attempt_seconds", Help: "How long attempts took, by job type.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10), // 10 ms to 44 minutes
		}, []string{"type"}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "tidemark", Subsystem: "worker", Name: "refused_queues",
			Help: "Queues from which nothing is taken until the worker is restarted, since they hold tasks of another program.",
		}),
	}
	if r == nil {
		return m, nil
	}
	if err := errors.Join(shared(r, &m.running), shared(r, &m.ended), shared(r, &m.seconds), shared(r, &m.refused)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// shared registers *c, or sets it to the collector that was registered before it.
func shared[C prometheus.Collector](r *prometheus.Registry, c *C) error {
	err := r.Register(*c)
	var before prometheus.AlreadyRegisteredError
	if errors.As(err, &before) {
		if known, ok := before.ExistingCollector.(C); ok {
			*c = known
			return nil
		}
	}
	return err
}

func (m *metrics) end(jobType, outcome string, took time.Duration) {
	m.ended.WithLabelValues(jobType, outcome).Inc()
	m.seconds.WithLabelValues(jobType).Observe(took.Seconds())
}
