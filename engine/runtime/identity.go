package runtime

import (
	"context"
	"slices"
	"sync"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
)

// Identities tells the Redis behind each shard whose beats were read, as Identity does, or
// sets why it is not known. Each server is asked once, all at the same time.
func (rt *Runtime) Identities(ctx context.Context, beats []Beats) {
	var servers sync.WaitGroup
	for _, shards := range rt.g.ByNode(ctx, rt.g.Vital) {
		if !slices.ContainsFunc(shards, func(shard int) bool { return beats[shard].Err == nil }) {
			continue
		}
		servers.Go(func() {
			id, err := rt.g.IdentityOf(ctx, rt.g.Vital, shards[0])
			for _, shard := range shards {
				if b := &beats[shard]; b.Err == nil {
					b.Redis, b.Err = id, ground.Failure("ask Redis who it is", err)
				}
			}
		})
	}
	servers.Wait()
}
