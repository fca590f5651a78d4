package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"reflect"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// modelShards is the number of shards of the model test's namespace: two lanes of
// the committer, and several topics in each.
const modelShards = 2

// modelTopics are three topics of the first shard and two of the second.
var modelTopics = topicsByShard(3, 2)

func topicsByShard(want ...int) (topics []engine.Topic) {
	for shard, many := range want {
		for n := 0; many > 0; n++ {
			if topic := engine.Topic("user:" + strconv.Itoa(n)); shardOfTopic(topic) == shard {
				topics = append(topics, topic)
				many--
			}
		}
	}
	return topics
}

// shardOfTopic places a topic as docs/protocol.md says: FNV-1a modulo the shards.
func shardOfTopic(t engine.Topic) int {
	h := fnv.New32a()
	h.Write([]byte(t))
	return int(h.Sum32() % modelShards)
}

// A modelWorld is one case: an engine with an empty Redis, and the model beside it.
type modelWorld struct {
	t   *rapid.T
	ctx context.Context //nolint:containedctx // one case's, and the case is this value
	e   *engine.Rig
	o   engine.Options
	raw *redis.Client

	shards [modelShards]*modelShard
	runs   []*modelRun
	images [modelShards]*modelImage
	// Every record that ever was, present or cut off: readers may hold any.
	ever   map[engine.Topic][]*modelRecord
	byID   map[engine.Topic]map[engine.Cursor]*modelRecord
	newest uint64 // the highest ms of any record
	counts *modelCounts
}

// modelCounts say what the cases came to, so that a run shows that it met what it is
// for.
type modelCounts struct {
	steps, records, duplicates, gaps, superseded, ended, refused int
	resumed, trimmed, rewritten, conservative                    int
	cuts, lost, trims                                            int
	largest                                                      int
}

func newModelWorld(t *rapid.T, b *modelBackend, counts *modelCounts) *modelWorld {
	side := b.sides[rapid.SampledFrom(numbers[:len(b.sides)]).Draw(t, "bounds")]
	w := &modelWorld{
		t: t, ctx: b.ctx, e: side.e, o: side.o, raw: b.raw, counts: counts,
		ever: map[engine.Topic][]*modelRecord{}, byID: map[engine.Topic]map[engine.Cursor]*modelRecord{},
	}
	for i := range w.shards {
		w.shards[i] = newModelShard()
	}
	for _, topic := range modelTopics {
		w.shard(topic).topics[topic] = &modelTopic{name: topic, index: map[engine.JobID]bool{}}
		w.byID[topic] = map[engine.Cursor]*modelRecord{}
	}
	w.must(b.raw.FlushAll(w.ctx).Err())
	return w
}

func (w *modelWorld) shard(t engine.Topic) *modelShard { return w.shards[shardOfTopic(t)] }

func (w *modelWorld) topic(t engine.Topic) *modelTopic { return w.shard(t).topics[t] }

// home is the shard that a job's ID names.
func home(id engine.JobID) int { n, _ := strconv.Atoi(string(id[:2])); return n }

func (w *modelWorld) of(id engine.JobID) *modelShard { return w.shards[home(id)] }

