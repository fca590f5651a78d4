package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func logOf(e *engine.Rig, shard int) string {
	return fmt.Sprintf("%s:{%02d}:log", e.Namespace(), shard)
}

// other is a node that does not serve a key.
func other(t testing.TB, nodes *redistest.Nodes, key string) *redistest.Redis {
	t.Helper()
	home := nodes.Home(t, key)
	return nodes.Each[(slices.Index(nodes.Each, home)+1)%len(nodes.Each)]
}

// A script touches more keys than it declares, so it must not run while some of them are
// on one node and some on another: not on the first, where it would be stopped half-way,
// and not on the second, where what has not arrived looks as if it had never been.
func TestNoScriptRunsOnASlotThatMoves(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	options := sharing(nil)
	options.Shards, options.CommitTimeout = 1, 200*time.Millisecond
	options.Redis = &redis.UniversalOptions{Addrs: nodes.Addrs(), IsClusterMode: true, MaxRedirects: 1}
	e := with(t, "", options)
	ctx := minutes(t)
	topic := engine.Topic("user:42")
	must(t, e.DeclareGroup(ctx, "archive"))
	d := newDesk(t, e, topic)
	if ack := d.start(1); ack.Err != nil {
		t.Fatal(ack.Err)
	}
	ended := newDesk(t, e, topic)
	must(t, e.Cancel(ctx, ended.job))
	kept, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Key: "once"})
	must(t, err)

	report := func() runtime.Report {
		r := d.r
		r.Type, r.Fence.Seq = engine.JobCheckpoint, r.Fence.Seq+1
		return r
	}
	calls := map[string]func() error{
		"commit":  func() error { _, err := e.Commit(ctx, report()); return err },
		"enqueue": func() error { _, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export"}); return err },
		"again": func() error {
			_, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Key: "once"})
			return err
		},
		"notify":   func() error { return e.Notify(ctx, topic, "", []byte(`{}`)) },
		"cancel":   func() error { return e.Cancel(ctx, kept.ID) },
		"retry":    func() error { _, err := e.Retry(ctx, ended.job, engine.RetryQuery{}); return err },
		"sweep":    func() error { _, err := e.Silent(ctx, nil); return err },
		"walk":     func() error { _, _, err := e.Walk("w", time.Hour).Next(ctx); return err },
		"due":      func() error { _, err := e.Due(ctx, 1); return err },
		"stall":    func() error { _, err := e.Stall(ctx, d.job, "1"); return err },
		"replay":   func() error { _, err := e.Replay(ctx, topic, engine.Beginning); return err },
		"snapshot": func() error { _, err := e.Snapshot(ctx, topic, ""); return err },
		"probe":    func() error { return e.TryWrites(ctx, []int{0})[0] },
		"tidy":     func() error { return e.Tidy(ctx, d.job) },
		"outbox":   func() error { _, err := e.TrimOutbox(ctx); return err },
		"heartbeat": func() error {
			_, err := e.Heartbeat(ctx, []runtime.Beat{{Job: d.job, Attempt: 1, Token: d.r.Fence.Token}})
			return err
		},
	}
	all := func() map[string]string {
		union := map[string]string{}
		for _, n := range nodes.Each {
			client := n.Client(t)
			keys, err := client.Keys(ctx, "*").Result()
			must(t, err)
			for _, k := range keys {
				pipe := client.Pipeline()
				pipe.Do(ctx, "ASKING")       // it may not be this node's yet
				hash := pipe.HGetAll(ctx, k) // which has no order of its own
				pipe.Do(ctx, "ASKING")
				value := pipe.Dump(ctx, k)
				_, _ = pipe.Exec(ctx) // each command's own error is read below
				must(t, value.Err())
				if union[k] = value.Val(); hash.Err() == nil {
					union[k] = fmt.Sprint(hash.Val())
				}
			}
		}
		return union
	}
	allRefused := func(when string) {
		t.Helper()
		before := all()
		var over sync.WaitGroup
		for name, call := range calls {
			over.Go(func() {
				if err := call(); !errors.Is(err, engine.ErrUnreachable) {
					t.Errorf("%s, %s: %v; want ErrUnreachable", when, name, err)
				}
			})
		}
		over.Wait()
		if after := all(); !maps.Equal(before, after) {
			t.Fatalf("%s: refused calls changed %v", when, changed(before, after))
		}
		// One key at a time is read wherever it is.
		if v, err := e.Job(ctx, d.job); err != nil || v.ID != d.job {
			t.Errorf("%s: the job is %+v, %v", when, v, err)
		}
	}
	for _, way := range []string{"there", "back"} {
		move := nodes.BeginMove(t, logOf(e, 0), other(t, nodes, logOf(e, 0)))
		allRefused(way + ", no key has moved")
		keys := move.Keys()
		rand.Shuffle(len(keys), func(i, k int) { keys[i], keys[k] = keys[k], keys[i] })
		for i, key := range keys {
			move.Carry(key)
			if way == "back" && i != len(keys)/2 {
				continue
			}
			allRefused(way + ", " + key + " is the last to have moved")
		}
		move.Finish()
		acks, err := e.Commit(ctx, report())
		must(t, err, acks[0].Err)
		d.r.Fence.Seq++
	}
	ack := d.write(runtime.Report{Type: engine.JobSucceeded})
	must(t, ack.Err)
	page, err := e.Replay(ctx, topic, engine.Beginning)
	must(t, err)
	var types []engine.RecordType
	for i, entry := range page.Entries {
		if types = append(types, entry.Type()); i > 0 && entry.ID.N() != page.Entries[i-1].ID.N()+1 {
			t.Errorf("record %s follows %s", entry.ID, page.Entries[i-1].ID)
		}
	}
	want := []engine.RecordType{
		engine.JobQueued, engine.JobStarted, engine.JobQueued, engine.JobCanceled, engine.JobQueued,
		engine.JobCheckpoint, engine.JobCheckpoint, engine.JobSucceeded,
	}
	if !slices.Equal(types, want) {
		t.Errorf("the topic holds %v, want %v", types, want)
	}
}

