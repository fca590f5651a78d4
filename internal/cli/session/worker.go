package session

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/processor"
)

// NewWorker makes a worker with all processors, on the session's bucket. grace is how long its
// Stop may take. metrics may be nil.
func NewWorker(s *Session, metrics *prometheus.Registry, queues ...string) (w *worker.Worker, grace time.Duration, err error) {
	o := s.Config.Worker
	o.Engine, o.Logger, o.Registry, o.Queues, o.Blobs = s.Engine, s.Log, metrics, queues, s.Blobs.Bucket
	o.QueueWeights = maps.Clone(o.QueueWeights)
	maps.DeleteFunc(o.QueueWeights, func(q string, _ int) bool { return !slices.Contains(queues, q) })
	w, err = worker.New(o)
	if err != nil {
		return nil, 0, err
	}
	for _, p := range s.Config.Processors {
		p.Register(w, processor.Deps{Blobs: s.Blobs.Bucket, Sources: s.Config.Sources})
	}
	return w, o.DrainGrace + o.CancelGrace + closeTimeout, nil
}
