package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// queueNames are the queues that this process has found admissible.
type queueNames struct {
	mu       sync.Mutex
	admitted map[string]bool
}

// ServeQueues says that a worker takes jobs from queues. These are then never refused, however
// many other queues there are. A worker also names the TypeQueue of each type that it knows, so
// that others may move jobs there. Its error wraps ErrUnreachable.
func (e *Engine) ServeQueues(ctx context.Context, queues ...string) error {
	if len(queues) == 0 {
		return nil
	}
	return failure("note which queues are served", e.redis.SAdd(ctx, e.keys.served(), queues).Err())
}

// admitQueue checks, before a job is made, that its queue is one that workers serve, that asynq
// has, or for whose name there is room: asynq forgets none by itself, and its tools and our
// reconcilers read all of them. A process asks Redis once a name. Several processes that bring
// new names at the same moment may together pass the bound by a few.
func (e *Engine) admitQueue(ctx context.Context, queue string) error {
	e.queues.mu.Lock()
	admitted := e.queues.admitted[queue]
	e.queues.mu.Unlock()
	if admitted {
		return nil
	}
	pipe := e.redis.Pipeline()
	served := pipe.SIsMember(ctx, e.keys.served(), queue)
	held := pipe.SMembersMap(ctx, asynqQueues)
	if _, err := pipe.Exec(ctx); err != nil {
		return failure("read asynq's queues", err)
	}
	e.queues.mu.Lock()
	defer e.queues.mu.Unlock()
	if _, known := held.Val()[e.QueueName(queue)]; !known && !served.Val() {
		n := 0
		for name := range held.Val() {
			if !strings.HasSuffix(name, wire.RescueSuffix) && !e.typeQueue(name) {
				n++
			}
		}
		for name := range e.queues.admitted { // asynq may not have its first task yet
			if _, counted := held.Val()[e.QueueName(name)]; !counted {
				n++
			}
		}
		if n >= e.opts.QueueNames {
			return fmt.Errorf("%w: there are %d queues, which is the most, and %q is none of them; use one of those, have a worker serve it, or remove one that is empty from asynq", ErrLimit, n, queue)
		}
	}
	e.queues.admitted[queue] = true
	return nil
}
