package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestClusterServesEverySlot(t *testing.T) {
	t.Parallel() // these wait, most of the time
	began := time.Now()
	nodes := Cluster(t)
	t.Logf("a cluster after %s", time.Since(began))
	c := nodes.Client(t)
	for i := range 100 {
		key := fmt.Sprintf("{%d}", i)
		set(t, c, key, key)
		wantValue(t, c, key, key)
	}
	// The keys must be spread, or one node would do.
	for _, n := range nodes.Each {
		if size, err := n.Client(t).DBSize(t.Context()).Result(); err != nil || size < 10 {
			t.Errorf("%s holds %d of 100 keys, %v", n.Addr(), size, err)
		}
	}
	if want := "redis+cluster://" + strings.Join(nodes.Addrs(), ","); nodes.URL() != want || len(nodes.Addrs()) != 3 {
		t.Errorf("URL %s, want %s", nodes.URL(), want)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	for _, sentinels := range []int{1, 3} {
		t.Run(fmt.Sprint(sentinels), func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			g := Sentinel(t, sentinels)
			t.Logf("a group after %s", time.Since(began))
			c := g.Client(t)
			set(t, c, "k", "v")
			if n, err := c.Do(t.Context(), "WAIT", 1, 10_000).Int(); err != nil || n != 1 {
				t.Fatalf("WAIT gave %d, %v", n, err)
			}
			old, next := g.Primary(), g.Replica()
			began = time.Now()
			g.Failover()
			t.Logf("failed over in %s", time.Since(began))
			if g.Primary() != next || g.Replica() != old {
				t.Fatal("the roles have not changed")
			}
			wantValue(t, g.Primary().Client(t), "k", "v")
			// The client that was there before follows.
			until(t, "the client to follow", func(ctx context.Context) error {
				return c.Set(ctx, "k", "after", 0).Err()
			})
			wantValue(t, g.Primary().Client(t), "k", "after")
		})
	}
}

func TestPausedPrimaryComesBackAsAReplica(t *testing.T) {
	t.Parallel()
	g := Sentinel(t, 1)
	g.FailoverBy((*Redis).Pause)
	set(t, g.Primary().Client(t), "k", "new")
	old := g.Replica()
	old.Resume()
	c := old.Client(t)
	until(t, "the old primary to be told", func(ctx context.Context) error {
		got, err := c.Get(ctx, "k").Result()
		if err == nil && got == "new" {
			return nil
		}
		return fmt.Errorf("it has %q, %w", got, errors.Join(err, redis.Nil))
	})
}
