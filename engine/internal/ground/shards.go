package ground

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"
)

// A ShardAnswer is what a script has answered of one shard, or why it has not.
type ShardAnswer struct {
	List []any
	Err  error
}

// shards runs a script that reads or marks something of every shard, and returns each
// shard's own answer: one call of one server, one a shard on a Cluster, whose keys may
// stand in different nodes. There the shards of a node that does not answer have its error,
// and the others their answers. args are of a shard, and as many for each.
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
	// A pipeline over all nodes fails as a whole when one of them lets its time pass.
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

// ByNode groups the shards by the address of the master of a Cluster that has them; those
// of which that is not known are a group. Elsewhere all are one.
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

// Lists reads an answer that is a list of lists.
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

// failures joins the errors of shards that have no answer; do names what was attempted.
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
