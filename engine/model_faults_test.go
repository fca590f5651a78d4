package engine_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// faultStep takes something away: what trimming, an expiry or a hand may take.
func (w *modelWorld) faultStep() {
	topic := w.anyTopic()
	t, s := w.topic(topic), w.shard(topic)
	stream, head := w.topicKey("s", topic), w.topicKey("m", topic)
	held := len(t.chain) - t.first
	switch w.pick("fault", 10) {
	case 0, 1:
		left := w.pick("left", held+1)
		w.must(w.raw.XTrimMaxLen(w.ctx, stream, int64(left)).Err())
		t.cut(held - left)
	case 2:
		if held > 0 {
			at := t.first + w.pick("oldest", held)
			w.must(w.raw.XTrimMinID(w.ctx, stream, string(t.chain[at].id)).Err())
			t.cut(at - t.first)
		}
	case 3:
		w.must(w.raw.Del(w.ctx, stream).Err())
		t.cut(held)
		t.bare = true
	case 4:
		w.must(w.raw.Del(w.ctx, head).Err())
		t.kept = false
	case 5:
		w.must(w.raw.Del(w.ctx, stream, head).Err())
		t.cut(held)
		t.kept = false
	case 6:
		if id, ok := w.anyJob(); ok {
			w.must(w.raw.Del(w.ctx, w.key(home(id), "j:"+string(id))).Err())
			if j := w.of(id).find(id); j != nil {
				j.gone = true
			}
		}
	case 7:
		w.must(w.raw.Del(w.ctx, w.key(shardOfTopic(topic), "log")).Err())
		s.bare = true
	case 8:
		op := fmt.Sprintf("enqueue:%s:k%d", topic, w.pick("key", 3))
		w.must(w.raw.Del(w.ctx, w.key(shardOfTopic(topic), "op:"+op)).Err())
		delete(s.ops, op)
	case 9:
		if id, ok := w.anyJob(); ok {
			gone, err := w.raw.Del(w.ctx, w.key(home(id), "p:"+string(id))).Result()
			w.must(err)
			w.of(id).jobs[id].bare = gone > 0 || w.of(id).jobs[id].bare
		}
	}
	if !t.kept && t.first == len(t.chain) {
		// A history that is lost whole begins again at the present ms. That is above
		// every n of the one before, unless the topic had more than one record a ms.
		w.after(t.head().N())
	}
	t.lose()
	w.replay(topic, w.cursor(topic))
}

// cut drops the stream's oldest records behind the engine's back.
func (t *modelTopic) cut(n int) {
	t.first += n
	t.touched = t.touched || n > 0
}

// after waits until Redis's clock has passed every record, and a millisecond.
func (w *modelWorld) after(ms uint64) {
	w.t.Helper()
	for ms = max(ms, w.newest); ; {
		now, err := w.raw.Time(w.ctx).Result()
		w.must(err)
		if uint64(now.UnixMilli()) > ms {
			return
		}
	}
}

// A modelImage is a shard at one moment: what a replica that lags still has.
type modelImage struct {
	model *modelShard
	keys  []modelKey
}

// A modelKey is one key: its name, what puts it back, and its time to live.
type modelKey struct {
	name string
	ttl  time.Duration
	put  func(redis.Pipeliner)
}

// keepStep takes an image of a shard.
func (w *modelWorld) keepStep() {
	shard := w.pick("shard", modelShards)
	w.images[shard] = &modelImage{model: w.shards[shard].clone(), keys: w.copyKeys(shard)}
}

// loseTailStep puts a shard back to its image: all that was acknowledged since is
// lost, as in a failover, and new writes go on from there.
func (w *modelWorld) loseTailStep() {
	shard := w.pick("shard", modelShards)
	image := w.images[shard]
	if image == nil {
		return
	}
	names, err := w.raw.Keys(w.ctx, w.key(shard, "*")).Result()
	w.must(err)
	pipe := w.raw.TxPipeline()
	for _, name := range names {
		pipe.Del(w.ctx, name)
	}
	for _, k := range image.keys {
		k.put(pipe)
		if k.ttl > 0 {
			pipe.PExpire(w.ctx, k.name, k.ttl)
		}
	}
	_, err = pipe.Exec(w.ctx)
	w.must(err)
	before := w.shards[shard]
	w.shards[shard] = image.model.clone()
	w.counts.cuts++
	for _, topic := range modelTopics {
		if t := w.topic(topic); shardOfTopic(topic) == shard {
			w.counts.lost += max(0, len(before.topics[topic].chain)-len(t.chain))
			t.bare = t.bare || t.first == len(t.chain) // an image has no empty streams
			w.replay(topic, w.cursor(topic))
		}
	}
	// No failover is over within a millisecond.
	w.after(0)
}

// copyKeys reads all keys of a shard, with plain commands, since not every Redis
// has DUMP for every type.
func (w *modelWorld) copyKeys(shard int) []modelKey {
	names, err := w.raw.Keys(w.ctx, w.key(shard, "*")).Result()
	w.must(err)
	slices.Sort(names)
	pipe := w.raw.Pipeline()
	kinds, ttls := make([]*redis.StatusCmd, len(names)), make([]*redis.DurationCmd, len(names))
	for i, name := range names {
		kinds[i], ttls[i] = pipe.Type(w.ctx, name), pipe.PTTL(w.ctx, name)
	}
	if len(names) > 0 {
		_, err = pipe.Exec(w.ctx)
		w.must(err)
	}
	keys := make([]modelKey, len(names))
	reads := w.raw.Pipeline()
	for i, name := range names {
		keys[i] = modelKey{name: name, ttl: ttls[i].Val(), put: w.copyKey(reads, kinds[i].Val(), name)}
	}
	if len(names) > 0 {
		_, err = reads.Exec(w.ctx)
		w.must(err)
	}
	return keys
}

// copyKey adds to reads what reads a key, and returns what writes it afterwards.
func (w *modelWorld) copyKey(reads redis.Pipeliner, kind, name string) func(redis.Pipeliner) {
	switch kind {
	case "hash":
		found := reads.HGetAll(w.ctx, name)
		return func(p redis.Pipeliner) { p.HSet(w.ctx, name, found.Val()) }
	case "zset":
		found := reads.ZRangeWithScores(w.ctx, name, 0, -1)
		return func(p redis.Pipeliner) { p.ZAdd(w.ctx, name, found.Val()...) }
	case "string":
		found := reads.Get(w.ctx, name)
		return func(p redis.Pipeliner) { p.Set(w.ctx, name, found.Val(), 0) }
	case "stream":
		found := reads.XRange(w.ctx, name, "-", "+")
		return func(p redis.Pipeliner) {
			for _, m := range found.Val() {
				p.XAdd(w.ctx, &redis.XAddArgs{Stream: name, ID: m.ID, Values: ordered(m.Values)})
			}
		}
	}
	w.t.Fatalf("key %s is a %s", name, kind)
	return nil
}

// ordered gives an entry's fields in the order in which the engine writes them: its
// scripts read them by place.
func ordered(values map[string]any) (list []any) {
	for _, field := range []string{"t", "i", "p", "r"} {
		if v, ok := values[field]; ok {
			list = append(list, field, v)
		}
	}
	return list
}
