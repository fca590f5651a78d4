package engine_test

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
)

// end holds everything that a case has left in Redis against the model: nothing may
// be missing, and nothing may stay for ever that should not.
func (w *modelWorld) end() {
	w.t.Helper()
	for _, topic := range modelTopics {
		w.streamWhole(w.topic(topic))
		w.indexWhole(w.topic(topic))
		w.replay(topic, engine.Beginning)
		for _, r := range w.ever[topic] {
			if r.pos%16 == 0 {
				w.replay(topic, r.id)
			}
		}
		w.snapshot(w.topic(topic), "")
	}
	for shard := range w.shards {
		w.shardWhole(shard)
	}
}

// streamWhole reads a topic's whole stream: records never change, and each names
// the one before it.
func (w *modelWorld) streamWhole(t *modelTopic) {
	w.t.Helper()
	entries, err := w.raw.XRange(w.ctx, w.topicKey("s", t.name), "-", "+").Result()
	w.must(err)
	want := t.chain[t.first:]
	if len(entries) != len(want) {
		w.t.Fatalf("%s holds %d records, want %d", t.name, len(entries), len(want))
	}
	for i, m := range entries {
		if r := want[i]; m.ID != string(r.id) || m.Values["p"] != string(r.prev) || m.Values["r"] != string(r.json) {
			w.t.Fatalf("%s holds %v, want %s after %s: %s", t.name, m, r.id, r.prev, r.json)
		}
	}
	head, err := w.raw.HGetAll(w.ctx, w.topicKey("m", t.name)).Result()
	w.must(err)
	if (len(head) > 0) != t.kept {
		w.t.Fatalf("%s: head %v, want there to be one: %v", t.name, head, t.kept)
	}
	if t.kept && !t.touched && head["bytes"] != strconv.Itoa(sizeOf(want)) {
		w.t.Fatalf("%s: the head counts %s bytes, the stream has %d", t.name, head["bytes"], sizeOf(want))
	}
}

// indexWhole checks the list of a topic's jobs; those that were deleted may linger.
func (w *modelWorld) indexWhole(t *modelTopic) {
	w.t.Helper()
	members, err := w.raw.ZRangeWithScores(w.ctx, w.topicKey("x", t.name), 0, -1).Result()
	w.must(err)
	listed := map[engine.JobID]bool{}
	for _, z := range members {
		id := engine.JobID(z.Member.(string))
		listed[id] = true
		j, want := w.of(id).find(id), math.Inf(1)
		if j == nil {
			continue
		}
		if j.state.Ended() {
			want = float64(j.last.id.N())
		}
		if z.Score != want {
			w.t.Fatalf("%s lists job %s, which is %s, at %.0f, want %.0f", t.name, id, j.state, z.Score, want)
		}
	}
	live, ended := w.jobsOf(t)
	for _, id := range append(live, ended...) {
		if !listed[id] {
			w.t.Fatalf("%s does not list job %s", t.name, id)
		}
	}
}

