package redistest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

const (
	clusterNodes = 3
	clusterSlots = 16384
)

// Nodes is a Redis Cluster of three primaries without replicas.
type Nodes struct {
	// Each is every node; the first has the lowest slots.
	Each []*Redis
}

// Cluster starts a Cluster and returns when every node sees every slot served.
// That takes some 2.5 s: a node waits 2 s before it takes part.
func Cluster(t testing.TB) *Nodes {
	t.Helper()
	c := &Nodes{Each: make([]*Redis, clusterNodes)}
	for i := range c.Each {
		c.Each[i] = start(t, redisproc.Config{Cluster: true})
	}
	ctx, clients := t.Context(), make([]*redis.Client, clusterNodes)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("forming the cluster: %v", err)
		}
	}
	for i, node := range c.Each {
		clients[i] = Dial(t, node.Addr())
		// Nodes with the same epoch would settle by themselves, later.
		must(clients[i].Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		first, end := i*clusterSlots/clusterNodes, (i+1)*clusterSlots/clusterNodes
		must(clients[i].ClusterAddSlotsRange(ctx, first, end-1).Err())
	}
	for _, node := range c.Each[1:] {
		host, port, err := net.SplitHostPort(node.Addr())
		must(err)
		must(clients[0].ClusterMeet(ctx, host, port).Err())
	}
	for _, client := range clients {
		until(t, "cluster_state:ok at "+client.Options().Addr, func(ctx context.Context) error {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			for _, want := range []string{
				"cluster_state:ok\r\n", fmt.Sprintf("cluster_slots_ok:%d\r\n", clusterSlots),
				fmt.Sprintf("cluster_known_nodes:%d\r\n", clusterNodes), fmt.Sprintf("cluster_size:%d\r\n", clusterNodes),
			} {
				if !strings.Contains(info, want) {
					return fmt.Errorf("no %q in %q", want, info)
				}
			}
			return nil
		})
		// Only the test's own clients should stay connected.
		must(client.Close())
	}
	return c
}

// Addrs are the nodes' addresses.
func (c *Nodes) Addrs() []string {
	var addrs []string
	for _, n := range c.Each {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// URL is the Cluster's redis+cluster:// URL with all nodes.
func (c *Nodes) URL() string { return "redis+cluster://" + strings.Join(c.Addrs(), ",") }

// Client returns a new client of the Cluster, closed with the test.
func (c *Nodes) Client(t testing.TB) *redis.ClusterClient {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs(), ContextTimeoutEnabled: true, MaintNotificationsConfig: quiet(),
	})
	closeWith(t, client)
	return client
}
