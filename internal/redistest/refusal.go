package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Refusal is a reason for which a server refuses writes and goes on answering reads.
type Refusal int

// The refusals.
const (
	// OutOfMemory: the server is above its maxmemory (OOM).
	OutOfMemory Refusal = iota
	// FewReplicas: it has fewer replicas than min-replicas-to-write (NOREPLICAS).
	FewReplicas
	// CannotSave: its last snapshot failed (MISCONF).
	CannotSave
	// Demoted: it is a replica, of a primary that cannot be reached (READONLY). Its
	// replication history is another afterwards.
	Demoted
)

// Refusals are all of them.
var Refusals = []Refusal{OutOfMemory, FewReplicas, CannotSave, Demoted}

func (f Refusal) String() string {
	return [...]string{"out of memory", "few replicas", "cannot save", "demoted"}[f]
}

// code is how the server's error begins.
func (f Refusal) code() string {
	return [...]string{"OOM", "NOREPLICAS", "MISCONF", "READONLY"}[f]
}

// RefuseWrites has the server refuse writes, and returns when it does. [Redis.TakeWrites]
// ends it.
func (r *Redis) RefuseWrites(why Refusal) {
	r.t.Helper()
	ctx, c := r.t.Context(), r.Client(r.t)
	switch why {
	case OutOfMemory:
		r.check(c.ConfigSet(ctx, "maxmemory", "1").Err())
	case FewReplicas:
		r.check(c.ConfigSet(ctx, "min-replicas-to-write", "1").Err())
	case CannotSave:
		// Where the snapshot's file is to be, a folder is in its way.
		r.check(os.MkdirAll(filepath.Join(r.Dir(), "dump.rdb"), 0o700))
		r.check(errors.Join(c.ConfigSet(ctx, "save", "3600 1000000").Err(), c.BgSave(ctx).Err()))
	case Demoted:
		r.check(c.ReplicaOf(ctx, "127.0.0.1", "1").Err())
	}
	until(r.t, "writes to be refused: "+why.String(), func(ctx context.Context) error {
		err := c.Set(ctx, "redistest:refused", 1, 0).Err()
		if err == nil {
			return errors.New("one was taken")
		}
		if !strings.HasPrefix(err.Error(), why.code()) {
			return err
		}
		return nil
	})
}

// TakeWrites ends RefuseWrites, and returns when a write was taken.
func (r *Redis) TakeWrites() {
	r.t.Helper()
	ctx, c := r.t.Context(), r.Client(r.t)
	if !isPrimary(ctx, c) {
		r.check(c.ReplicaOf(ctx, "no", "one").Err())
	}
	if err := os.Remove(filepath.Join(r.Dir(), "dump.rdb")); !errors.Is(err, os.ErrNotExist) {
		r.check(err)
	}
	r.check(errors.Join(
		c.ConfigSet(ctx, "maxmemory", "0").Err(), c.ConfigSet(ctx, "min-replicas-to-write", "0").Err(), c.ConfigSet(ctx, "save", "").Err(),
	))
	until(r.t, "a write to be taken", func(ctx context.Context) error { return c.Del(ctx, "redistest:refused").Err() })
}

func isPrimary(ctx context.Context, c *redis.Client) bool {
	role, err := c.Do(ctx, "ROLE").Slice()
	return err == nil && len(role) > 0 && fmt.Sprint(role[0]) == "master"
}
