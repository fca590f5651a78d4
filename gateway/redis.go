package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// readiness returns what asks e's Redis whether it is ready, at most once a second.
func readiness(e *engine.Engine) func(context.Context) (writes bool, err error) {
	return stream.Of(e).Readiness().Ready
}

// redisInterval is the time between two questions to a Redis that does not answer.
const redisInterval = time.Second

// A redisWatch logs that Redis does not answer, and that it answers again: once each, however many
// requests and subscriptions notice. It asks Redis nothing until one of them has. Its methods may be
// called concurrently.
type redisWatch struct {
	ready  func(context.Context) (writes bool, err error)
	logger *slog.Logger

	mu     sync.Mutex
	away   bool
	ended  bool
	over   chan struct{} // closed by stop
	asking sync.WaitGroup
}

func newRedisWatch(ready func(context.Context) (bool, error), logger *slog.Logger) *redisWatch {
	return &redisWatch{ready: ready, logger: logger, over: make(chan struct{})}
}

// note takes the error of a call of Redis, whatever it is.
func (w *redisWatch) note(err error) {
	if !errors.Is(err, engine.ErrUnreachable) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away || w.ended {
		return
	}
	w.away = true
	w.logger.Warn("Redis does not answer, or is a replica; requests get 503, and subscriptions wait", "error", err)
	w.asking.Go(w.await)
}

// await asks Redis until it answers.
func (w *redisWatch) await() {
	began := time.Now()
	tick := time.NewTicker(redisInterval)
	defer tick.Stop()
	for err := errors.New("not asked yet"); err != nil; {
		select {
		case <-w.over:
			return
		case <-tick.C:
			_, err = w.ready(context.Background()) // it takes at most 3 seconds
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = false
	w.logger.Info("Redis answers again", "after", time.Since(began).Round(time.Millisecond))
}

// stop ends the questions, and returns when they have ended. note does nothing from then on.
func (w *redisWatch) stop() {
	w.mu.Lock()
	if !w.ended {
		w.ended = true
		close(w.over)
	}
	w.mu.Unlock()
	w.asking.Wait()
}
