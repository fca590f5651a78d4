package redistest

import (
	"net"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A Move is a slot of a Cluster on its way from one node to another, as
// `redis-cli --cluster reshard` moves it: between BeginMove and Finish each of its keys
// is on one of the two.
type Move struct {
	t        testing.TB
	nodes    *Nodes
	slot     int64
	source   *redis.Client
	target   *Redis
	targetID string
}

// BeginMove opens the slot of a key on the node that serves it and on target, which is
// another one. No key has moved then.
func (c *Nodes) BeginMove(t testing.TB, key string, target *Redis) *Move {
	t.Helper()
	source := c.Home(t, key)
	m := &Move{t: t, nodes: c, source: source.Client(t), target: target}
	to := target.Client(t)
	slot, err := to.ClusterKeySlot(t.Context(), key).Result()
	m.must(err)
	m.slot = slot
	m.targetID, err = nodeID(t, to)
	m.must(err)
	sourceID, err := nodeID(t, m.source)
	m.must(err)
	m.must(to.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "IMPORTING", sourceID).Err())
	m.must(m.source.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "MIGRATING", m.targetID).Err())
	return m
}

// Home is the node that serves a key.
func (c *Nodes) Home(t testing.TB, key string) *Redis {
	t.Helper()
	for _, node := range c.Each {
		client := node.Client(t)
		id, err := nodeID(t, client)
		if err != nil {
			t.Fatal(err)
		}
		slot, err := client.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		shards, err := client.ClusterShards(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, shard := range shards {
			serves := slices.ContainsFunc(shard.Slots, func(r redis.SlotRange) bool { return r.Start <= slot && slot <= r.End })
			if serves && shard.Nodes[0].ID == id {
				return node
			}
		}
	}
	t.Fatalf("no node serves %s", key)
	return nil
}

func nodeID(t testing.TB, c *redis.Client) (string, error) {
	return c.Do(t.Context(), "CLUSTER", "MYID").Text()
}

func (m *Move) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("moving slot %d: %v", m.slot, err)
	}
}

// Keys are up to 1,000 keys of the slot that have not moved.
func (m *Move) Keys() []string {
	m.t.Helper()
	keys, err := m.source.ClusterGetKeysInSlot(m.t.Context(), int(m.slot), 1000).Result()
	m.must(err)
	return keys
}

// Carry moves one key.
func (m *Move) Carry(key string) {
	m.t.Helper()
	host, port, err := net.SplitHostPort(m.target.Addr())
	m.must(err)
	m.must(m.source.Do(m.t.Context(), "MIGRATE", host, port, key, 0, 10_000).Err())
}

// Finish moves the keys that are left, gives the slot to the target and returns when
// every node knows.
func (m *Move) Finish() {
	m.t.Helper()
	for keys := m.Keys(); len(keys) > 0; keys = m.Keys() {
		for _, k := range keys {
			m.Carry(k)
		}
	}
	// The target first: otherwise both would send clients to the other.
	for _, node := range append([]*Redis{m.target}, m.nodes.Each...) {
		m.must(node.Client(m.t).Do(m.t.Context(), "CLUSTER", "SETSLOT", m.slot, "NODE", m.targetID).Err())
	}
}
