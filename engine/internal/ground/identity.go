package ground

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Identity identifies the Redis of the engine: another text means another process or another
// replication history, of any master of a Cluster. "" when Redis does not say. Its error wraps
// ErrUnreachable.
func (g *Ground) Identity(ctx context.Context) (string, error) { return identityBy(ctx, g.Vital) }

func identityBy(ctx context.Context, c redis.UniversalClient) (string, error) {
	cluster, ok := c.(*redis.ClusterClient)
	if !ok {
		id, err := identify(ctx, c)
		return id, Failure("ask Redis for its identity", err)
	}
	var mu sync.Mutex // ForEachMaster is concurrent
	var all []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		id, err := identify(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, id)
		return err
	})
	slices.Sort(all)
	return strings.Join(all, " "), Failure("ask the Cluster's masters for their identities", err)
}

// History is a short form of Identity's answer. While it stays the same, Redis still has all that
// it acknowledged. Once it changes, a failover or a restart may have lost the newest writes. ""
// when Redis does not say. Its error wraps ErrUnreachable.
func (g *Ground) History(ctx context.Context) (string, error) {
	id, err := identityBy(ctx, g.Redis)
	if err != nil || id == "" {
		return "", err
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:6]), nil
}

// KeepHistory writes History's answer into every shard. Later commits copy it into each attempt
// that begins to wait: see Attempt.History. Its error wraps ErrUnreachable.
func (g *Ground) KeepHistory(ctx context.Context, history string) error {
	pipe := g.Redis.Pipeline()
	for shard := range g.Opts.Shards {
		pipe.HSet(ctx, g.Keys.Head(shard), "redis", history)
	}
	_, err := pipe.Exec(ctx)
	return Failure("record Redis's identity", err)
}

// IdentityOf identifies the Redis that holds a shard.
func (g *Ground) IdentityOf(ctx context.Context, c redis.UniversalClient, shard int) (string, error) {
	cluster, ok := c.(*redis.ClusterClient)
	if !ok {
		return identify(ctx, c)
	}
	node, err := cluster.MasterForKey(ctx, g.Keys.Log(shard))
	if err != nil {
		return "", err
	}
	return identify(ctx, node)
}

// Embedded is the identity of the embedded Redis: it lives as long as its process, and loses
// everything or nothing.
const Embedded = "embedded"

func identify(ctx context.Context, c redis.Cmdable) (string, error) {
	id := ""
	for _, part := range [][2]string{{"server", "run_id"}, {"replication", "master_replid"}} {
		info, err := c.Info(ctx, part[0]).Result()
		switch answered := redis.Error(nil); {
		case errors.As(err, &answered) && strings.Contains(err.Error(), "is not supported"):
			return Embedded, nil
		case errors.As(err, &answered) && !Away(err):
			return "", nil // Redis denies INFO
		}
		if err != nil {
			return "", err
		}
		value := field(info, part[1])
		if value == "" {
			return "", nil
		}
		id += value + " "
	}
	return id, nil
}
