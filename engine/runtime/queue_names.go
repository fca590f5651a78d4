package runtime

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
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
func (rt *Runtime) ServeQueues(ctx context.Context, queues ...string) error {
	if len(queues) == 0 {
		return nil
	}
	return ground.Failure("note which queues are served", rt.g.Redis.SAdd(ctx, rt.g.Keys.Served(), queues).Err())
}

// admitQueue checks, before a job is made, that its queue is one that workers serve, that asynq
// has, or for whose name there is room: asynq forgets none by itself, and its tools and our
// reconcilers read all of them. A process asks Redis once a name. Several processes that bring
// new names at the same moment may together pass the bound by a few.
func (rt *Runtime) admitQueue(ctx context.Context, queue string) error {
	rt.queues.mu.Lock()
	admitted := rt.queues.admitted[queue]
	rt.queues.mu.Unlock()
	if admitted {
		return nil
	}
	pipe := rt.g.Redis.Pipeline()
	served := pipe.SIsMember(ctx, rt.g.Keys.Served(), queue)
	held := pipe.SMembersMap(ctx, asynqQueues)
	if _, err := pipe.Exec(ctx); err != nil {
		return ground.Failure("read asynq's queues", err)
	}
	rt.queues.mu.Lock()
	defer rt.queues.mu.Unlock()
	if _, known := held.Val()[rt.QueueName(queue)]; !known && !served.Val() {
		n := 0
		for name := range held.Val() {
			if !strings.HasSuffix(name, wire.RescueSuffix) && !rt.typeQueue(name) {
				n++
			}
		}
		for name := range rt.queues.admitted { // asynq may not have its first task yet
			if _, counted := held.Val()[rt.QueueName(name)]; !counted {
				n++
			}
		}
		if n >= rt.g.Opts.QueueNames {
			return fmt.Errorf("%w: there are %d queues, which is the most, and %q is none of them; use one of those, have a worker serve it, or remove one that is empty from asynq", wire.ErrLimit, n, queue)
		}
	}
	rt.queues.admitted[queue] = true
	return nil
}
