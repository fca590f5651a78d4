package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

const (
	masterName = "mymaster"
	// downAfter is long enough that a busy machine does not look like a dead one.
	downAfter = 800 * time.Millisecond
)

// Group is a primary, a replica, and Sentinels that watch them.
type Group struct {
	Sentinels []*Redis

	t       testing.TB
	primary *Redis
	replica *Redis
}

// Sentinel starts a primary, its replica and the given number of Sentinels (1 or
// 3, of which 1 or 2 must agree), and returns when the replica is in step and
// every Sentinel knows it and its fellows, so that a failover can succeed at
// once.
func Sentinel(t testing.TB, sentinels int) *Group {
	t.Helper()
	if sentinels != 1 && sentinels != 3 {
		t.Fatalf("Sentinel(%d): start 1 or 3", sentinels)
	}
	g := &Group{t: t}
	// A replica takes a full copy at once, not after the usual 5 s.
	fast := WithSettings("repl-diskless-sync yes", "repl-diskless-sync-delay 0")
	g.primary = Server(t, fast)
	g.replica = Server(t, fast, WithReplicaOf(g.primary))
	// A Sentinel asks for replicas when it connects and then each 10 s: the
	// replica must be there before.
	replica := Dial(t, g.replica.Addr())
	until(t, "the replica's link", func(ctx context.Context) error {
		info, err := replica.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New(info)
		}
		return err
	})
	// The link is up before anything goes over it: the primary holds its writes back
	// until the replica has acknowledged the copy, for up to a second.
	primary := Dial(t, g.primary.Addr())
	until(t, "the replica's first acknowledgement", func(ctx context.Context) error {
		if err := primary.Do(ctx, "SET", "probe", "1", "PX", "1").Err(); err != nil {
			return err
		}
		n, err := primary.Wait(ctx, 1, time.Second).Result()
		if err == nil && n < 1 {
			err = errors.New("it has acknowledged nothing")
		}
		return err
	})
	for range sentinels {
		g.Sentinels = append(g.Sentinels, start(t, redisproc.Config{Sentinel: &redisproc.Sentinel{
			Master: masterName, Addr: g.primary.Addr(), Quorum: sentinels/2 + 1,
			DownAfter: downAfter, FailoverTimeout: 10 * time.Second,
		}}))
	}
	for _, s := range g.Sentinels {
		g.awaitKnown(s)
	}
	return g
}

// awaitKnown waits until a Sentinel knows the replica and all other Sentinels.
func (g *Group) awaitKnown(s *Redis) {
	g.t.Helper()
	client := sentinelClient(g.t, s)
	until(g.t, "the Sentinel at "+s.Addr(), func(ctx context.Context) error {
		state, err := client.Master(ctx, masterName).Result()
		if err != nil {
			return err
		}
		others := fmt.Sprint(len(g.Sentinels) - 1)
		if state["num-slaves"] != "1" || state["num-other-sentinels"] != others || state["flags"] != "master" {
			return fmt.Errorf("it sees %v", state)
		}
		replicas, err := client.Replicas(ctx, masterName).Result()
		if err != nil {
			return err
		}
		// Only a replica whose INFO was read can be promoted.
		if len(replicas) != 1 || replicas[0]["master-link-status"] != "ok" || replicas[0]["flags"] != "slave" {
			return fmt.Errorf("it sees the replicas %v", replicas)
		}
		return nil
	})
}

func sentinelClient(t testing.TB, s *Redis) *redis.SentinelClient {
	c := redis.NewSentinelClient(&redis.Options{
		Addr: s.Addr(), ContextTimeoutEnabled: true, MaintNotificationsConfig: quiet(),
	})
	closeWith(t, c)
	return c
}

// Primary is the server that takes writes; a [Group.Failover] changes it.
func (g *Group) Primary() *Redis { return g.primary }

// Replica is the primary's replica; after a failover, the old primary, dead.
func (g *Group) Replica() *Redis { return g.replica }

// MasterName is the name under which the Sentinels know the primary.
func (g *Group) MasterName() string { return masterName }

// Addrs are the Sentinels' addresses.
func (g *Group) Addrs() []string {
	var addrs []string
	for _, s := range g.Sentinels {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// URL is the group's redis+sentinel:// URL, database 0.
func (g *Group) URL() string {
	return "redis+sentinel://" + strings.Join(g.Addrs(), ",") + "/" + masterName + "/0"
}

// Client returns a new client that follows the primary, closed with the test.
func (g *Group) Client(t testing.TB) *redis.Client {
	t.Helper()
	c := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: masterName, SentinelAddrs: g.Addrs(), ContextTimeoutEnabled: true,
	})
	closeWith(t, c)
	return c
}

// Failover kills the primary and returns when every Sentinel has announced the
// replica as the new one and it takes writes; some 2 to 4 s. It works once; a
// second one needs the old primary back ([Redis.Restart] on [Group.Replica]).
func (g *Group) Failover() {
	g.t.Helper()
	g.FailoverBy((*Redis).Kill)
}

// FailoverBy is Failover with another end for the primary: (*Redis).Pause makes
// one that comes back, on Resume, believing for a while that it is the primary.
func (g *Group) FailoverBy(end func(primary *Redis)) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*startTimeout)
	defer cancel()
	var switched []<-chan *redis.Message
	for _, s := range g.Sentinels {
		sub := sentinelClient(g.t, s).Subscribe(ctx, "+switch-master")
		defer closeWith(g.t, sub)
		if _, err := sub.Receive(ctx); err != nil { // confirmed before the kill
			g.t.Fatalf("listening to the Sentinel at %s: %v", s.Addr(), err)
		}
		switched = append(switched, sub.Channel())
	}
	end(g.primary)
	for i, ch := range switched {
		select {
		case msg := <-ch:
			g.checkSwitch(msg)
		case <-ctx.Done():
			g.t.Fatalf("no failover in %s; the Sentinel logged last:\n%s", 2*startTimeout, g.Sentinels[i].proc.LogTail())
		}
	}
	g.primary, g.replica = g.replica, g.primary
	client := Dial(g.t, g.primary.Addr())
	until(g.t, "the new primary's role", func(ctx context.Context) error {
		role, err := client.Do(ctx, "ROLE").Slice()
		if err == nil && fmt.Sprint(role[0]) != "master" {
			err = fmt.Errorf("ROLE says %v", role)
		}
		return err
	})
}

// checkSwitch reads "<name> <old host> <old port> <new host> <new port>".
func (g *Group) checkSwitch(msg *redis.Message) {
	g.t.Helper()
	f := strings.Fields(msg.Payload)
	if len(f) != 5 || net.JoinHostPort(f[3], f[4]) != g.replica.Addr() {
		g.t.Fatalf("the Sentinels switched to %q, the replica is at %s", msg.Payload, g.replica.Addr())
	}
}

// Rejoin starts the old primary of a [Group.Failover] again, as the new one's replica, and
// returns when another failover can succeed.
func (g *Group) Rejoin() {
	g.t.Helper()
	g.replica.Restart()
	host, port, err := net.SplitHostPort(g.primary.Addr())
	g.replica.check(err)
	client := Dial(g.t, g.replica.Addr())
	g.replica.check(client.ReplicaOf(g.t.Context(), host, port).Err())
	for _, s := range g.Sentinels {
		g.awaitKnown(s)
	}
}