// shardWhole checks a shard's lists and every key's time to live.
func (w *modelWorld) shardWhole(shard int) {
	w.t.Helper()
	s := w.shards[shard]
	names, err := w.raw.Keys(w.ctx, w.key(shard, "*")).Result()
	w.must(err)
	slices.Sort(names)
	pipe := w.raw.Pipeline()
	ttls := make([]*redis.DurationCmd, len(names))
	for i, name := range names {
		ttls[i] = pipe.PTTL(w.ctx, name)
	}
	live, beats := pipe.ZRange(w.ctx, w.key(shard, "live"), 0, -1), pipe.ZRangeWithScores(w.ctx, w.key(shard, "beats"), 0, -1)
	log := pipe.XRange(w.ctx, w.key(shard, "log"), "-", "+")
	_, err = pipe.Exec(w.ctx)
	w.must(err)

	if got := len(live.Val()); got != len(s.live) {
		w.t.Fatalf("shard %d lists %d live jobs, want %d", shard, got, len(s.live))
	}
	for _, id := range live.Val() {
		if !s.live[engine.JobID(id)] {
			w.t.Fatalf("shard %d lists job %s as live", shard, id)
		}
	}
	marks := map[engine.JobID]string{}
	for _, beat := range beats.Val() {
		marks[engine.JobID(beat.Member.(string))] = strconv.Itoa(int(beat.Score))
	}
	for id, j := range s.jobs {
		if beat := marks[id]; !j.gone && beat != j.beat {
			w.t.Fatalf("job %s, which is %s, has heartbeat %q, want %q", id, j.state, beat, j.beat)
		}
		if !j.gone {
			w.job(id)
			able, err := w.e.Retryable(w.ctx, []engine.JobID{id})
			w.must(err)
			if want := !j.state.Ended() || (j.at > 0 && !j.bare); able[0] != want {
				w.t.Fatalf("job %s, which is %s, can be tried again: %t, want %t", id, j.state, able[0], want)
			}
		}
	}
	for i, m := range log.Val() {
		if i > 0 && engine.Cursor(m.ID).N() != engine.Cursor(log.Val()[i-1].ID).N()+1 {
			w.t.Fatalf("shard %d: in the log %s follows %s", shard, m.ID, log.Val()[i-1].ID)
		}
	}
	for i, name := range names {
		w.expiry(s, strings.TrimPrefix(name, w.key(shard, "")), ttls[i].Val())
	}
}

// expiry checks a key's time to live: what lives has none, the rest goes.
func (w *modelWorld) expiry(s *modelShard, name string, ttl time.Duration) {
	w.t.Helper()
	least, most := time.Duration(0), time.Duration(0) // zero: none
	kind, rest, _ := strings.Cut(name, ":")
	switch kind {
	case "j":
		if j := s.find(engine.JobID(rest)); j == nil || j.state.Ended() {
			least, most = w.o.Retention-time.Minute, w.o.Retention
		}
	case "s":
		if s.topics[engine.Topic(rest)].bare && ttl < 0 {
			return
		}
		least, most = w.o.TopicTTL-time.Hour, w.o.TopicTTL
	case "m":
		least, most = w.o.TopicTTL+29*24*time.Hour, w.o.TopicTTL+30*24*time.Hour
	case "op":
		least, most = 23*time.Hour, 24*time.Hour
		switch {
		case strings.HasPrefix(rest, "~"):
			least, most = 9*time.Minute, 10*time.Minute // a key that no caller named
		case !strings.HasPrefix(rest, "notify:"):
			j := s.find(s.ops[rest])
			switch {
			case j == nil:
				return // what is left of a deleted job
			case j.frees():
				w.t.Fatalf("key %s is there, and job %s, which is %s, has freed it", name, j.id, j.state)
			case j.state.Ended():
				least, most = w.o.Retention-time.Minute, w.o.Retention
			default:
				least, most = 0, 0
			}
		}
	case "p":
		least, most = w.o.RetryFailed-time.Minute, w.o.RetryFailed
		if s.jobs[engine.JobID(rest)].state == engine.Succeeded {
			least, most = w.o.RetrySucceeded-time.Minute, w.o.RetrySucceeded
		}
	case "log":
		if s.bare && ttl < 0 {
			return
		}
		least, most = w.o.LogAge, 4*w.o.LogAge
	case "x":
		live, lingers := s.topics[engine.Topic(rest)].lives(s)
		if lingers && !live {
			return
		}
		if !live {
			least, most = w.o.Retention-time.Minute, w.o.Retention
		}
	}
	if none := ttl < 0; none != (most == 0) || (!none && (ttl < least || ttl > most)) {
		w.t.Fatalf("key %s goes in %s, want %s to %s", name, ttl, least, most)
	}
}

// lives reports whether a topic has a job that has not ended, and whether its list may
// still have one that did not end, since it was deleted.
func (t *modelTopic) lives(s *modelShard) (live, lingers bool) {
	for id := range t.index {
		if s.live[id] {
			live = live || s.find(id) != nil
			lingers = lingers || s.find(id) == nil
		}
	}
	return live, lingers
}
