package engine_test

import (
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// On a Cluster with a frozen node the same consumers continue to read the other nodes' shards, and
// the node's own when it is back.
func TestAFrozenNodeStopsItsOwnShardsAlone(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	for _, n := range nodes.Each {
		must(t, n.Client(t).ConfigSet(soon(t), "cluster-require-full-coverage", "no").Err())
	}
	e := open(t, nodes.URL(), spacious)
	must(t, e.DeclareGroup(soon(t), "archive"))
	s := newTable()
	c := consume(t, e, &session{table: s}, func(o *engine.ConsumerOptions) { o.Lease = 6 * time.Second })
	topics := topicsOf("frozen")
	counted(t, e, topics, 0, len(topics))
	s.has(t, len(topics))
	frozen := nodes.Home(t, "{00}")
	var well, ill []engine.Topic
	for _, topic := range topics {
		if nodes.Home(t, e.StreamKey(topic)) == frozen {
			ill = append(ill, topic)
		} else {
			well = append(well, topic)
		}
	}
	fences := func() map[int]int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		got := map[int]int64{}
		for _, topic := range well {
			got[e.ShardOf(topic)] = s.fences[e.ShardOf(topic)]
		}
		return got
	}
	before := fences()
	frozen.Pause()
	for c.Stats().Shards != len(before) && again(minutes(t)) {
	}
	counted(t, e, well, 1000, 2*len(well))
	s.has(t, len(topics)+2*len(well))
	frozen.Resume()
	counted(t, e, ill, 2000, len(ill))
	s.has(t, len(topics)+2*len(well)+len(ill))
	s.sound(t)
	for shard, fence := range fences() {
		if before[shard] != fence {
			t.Errorf("shard %d, whose node was well, has fence %d, after %d", shard, fence, before[shard])
		}
	}
}
