package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Identity names the Redis behind the engine: another text means another process or
// another replication history, of any master of a Cluster. "" where Redis does not
// tell, as the embedded one. Its error wraps ErrUnreachable.
func (e *Engine) Identity(ctx context.Context) (string, error) {
	cluster, ok := e.vital.(*redis.ClusterClient)
	if !ok {
		id, err := identify(ctx, e.vital)
		return id, failure("ask Redis who it is", err)
	}
	var mu sync.Mutex // masters are asked concurrently
	var all []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		id, err := identify(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, id)
		return err
	})
	slices.Sort(all)
	return strings.Join(all, " "), failure("ask the Cluster's masters who they are", err)
}

// identityOf names the Redis that holds a shard.
func (e *Engine) identityOf(ctx context.Context, shard int) (string, error) {
	cluster, ok := e.redis.(*redis.ClusterClient)
	if !ok {
		return identify(ctx, e.redis)
	}
	node, err := cluster.MasterForKey(ctx, e.keys.log(shard))
	if err != nil {
		return "", err
	}
	return identify(ctx, node)
}

func identify(ctx context.Context, c redis.Cmdable) (string, error) {
	id := ""
	for _, part := range [][2]string{{"server", "run_id"}, {"replication", "master_replid"}} {
		info, err := c.Info(ctx, part[0]).Result()
		if answered := redis.Error(nil); errors.As(err, &answered) && !away(err) {
			return "", nil // it does not know the section
		}
		if err != nil {
			return "", err
		}
		id += field(info, part[1]) + " "
	}
	return id, nil
}