func (w *modelWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// key is a key of a shard.
func (w *modelWorld) key(shard int, rest string) string {
	return w.o.Namespace + ":{0" + strconv.Itoa(shard) + "}:" + rest
}

func (w *modelWorld) topicKey(kind string, t engine.Topic) string {
	return w.key(shardOfTopic(t), kind+":"+string(t))
}

// numbers are drawn from, since SampledFrom is even and IntRange is not.
var numbers = func() []int {
	n := make([]int, 4096)
	for i := range n {
		n[i] = i
	}
	return n
}()

// pick draws a number below n.
func (w *modelWorld) pick(what string, n int) int {
	return rapid.SampledFrom(numbers[:min(n, len(numbers))]).Draw(w.t, what)
}

// chance is true in one of n draws, and false in the smallest.
func (w *modelWorld) chance(what string, n int) bool { return w.pick(what, n) == n-1 }

// wanted checks an operation's error.
func (w *modelWorld) wanted(doing string, got, want error) {
	w.t.Helper()
	if (want == nil) != (got == nil) || !errors.Is(got, want) {
		w.t.Fatalf("%s: error %v, want %v", doing, got, want)
	}
	w.tally(want)
}

func (w *modelWorld) tally(err error) {
	switch {
	case errors.Is(err, runtime.ErrSuperseded):
		w.counts.superseded++
	case errors.Is(err, engine.ErrEnded):
		w.counts.ended++
	case err != nil:
		w.counts.refused++
	}
}

// settle reads what the model says was just appended, from the log and from the
// streams, and holds every record against it: ID, place, order, content and bounds.
func (w *modelWorld) settle() {
	w.t.Helper()
	pipe := w.raw.Pipeline()
	var logs [modelShards]*redis.XMessageSliceCmd
	type look struct {
		topic  *modelTopic
		length *redis.IntCmd
		oldest *redis.XMessageSliceCmd
	}
	var looks []look
	for i, s := range w.shards {
		if len(s.fresh) == 0 {
			continue
		}
		logs[i] = pipe.XRevRangeN(w.ctx, w.key(i, "log"), "+", "-", int64(len(s.fresh)))
		seen := map[engine.Topic]bool{}
		for _, r := range s.fresh {
			if !seen[r.topic] {
				seen[r.topic] = true
				key := w.topicKey("s", r.topic)
				looks = append(looks, look{s.topics[r.topic], pipe.XLen(w.ctx, key), pipe.XRangeN(w.ctx, key, "-", "+", 1)})
			}
		}
	}
	if len(looks) == 0 {
		return
	}
	if _, err := pipe.Exec(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	for i, s := range w.shards {
		if len(s.fresh) == 0 {
			continue
		}
		entries := logs[i].Val()
		if len(entries) != len(s.fresh) {
			w.t.Fatalf("shard %d: the log ends with %d records, want %d new ones", i, len(entries), len(s.fresh))
		}
		for n, r := range s.fresh {
			w.entry(s, r, entries[len(entries)-1-n])
		}
		s.fresh = s.fresh[:0]
	}
	for _, l := range looks {
		w.stream(l.topic, int(l.length.Val()), l.oldest.Val())
	}
}

// entry holds a log entry against the record that it should be.
func (w *modelWorld) entry(s *modelShard, r *modelRecord, m redis.XMessage) {
	w.t.Helper()
	s.k++
	if got := engine.Cursor(m.ID).N(); got != s.k {
		w.t.Fatalf("log entry %s: k is %d, want %d", m.ID, got, s.k)
	}
	t := s.topics[r.topic]
	r.prev = engine.Beginning
	if r.pos > 0 {
		r.prev = t.chain[r.pos-1].id
	}
	r.id = engine.Cursor(m.Values["i"].(string))
	r.json = []byte(m.Values["r"].(string))
	if m.Values["t"] != string(r.topic) || m.Values["p"] != string(r.prev) {
		w.t.Fatalf("log entry %s: topic %s after %s, want %s after %s", m.ID, m.Values["t"], m.Values["p"], r.topic, r.prev)
	}
	if _, err := engine.ParseCursor(string(r.id)); err != nil {
		w.t.Fatal(err)
	}
	ms := msOf(r.id)
	switch {
	case r.pos == 0 && r.id.N() != ms:
		w.t.Fatalf("%s: a new history begins with %s, want n to be the present ms", r.topic, r.id)
	case r.pos > 0 && r.id.N() != r.prev.N()+1:
		w.t.Fatalf("%s: %s follows %s, want n to be one more", r.topic, r.id, r.prev)
	case r.pos > 0 && ms < msOf(r.prev):
		w.t.Fatalf("%s: %s follows %s: ms went back", r.topic, r.id, r.prev)
	case w.byID[r.topic][r.id] != nil:
		w.t.Fatalf("%s: %s was given before, to another record", r.topic, r.id)
	}
	w.newest = max(w.newest, ms)
	w.byID[r.topic][r.id] = r
	w.ever[r.topic] = append(w.ever[r.topic], r)
	w.counts.records++
	w.counts.largest = max(w.counts.largest, len(r.json))
	w.content(r)
}

func msOf(c engine.Cursor) uint64 {
	var ms uint64
	for i := 0; i < len(c) && c[i] != '-'; i++ {
		ms = 10*ms + uint64(c[i]-'0')
	}
	return ms
}

// content holds a record's JSON against the model.
func (w *modelWorld) content(r *modelRecord) {
	w.t.Helper()
	got, err := engine.Entry{Topic: r.topic, ID: r.id, JSON: r.json}.Record()
	if err != nil {
		w.t.Fatalf("%v in %s", err, r.json)
	}
	if got.ID != r.id || got.Type != r.kind || got.Topic != r.topic {
		w.t.Fatalf("record %s: want type %s: %s", r.id, r.kind, r.json)
	}
	if len(r.json) > engine.MaxRecordBytes {
		w.t.Fatalf("record %s has %d bytes, more than %d", r.id, len(r.json), engine.MaxRecordBytes)
	}
	if r.view.ID == "" {
		if got.Job != nil || string(got.Notification) != r.text {
			w.t.Fatalf("record %s: want notification %s: %s", r.id, r.text, r.json)
		}
		return
	}
	if got.Job == nil {
		w.t.Fatalf("record %s has no job: %s", r.id, r.json)
	}
	r.view.Rev = r.id.N()
	w.times(got, r)
	if want := r.view; !reflect.DeepEqual(*got.Job, want) {
		g, _ := json.Marshal(got.Job)
		m, _ := json.Marshal(want)
		w.t.Fatalf("record %s (%s)\n shows %s\n  want %s\nin %s", r.id, r.kind, g, m, r.json)
	}
	if text := got.Log; (text != nil) != (r.kind == engine.JobLog) || (text != nil && text.Text != r.text) {
		w.t.Fatalf("record %s: want log line %q: %s", r.id, r.text, r.json)
	}
	var parts struct {
		Job json.RawMessage `json:"job"`
	}
	w.must(json.Unmarshal(r.json, &parts))
	r.job = parts.Job
}

// times checks a view's times, and takes them out.
func (w *modelWorld) times(got engine.Record, r *modelRecord) {
	w.t.Helper()
	v := got.Job
	if time.Since(got.Time).Abs() > time.Minute || v.CreatedAt.IsZero() || v.CreatedAt.After(got.Time) {
		w.t.Fatalf("record %s: at %s of a job created at %s", r.id, got.Time, v.CreatedAt)
	}
	if (v.StartedAt != nil) != r.began || (v.StartedAt != nil && (v.StartedAt.Before(v.CreatedAt) || v.StartedAt.After(got.Time))) {
		w.t.Fatalf("record %s: attempt %d started at %v", r.id, v.Attempt, v.StartedAt)
	}
	if v.State.Ended() != r.kind.Terminal() || (v.EndedAt != nil) != v.State.Ended() || (v.EndedAt != nil && !v.EndedAt.Equal(got.Time)) {
		w.t.Fatalf("record %s: %s at %s, ended at %v", r.id, r.kind, got.Time, v.EndedAt)
	}
	v.CreatedAt, v.StartedAt, v.EndedAt = time.Time{}, nil, nil
}

// stream checks what a topic's stream holds after a commit: the newest records, not
// more than the bounds allow, and not less than they ask for.
func (w *modelWorld) stream(t *modelTopic, length int, oldest []redis.XMessage) {
	w.t.Helper()
	if length == 0 || length > w.o.TopicEntries {
		w.t.Fatalf("%s holds %d records after a commit, want 1 to %d", t.name, length, w.o.TopicEntries)
	}
	first := len(t.chain) - length
	if first < t.first || oldest[0].ID != string(t.chain[first].id) {
		w.t.Fatalf("%s holds %d records from %s on, of a history of %d", t.name, length, oldest[0].ID, len(t.chain))
	}
	held := sizeOf(t.chain[first:])
	if held > w.o.TopicBytes && length > 1 {
		w.t.Fatalf("%s holds %d bytes, at most %d", t.name, held, w.o.TopicBytes)
	}
	if first > t.first && !t.touched {
		w.counts.trims++
		// The last one that went must have been too many, or, since trimming by bytes
		// makes room for an eighth, beyond seven of them.
		was := sizeOf(t.chain[t.first:])
		if length+1 <= w.o.TopicEntries && (was <= w.o.TopicBytes || held+len(t.chain[first-1].json) <= w.o.TopicBytes/8*7) {
			w.t.Fatalf("%s was trimmed from %d records of %d bytes to %d of %d", t.name, len(t.chain)-t.first, was, length, held)
		}
	}
	t.first = first
}

func sizeOf(records []*modelRecord) (n int) {
	for _, r := range records {
		n += len(r.json)
	}
	return n
}
