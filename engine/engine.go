package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// An Engine is a process's access to jobs and topics. Its methods may be called concurrently. Open
// returns one, Close ends it.
type Engine struct {
	g  *ground.Ground
	rt *runtime.Runtime
	st *stream.Stream
	// lingering are a consumer's reads that still block in Redis after the consumer has ended.
	lingering lingering

	closing sync.Once
}

func init() {
	ground.PartsOf = func(engine any) (ground.Parts, bool) {
		e, ok := engine.(*Engine)
		if e == nil {
			e = &Engine{} // an Engine that Open did not return
		}
		return ground.Parts{Runtime: e.rt, Stream: e.st}, ok
	}
}

// Open connects to Redis, checks that Redis does not evict keys, and creates the namespace or
// checks that it matches. Errors to branch on: ErrInvalid, ErrUnreachable, ErrSchema, ErrEviction.
func Open(ctx context.Context, o Options) (*Engine, error) {
	o = o.Defaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Redis == nil {
		parsed, err := ground.ParseURL(o.URL)
		if err != nil {
			return nil, err
		}
		o.Redis = parsed
	}
	if o.WaitReplicas > 0 && (o.Redis.IsClusterMode || (len(o.Redis.Addrs) > 1 && o.Redis.MasterName == "")) {
		return nil, fmt.Errorf("%w WaitReplicas %d: Redis Cluster cannot be waited for; want 0", ErrInvalid, o.WaitReplicas)
	}
	g, err := ground.Open(ctx, ground.Settings(o))
	if err != nil {
		return nil, err
	}
	return &Engine{g: g, rt: runtime.New(g), st: stream.New(g)}, nil
}

// Close waits for commits in progress, and closes all connections. A canceled, paused or resumed
// job may have children that have not followed it yet; workers' reconcilers finish that. Iterators
// of Follow end with ErrClosed. Close may be called more than once.
func (e *Engine) Close() error {
	var err error
	e.closing.Do(func() {
		err = e.st.Close()
		e.rt.Close()
		err = errors.Join(err, e.g.Close())
		e.st.Wait()
		e.lingering.end()
	})
	return err
}

// Redis returns the engine's client, for a queue or an inspector to share.
func (e *Engine) Redis() redis.UniversalClient { return e.g.Redis }
