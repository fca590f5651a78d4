package engine

// ShardOf is the shard of a topic.
func (e *Engine) ShardOf(t Topic) int { return shardOf(t, e.opts.Shards) }
