package engine

import "github.com/tidemark-dev/tidemark/engine/internal/ground"

// ShardOf is the shard of a topic.
func (e *Engine) ShardOf(t Topic) int { return ground.ShardOf(t, e.g.Opts.Shards) }
