package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// taken reads all that a group has not been given of every shard's outbox: the
// entries' records by topic, in order. It acknowledges them if asked to.
func taken(t *testing.T, ctx context.Context, e *engine.Rig, group string, ack bool) map[engine.Topic][]engine.Entry {
	t.Helper()
	all := map[engine.Topic][]engine.Entry{}
	for shard := range e.Shards() {
		for key := e.OutboxKey(shard); ; {
			streams, err := e.Redis().XReadGroup(ctx, &redis.XReadGroupArgs{
				Group: group, Consumer: "c", Streams: []string{key, ">"}, Count: 5, Block: -1,
			}).Result()
			if errors.Is(err, redis.Nil) {
				break
			}
			must(t, err)
			for _, m := range streams[0].Messages {
				text := func(field string) string {
					s, _ := m.Values[field].(string)
					return s
				}
				topic := engine.Topic(text("t"))
				entry := engine.Entry{Topic: topic, ID: engine.Cursor(text("i")), Prev: engine.Cursor(text("p")), JSON: []byte(text("r"))}
				r, err := entry.Record()
				must(t, err)
				if r.ID != entry.ID || r.Topic != topic {
					t.Errorf("entry %s of %s is record %s", m.ID, topic, entry.JSON)
				}
				all[topic] = append(all[topic], entry)
				if ack {
					must(t, e.Redis().XAck(ctx, key, group, m.ID).Err())
				}
			}
		}
	}
	return all
}

// testOutbox: groups are given the milestones of all shards from their declaration
// on, and hold them until they have acknowledged them.
func testOutbox(t *testing.T, ctx context.Context, e *engine.Rig) {
	topics := topicsOf("outbox") // of every shard
	var before []engine.Enqueued
	for _, topic := range topics {
		got, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export"})
		must(t, err)
		before = append(before, got)
	}
	must(t, e.DeclareGroup(ctx, "archive"), e.DeclareGroup(ctx, "notifier"), e.DeclareGroup(ctx, "archive"))
	groups, err := e.Groups(ctx)
	must(t, err)
	if want := []string{"archive", "notifier"}; !slices.Equal(groups, want) {
		t.Fatalf("the groups are %v, want %v", groups, want)
	}
	want := map[engine.Topic][]engine.Cursor{}
	for i, topic := range topics {
		run, _ := (&turn{t: t, ctx: ctx, e: e, r: runtime.Report{Job: before[i].ID}}).next(1)
		run.accepted(runtime.Report{Type: engine.JobProgress, Tenths: 100}, runtime.Report{Type: engine.JobStage},
			runtime.Report{Type: engine.JobCheckpoint, Tenths: 200, Checkpoint: []byte("x")})
		must(t, e.Notify(ctx, topic, "", []byte(`{"n":1}`)))
		run.accepted(runtime.Report{Type: engine.JobSucceeded})
		page, err := e.Replay(ctx, topic, engine.Beginning)
		must(t, err)
		for _, entry := range page.Entries {
			if kind := entry.Type(); !kind.Tick() && kind != engine.JobQueued { // which was before the declaration
				want[topic] = append(want[topic], entry.ID)
			}
		}
		if len(want[topic]) != 4 {
			t.Fatalf("%s holds %d milestones from the declaration on, want 4", topic, len(want[topic]))
		}
	}
	trimmed := func(want int, when string) {
		t.Helper()
		if n, err := e.TrimOutbox(ctx); err != nil || n != want {
			t.Errorf("%d records were trimmed, %v, %s; want %d", n, err, when, want)
		}
	}
	holds := func(group string, ack bool) {
		t.Helper()
		got := taken(t, ctx, e, group, ack)
		for _, topic := range topics {
			var ids []engine.Cursor
			for _, entry := range got[topic] {
				ids = append(ids, entry.ID)
				if entry.Prev.N() != entry.ID.N()-1 {
					t.Errorf("%s: record %s names %s as the one before", topic, entry.ID, entry.Prev)
				}
			}
			if !slices.Equal(ids, want[topic]) {
				t.Errorf("%s was given %v of %s, want %v", group, ids, topic, want[topic])
			}
		}
		if len(got) != len(topics) {
			t.Errorf("%s was given records of %d topics, want %d", group, len(got), len(topics))
		}
	}
	holds("archive", true)
	trimmed(0, "although notifier was given nothing")
	holds("notifier", false)
	trimmed(0, "although notifier has acknowledged nothing")
	must(t, e.DropGroup(ctx, "notifier"))
	// The last that was given stays in each shard.
	trimmed(4*len(topics)-e.Shards(), "with all acknowledged")
	if got := taken(t, ctx, e, "archive", true); len(got) != 0 {
		t.Errorf("archive was given %d topics twice", len(got))
	}
	must(t, e.DropGroup(ctx, "archive"), e.DropGroup(ctx, "archive"))
	must(t, e.Notify(ctx, topics[0], "", []byte(`{}`)))
	if groups, err := e.Groups(ctx); err != nil || len(groups) != 0 {
		t.Errorf("the groups are %v, %v after all were dropped", groups, err)
	}
	for shard := range e.Shards() {
		if n, err := e.Redis().Exists(ctx, e.OutboxKey(shard)).Result(); err != nil || n != 0 {
			t.Errorf("shard %d has an outbox without a group: %d, %v", shard, n, err)
		}
	}
}

