package engine

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// shards runs a script that reads or marks something of every shard, and returns each
// shard's own answer: one call of one server, one a shard on a Cluster, whose keys may
// stand in different nodes. args are of a shard, and as many for each.
func (e *Engine) shards(ctx context.Context, c redis.UniversalClient, script *redis.Script, args func(shard int) []any) ([][]any, error) {
	if !e.Sharded() {
		var keys []string
		var all []any
		for shard := range e.opts.Shards {
			keys = append(keys, e.keys.declared(shard)...)
			all = append(all, args(shard)...)
		}
		return lists(script.Run(ctx, c, keys, all...))
	}
	cmds := make([]*redis.Cmd, e.opts.Shards)
	pipe := c.Pipeline()
	for shard := range cmds {
		cmds[shard] = pipe.EvalSha(ctx, script.Hash(), e.keys.declared(shard), args(shard)...)
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	answers := make([][]any, len(cmds))
	for shard, cmd := range cmds {
		if err := cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			cmd = script.Eval(ctx, c, e.keys.declared(shard), args(shard)...)
		}
		own, err := lists(cmd)
		if err != nil {
			return nil, err
		}
		answers[shard] = own[0]
	}
	return answers, nil
}

// lists reads an answer that is a list of lists.
func lists(cmd *redis.Cmd) ([][]any, error) {
	answer, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	all := make([][]any, len(answer))
	for i, a := range answer {
		all[i], _ = a.([]any)
	}
	return all, nil
}
