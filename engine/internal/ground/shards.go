package ground

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"
)

// A ShardAnswer is a script's answer for one shard, or its error.
type ShardAnswer struct {
	List []any
	Err  error
}

// Shards runs a script that reads or marks something in every shard, and returns each shard's
// answer. It is one call to one server; on a Cluster it is one call for each shard, since their
// keys may be on different nodes. If a node does not answer, its shards have the error and the
// others their answers. args are the arguments for a shard; each shard must have the same number.
func (g *Ground) Shards(ctx context.Context, c redis.UniversalClient, script *redis.Script, args func(shard int) []any) []ShardAnswer {
	answers := make([]ShardAnswer, g.Opts.Shards)
	if !g.Cluster() {
		var keys []string
		var all []any
		for shard := range answers {
			keys = append(keys, g.Keys.Declared(shard)...)
			all = append(all, args(shard)...)
		}
		lists, err := Lists(script.Run(ctx, c, keys, all...))
		for shard := range answers {
			if answers[shard].Err = err; err == nil {
				answers[shard].List = lists[shard]
			}
		}
		return answers
	}
	// A pipeline over all nodes fails as a whole when one of them times out.
	var nodes sync.WaitGroup
	for _, shards := range g.ByNode(ctx, c) {
		nodes.Go(func() {
			cmds := make([]*redis.Cmd, len(shards))
			pipe := c.Pipeline()
			for i, shard := range shards {
				cmds[i] = pipe.EvalSha(ctx, script.Hash(), g.Keys.Declared(shard), args(shard)...)
			}
			_, _ = pipe.Exec(ctx) // each command's own error is read below
			for i, shard := range shards {
				cmd := cmds[i]
				if err := cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
					cmd = script.Eval(ctx, c, g.Keys.Declared(shard), args(shard)...)
				}
				own, err := Lists(cmd)
				if answers[shard].Err = err; err == nil {
					answers[shard].List = own[0]
				}
			}
		})
	}
	nodes.Wait()
	return answers
}

// ByNode groups the shards by the address of their master in a Cluster; those with an unknown
// master are a group. Without a Cluster all shards are one group.
func (g *Ground) ByNode(ctx context.Context, c redis.UniversalClient) map[string][]int {
	groups := map[string][]int{}
	for shard := range g.Opts.Shards {
		addr := ""
		if cluster, ok := c.(*redis.ClusterClient); ok {
			if node, err := cluster.MasterForKey(ctx, g.Keys.Log(shard)); err == nil {
				addr = node.Options().Addr
			}
		}
		groups[addr] = append(groups[addr], shard)
	}
	return groups
}

// Lists parses an answer that is a list of lists.
func Lists(cmd *redis.Cmd) ([][]any, error) {
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

// Failures joins the errors of shards without an answer; do names what was attempted.
func Failures(do string, answers []ShardAnswer) error {
	var all error
	seen := map[string]bool{}
	for _, a := range answers {
		if a.Err != nil && !seen[a.Err.Error()] {
			seen[a.Err.Error()] = true
			all = errors.Join(all, Failure(do, a.Err))
		}
	}
	return all
}