// testVerdict: the verdict says whether the stream goes on from the reader's cursor.
func testVerdict(t *testing.T, ctx context.Context, open opener) {
	e := open(t, sharing(func(o *engine.Options) { o.TopicEntries = 10 }))
	for _, topic := range topicsOf("verdict")[:20] {
		expect := func(after engine.Cursor, verdict engine.Verdict, ids ...engine.Cursor) {
			t.Helper()
			page, err := e.Replay(ctx, topic, after)
			must(t, err)
			var got []engine.Cursor
			prev := after
			for _, entry := range page.Entries {
				if entry.Prev != prev {
					t.Errorf("%s: record %s follows %s, and names %s", topic, entry.ID, prev, entry.Prev)
				}
				got, prev = append(got, entry.ID), entry.ID
			}
			if page.Verdict != verdict || !slices.Equal(got, ids) {
				t.Errorf("%s: after %s it says %s and gives %v; want %s and %v", topic, after, page.Verdict, got, verdict, ids)
			}
		}
		expect(engine.Beginning, engine.Resumed) // of a topic that has no records
		expect("1795196553479-57", engine.Rewritten)
		var ids []engine.Cursor
		for range 3 {
			for range 8 {
				must(t, e.Notify(ctx, topic, "", []byte(`{}`)))
				s, err := e.Snapshot(ctx, topic, "")
				must(t, err)
				ids = append(ids, s.Cursor)
			}
			if len(ids) == 8 {
				expect(engine.Beginning, engine.Resumed, ids...)
			}
		}
		// 24 records, of which the bound leaves ten.
		expect(ids[23], engine.Resumed)
		expect(ids[18], engine.Resumed, ids[19:]...)
		expect(ids[14], engine.Resumed, ids[15:]...)
		expect(ids[13], engine.Resumed, ids[14:]...) // gone itself, and all after it is there
		expect(ids[12], engine.Trimmed)
		expect(ids[0], engine.Trimmed)
		expect(engine.Beginning, engine.Trimmed)
		// From a history that the stream does not hold: the future, and another past.
		head := ids[23]
		expect(engine.Cursor(fmt.Sprintf("%d-%d", msOf(head), head.N()+1)), engine.Rewritten)
		expect(engine.Cursor(fmt.Sprintf("%d-%d", msOf(head)+1, head.N())), engine.Rewritten)
		expect(engine.Cursor(fmt.Sprintf("%d-%d", msOf(ids[20])-1, ids[20].N())), engine.Rewritten)
	}
}
