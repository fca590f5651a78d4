package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

var errDead = errors.New("the process is dead")

// A reading is a process that reads the outbox into a table, and that can be killed.
type reading struct {
	*running
	proxy *redistest.Proxy
	dead  atomic.Bool
}

// A wreck is a test in which readers are killed and Redis loses what it had.
type wreck struct {
	t       *testing.T
	server  *redistest.Redis
	options engine.Options
	table   *table
	all     []*reading
	zombies sync.WaitGroup
	late    atomic.Int64 // batches that were committed after their process had died
}

// begin starts a process.
func (w *wreck) begin() *reading {
	p := &reading{proxy: redistest.NewProxy(w.t, w.server.Addr())}
	s := &session{table: w.table, name: fmt.Sprint(len(w.all))}
	s.before = func(_ context.Context, b engine.OutboxBatch) error {
		if p.dead.Load() {
			return errDead
		}
		switch rand.IntN(40) {
		case 0:
			return errors.New("the database is away")
		case 1:
			// The process is frozen, or its driver minds no context: its transaction is carried out
			// when another reader has stored something.
			fence := w.table.place(b.Shard).Fence
			w.zombies.Go(func() {
				err := w.table.await(w.t.Context(), func() bool { return w.table.places[b.Shard].Fence > max(fence, b.Fence) })
				if err != nil {
					return // there was no other reader
				}
				w.late.Add(1)
				if err := w.table.commit("zombie", b); !errors.Is(err, engine.ErrFenced) {
					w.t.Errorf("a batch of fence %d was answered %v after a higher one", b.Fence, err)
				}
			})
			return errors.New("the connection broke")
		}
		return nil
	}
	s.after = func(engine.OutboxBatch) error {
		if rand.IntN(40) == 0 {
			return errors.New("the answer was lost")
		}
		return nil
	}
	p.running = consume(w.t, with(w.t, p.proxy.URL(), w.options), s, func(o *engine.ConsumerOptions) {
		o.Lease, o.BatchEntries = 1500*time.Millisecond, 25
	})
	w.all = append(w.all, p)
	return p
}

// kill ends a process without a word to Redis or to the store.
func (w *wreck) kill(p *reading) {
	p.dead.Store(true)
	p.proxy.Refuse()
	p.proxy.CutAll()
	p.cancel()
}

// A written record is one that Redis acknowledged.
type written struct {
	topic     engine.Topic
	asked, at time.Time
}

// Readers are killed at random, Redis is flushed once and comes back with an older state once. No
// record is missing but for the gaps that the consumers reported, none that Redis has is, and none is stored twice.
func TestKilledReadersLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	w := &wreck{t: t, server: redistest.Server(t, redistest.WithAOF()), options: sharing(spacious), table: newTable()}
	producer := with(t, w.server.URL(), w.options)
	ctx := minutes(t)
	must(t, producer.DeclareGroup(ctx, "archive"))
	var mu sync.Mutex
	facts := map[int]written{}
	topics := topicsOf("wreck")
	write := func(from, n int) {
		each(n, func(i int) {
			topic, asked := topics[(from+i)%len(topics)], time.Now()
			for body := fmt.Appendf(nil, `{"n":%d}`, from+i); ; {
				err := producer.Notify(ctx, topic, fmt.Sprint(from+i), body)
				if err == nil {
					break
				}
				if !again(ctx) {
					t.Error(err)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			facts[from+i] = written{topic, asked, time.Now()}
		})
	}
	acknowledged := func(n int) {
		for {
			mu.Lock()
			got := len(facts)
			mu.Unlock()
			if got >= n || !again(ctx) {
				return
			}
		}
	}
	processes := []*reading{w.begin(), w.begin(), w.begin()}
	// No gap can cover what a flush takes from a shard before the store has the shard's first position.
	must(t, w.table.await(ctx, func() bool {
		read := 0
		for _, place := range w.table.places {
			if place.Position != "" {
				read++
			}
		}
		return read == producer.Shards()
	}))
	replace := func() {
		i := rand.IntN(len(processes))
		w.kill(processes[i])
		processes[i] = w.begin()
	}
	var saved redistest.AOF
	total, events := scale(5000, 50_000), scale(8, 32)
	chunk, seen := total/events, 0
	for event := range events {
		var work sync.WaitGroup
		work.Go(func() { write(event*chunk, chunk) })
		acknowledged(event*chunk + rand.IntN(chunk))
		// Readers are at work when it happens, and behind.
		must(t, w.table.await(ctx, func() bool { return len(w.table.rows)+w.table.again >= seen+chunk/8 }))
		switch event {
		case events / 4:
			must(t, w.server.Client(t).FlushAll(ctx).Err())
		case events / 2:
			saved = w.server.SaveAOF()
		case events * 3 / 4:
			w.server.RestartFrom(saved)
		default:
			replace()
		}
		work.Wait()
		w.table.mu.Lock()
		seen = len(w.table.rows) + w.table.again
		w.table.mu.Unlock()
	}
	w.finish(producer, topics, facts)
}

// finish waits until the readers have everything that Redis holds, and checks the table.
func (w *wreck) finish(producer *engine.Rig, topics []engine.Topic, facts map[int]written) {
	t, s, ctx := w.t, w.table, minutes(w.t)
	holds := map[rowKey]bool{}
	for _, topic := range topics {
		for after := engine.Beginning; ; {
			page, err := producer.Replay(ctx, topic, after)
			must(t, err)
			if len(page.Entries) == 0 {
				break
			}
			for _, e := range page.Entries {
				holds[rowKey{topic, e.ID}] = true
				after = e.ID
			}
		}
	}
	if err := s.await(ctx, func() bool {
		for key := range holds {
			if _, there := s.rows[key]; !there {
				return false
			}
		}
		return true
	}); err != nil {
		missing := 0
		for key := range holds {
			if _, there := s.rows[key]; !there {
				missing++
			}
		}
		t.Fatalf("%d records of %d that Redis holds were not stored: %v", missing, len(holds), err)
	}
	for _, p := range w.all {
		p.cancel()
	}
	s.sound(t)

	s.mu.Lock()
	defer s.mu.Unlock()
	stored, shards := map[int]bool{}, map[engine.Topic]bool{}
	for key, record := range s.rows {
		var r struct{ Notification struct{ N int } }
		must(t, json.Unmarshal([]byte(record), &r))
		stored[r.Notification.N] = true
		shards[key.topic] = true
	}
	lost, excused := 0, 0
	for n, f := range facts {
		if stored[n] {
			continue
		}
		lost++
		if slices.ContainsFunc(s.gaps, func(g toldGap) bool {
			through := g.at.UnixMilli()
			if g.Through != "" {
				through = outboxMs(t, g.Through)
			}
			return g.shard == producer.ShardOf(f.topic) && f.at.UnixMilli() >= outboxMs(t, g.After) && f.asked.UnixMilli() <= through
		}) {
			excused++
		}
	}
	reasons := map[engine.GapReason]int{}
	for _, g := range s.gaps {
		reasons[g.Reason]++
	}
	t.Logf("%d records written, %d stored, %d came again, %d lost by Redis, %d batches fenced, %d of them late; gaps %v",
		len(facts), len(s.rows), s.again, lost, s.refused, w.late.Load(), reasons)
	if lost > excused {
		t.Errorf("%d records are missing, and only %d of them are in a gap that a consumer reported", lost, excused)
	}
	if reasons[engine.GapForgotten] == 0 || reasons[engine.GapRewritten]+reasons[engine.GapRestarted] == 0 {
		t.Errorf("told %v, want gaps for the flush and for the older state", reasons)
	}
}
