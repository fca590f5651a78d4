package upload

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what an operator sees of uploads.
type metrics struct {
	running                    prometheus.Gauge
	bytes, announced, finished prometheus.Counter
	swept                      *prometheus.CounterVec
}

func newMetrics(r *prometheus.Registry) (*metrics, error) {
	name := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help}
	}
	m := &metrics{
		running:   prometheus.NewGauge(prometheus.GaugeOpts(name("uploads_running", "Requests that bring an upload's bytes."))),
		bytes:     prometheus.NewCounter(prometheus.CounterOpts(name("upload_bytes_total", "Bytes of uploads that were stored."))),
		announced: prometheus.NewCounter(prometheus.CounterOpts(name("uploads_announced_total", "Uploads announced."))),
		finished:  prometheus.NewCounter(prometheus.CounterOpts(name("uploads_finished_total", "Uploads whose job was queued, by the sweep too."))),
		swept: prometheus.NewCounterVec(prometheus.CounterOpts(name("uploads_swept_total",
			"Uploads that the sweep saw to: queued, expired, ended (their job had), void (never told to a client), forgotten (their job is gone).")), []string{"what"}),
	}
	for _, c := range []prometheus.Collector{m.running, m.bytes, m.announced, m.finished, m.swept} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}