// A shard of which nothing is there yet.
func TestNoJobIsMadeInASlotThatMoves(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	options := sharing(nil)
	options.Shards, options.CommitTimeout = 1, 200*time.Millisecond
	e := with(t, nodes.URL(), options)
	ctx := minutes(t)
	move := nodes.BeginMove(t, logOf(e, 0), other(t, nodes, logOf(e, 0)))
	spec := engine.Spec{Topic: "user:42", Type: "export", Key: "once"}
	if got, err := e.Enqueue(ctx, spec); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("enqueued %+v, %v; want ErrUnreachable", got, err)
	}
	move.Finish()
	got, err := e.Enqueue(ctx, spec)
	if err != nil || got.Existing {
		t.Errorf("once it has moved, enqueued %+v, %v", got, err)
	}
}

// Who enqueues waits for a slot that moves.
func TestEnqueueWaitsForASlotThatMoves(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	options := sharing(nil)
	options.Shards, options.CommitTimeout = 1, time.Minute
	e := with(t, nodes.URL(), options)
	ctx := minutes(t)
	d := newDesk(t, e, "user:42")
	move := nodes.BeginMove(t, logOf(e, 0), other(t, nodes, logOf(e, 0)))
	refusals, made := tryAgains(t, nodes), make(chan error, 1)
	go func() {
		_, err := e.Enqueue(ctx, engine.Spec{Topic: d.topic, Type: "export"})
		made <- err
	}()
	for refusals() < 10 { // more than the client repeats by itself
		if !again(ctx) {
			t.Fatal("the node refused nothing")
		}
	}
	select {
	case err := <-made:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	move.Finish()
	must(t, <-made)
	if got := fmt.Sprint(d.news()); got != "[job.queued]" {
		t.Errorf("records %s, want one", got)
	}
}

// tryAgains counts the calls that nodes refused because a slot was moving.
func tryAgains(t testing.TB, nodes *redistest.Nodes) func() int {
	var clients []*redis.Client
	for _, n := range nodes.Each {
		clients = append(clients, n.Client(t))
	}
	return func() (total int) {
		t.Helper()
		for _, c := range clients {
			stats, err := c.Info(t.Context(), "errorstats").Result()
			must(t, err)
			if _, rest, found := strings.Cut(stats, "errorstat_TRYAGAIN:"); found {
				var count int
				_, err := fmt.Sscanf(rest, "count=%d", &count)
				must(t, err)
				total += count
			}
		}
		return total
	}
}

// Slots move under load, key by key, each there and back. Everything that was acknowledged
// is held and given to readers, in order and once.
func TestSlotsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	options := sharing(spacious)
	options.Shards, options.CommitTimeout = 3, 200*time.Millisecond
	producer, follower := with(t, nodes.URL(), options), with(t, nodes.URL(), options)
	ctx, broke := context.WithCancelCause(minutes(t))
	l := newLoad(ctx, follower, 4, nil)
	l.ahead = true
	var moved atomic.Bool
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for begun := false; !begun || !moved.Load(); begun = true {
			if err := l.write(ctx, producer, rand.Uint64(), 2, 60); err != nil {
				broke(err)
				return
			}
		}
	}()
	refusals := tryAgains(t, nodes)
	for i := range scale(4, 40) {
		key := logOf(producer, i/2%options.Shards)
		before := l.ledger.len()
		must(t, l.ledger.await(ctx, func() bool { return len(l.ledger.facts) > before+50 }))
		was := refusals()
		move := nodes.BeginMove(t, key, other(t, nodes, key))
		keys := move.Keys()
		rand.Shuffle(len(keys), func(i, k int) { keys[i], keys[k] = keys[k], keys[i] })
		for _, k := range keys[:len(keys)/2] {
			move.Carry(k)
		}
		for refusals() < was+20 {
			if !again(ctx) {
				t.Fatalf("while the slot of %s moved: %v", key, context.Cause(ctx))
			}
		}
		move.Finish()
	}
	moved.Store(true)
	<-wrote
	must(t, context.Cause(ctx), l.settle(ctx, producer), l.check(nil), l.truth(ctx, producer))
	for topic, r := range l.readers {
		if len(r.gaps) > 0 || r.fell > 0 {
			t.Errorf("%s: gaps %v, percents fell %d times", topic, r.declared(), r.fell)
		}
	}
	t.Logf("%d records", l.ledger.len())
}

// A slot that moves makes no process unready: its probe has one key, which is written
// wherever it is.
func TestASlotThatMovesLeavesAProcessReady(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	options := sharing(nil)
	options.Shards = 2
	e := with(t, nodes.URL(), options)
	ctx := minutes(t)
	probe := fmt.Sprintf("%s:{00}:probe", e.Namespace())
	ready := func(when string) {
		t.Helper()
		for range 3 {
			if writes, err := e.Ready(ctx); err != nil || !writes {
				t.Errorf("%s: writes %t, %v", when, writes, err)
			}
		}
	}
	for _, there := range []bool{false, true} { // the probe, when the move begins
		if there {
			ready("before the move")
		}
		move := nodes.BeginMove(t, probe, other(t, nodes, probe))
		ready(fmt.Sprintf("the probe there: %t; no key has moved", there))
		for _, key := range move.Keys() {
			move.Carry(key)
		}
		ready(fmt.Sprintf("the probe there: %t; all keys have moved", there))
		move.Finish()
		ready("the slot has moved")
	}
}
