package ground

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// layout is the version of the keys and of their contents.
const layout = 1

// ErrSchema says that another version of Tidemark created the namespace, or with another number of
// shards. Open has changed nothing.
var ErrSchema = errors.New("the namespace does not match")

// ErrEviction says that Redis is configured to evict keys, and would lose jobs.
var ErrEviction = errors.New("Redis may evict keys") //nolint:staticcheck // Redis is a name

// settle creates the namespace if it is new, and otherwise checks it.
func (g *Ground) settle(ctx context.Context) error {
	key := g.Keys.Schema()
	pipe := g.Redis.Pipeline()
	pipe.HSetNX(ctx, key, "version", layout)
	pipe.HSetNX(ctx, key, "shards", g.Opts.Shards)
	found := pipe.HMGet(ctx, key, "version", "shards")
	if _, err := pipe.Exec(ctx); err != nil {
		return Failure("open namespace "+g.Opts.Namespace, err)
	}
	version, shards := Text(found.Val()[0]), Text(found.Val()[1])
	if version != strconv.Itoa(layout) {
		return fmt.Errorf("%w: %s has version %s, this program writes version %d; use the Tidemark that matches, or another namespace", ErrSchema, key, version, layout)
	}
	if shards != strconv.Itoa(g.Opts.Shards) {
		return fmt.Errorf("%w: %s has %s shards, this process is set to %d; set shards to %s, or use another namespace", ErrSchema, key, shards, g.Opts.Shards, shards)
	}
	return nil
}

// checkEviction refuses a Redis that may evict keys. It accepts one that has no such policy, as the
// embedded one, and, with a warning, one that denies INFO.
func (g *Ground) checkEviction(ctx context.Context) error {
	var denied sync.Once // the nodes of a Cluster are checked concurrently
	check := func(ctx context.Context, c redis.Cmdable) error {
		info, err := c.Info(ctx, "memory").Result()
		if Away(orNil(err)) {
			return Failure("ask Redis for its memory policy", err)
		}
		if redis.IsPermissionError(err) {
			denied.Do(func() {
				g.Opts.Logger.Warn("Redis does not let its user ask for INFO: its maxmemory-policy must be noeviction and cannot be checked, and another Redis behind the same address looks like this one",
					"missing right", "+info", "command", "ACL SETUSER <user> +info", "error", err)
			})
		}
		policy := field(info, "maxmemory_policy")
		if policy != "" && policy != "noeviction" {
			return fmt.Errorf("%w: its maxmemory-policy is %s; set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in redis.conf)", ErrEviction, policy)
		}
		return nil
	}
	if cluster, ok := g.Redis.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return check(ctx, c) })
	}
	return check(ctx, g.Redis)
}

// orNil turns a nil error into redis.Nil, since Away takes no nil error.
func orNil(err error) error {
	if err == nil {
		return redis.Nil
	}
	return err
}

// field returns one field of INFO.
func field(info, name string) string {
	for line := range strings.SplitSeq(info, "\n") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}

// Text returns a value of HMGET; "" when it is missing.
func Text(v any) string {
	s, _ := v.(string)
	return s
}
