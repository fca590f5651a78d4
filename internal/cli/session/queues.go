package session

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
)

// QueuesOf reads the queues in which jobs wait. It is for what is said beside the jobs: an older
// server does not tell it, and the jobs are shown all the same.
func (s *Session) QueuesOf(ctx context.Context, jobs []engine.Job) []engine.Queue {
	first := wire.FirstOfQueues(jobs)
	if len(first) == 0 {
		return nil
	}
	queues, err := s.Store.QueuesOf(ctx, first...)
	if err != nil && s.Log != nil {
		s.Log.Debug("the queues of jobs cannot be read", "error", err)
	}
	return queues
}

// queuesInterval is the time between two looks at the queues in which shown jobs wait.
const queuesInterval = 2 * time.Second

// WatchQueues keeps what a board says of waiting jobs true: a queue may be paused, and workers come
// and go, without a record. While no job waits it asks nothing. It returns what ends it.
func (s *Session) WatchQueues(ctx context.Context, b *screen.Board) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(queuesInterval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if jobs := b.ThatWait(); len(jobs) > 0 {
				if queues := s.QueuesOf(ctx, jobs); queues != nil {
					b.Learn(queues)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
