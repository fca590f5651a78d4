package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// A rowKey is a record's identity.
type rowKey struct {
	topic engine.Topic
	id    engine.Cursor
}

// A table is a store as a database would be: rows by the record's identity, and places, which
// change together or not at all. It outlives the processes that write to it.
type table struct {
	signal
	places  map[int]engine.OutboxPlace
	rows    map[rowKey]string // the record
	order   map[engine.Topic][]engine.Cursor
	gaps    []toldGap
	aside   []engine.AsideRecord
	owners  map[int]string // the process whose batch of a shard was stored last
	fences  map[int]int64  // the highest that was stored
	again   int            // records that came again after a gap that says so
	refused int            // batches
	wrong   []error        // what a store must never see
	poison  func(engine.OutboxRecord) bool
	repeats map[int]bool // shards of which records may come again

	careless, deaf bool // planted: it checks no place, it keeps no gap
}

// A toldGap is one that a batch had.
type toldGap struct {
	engine.OutboxGap
	shard int
	at    time.Time
}

func newTable() *table {
	return &table{
		signal: newSignal(), places: map[int]engine.OutboxPlace{}, rows: map[rowKey]string{}, order: map[engine.Topic][]engine.Cursor{},
		owners: map[int]string{}, fences: map[int]int64{}, repeats: map[int]bool{},
	}
}

// commit is one transaction.
func (s *table) commit(owner string, b engine.OutboxBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changeLocked()
	if !b.Admits(s.places[b.Shard]) && !s.careless {
		s.refused++
		return engine.ErrFenced
	}
	if s.poison != nil {
		for i, r := range b.Records {
			if s.poison(r) {
				return fmt.Errorf("insert: %w", &engine.PoisonError{Record: i, Reason: "no such column"})
			}
		}
	}
	if b.Fence < s.fences[b.Shard] {
		s.wrong = append(s.wrong, fmt.Errorf("shard %d: fence %d was stored after %d", b.Shard, b.Fence, s.fences[b.Shard]))
	}
	for _, g := range b.Gaps {
		if s.deaf {
			break
		}
		s.gaps = append(s.gaps, toldGap{g, b.Shard, time.Now()})
		s.repeats[b.Shard] = s.repeats[b.Shard] || g.Reason.Repeats()
	}
	for _, r := range b.Records {
		key := rowKey{r.Topic, r.ID}
		switch _, there := s.rows[key]; {
		case !there:
			s.rows[key] = string(r.JSON)
			s.order[r.Topic] = append(s.order[r.Topic], r.ID)
		case s.repeats[b.Shard]:
			s.again++
		default:
			s.wrong = append(s.wrong, fmt.Errorf("record %s of %s came twice", r.ID, r.Topic))
		}
	}
	s.aside = append(s.aside, b.Aside...)
	s.places[b.Shard], s.owners[b.Shard], s.fences[b.Shard] = b.Place(), owner, b.Fence
	return nil
}

func (s *table) place(shard int) engine.OutboxPlace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[shard]
}

// has waits until n rows are there.
func (s *table) has(t testing.TB, n int) {
	t.Helper()
	if err := s.await(minutes(t), func() bool { return len(s.rows) >= n }); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		t.Fatalf("%d rows of %d are there: %v", len(s.rows), n, err)
	}
}

// sound fails the test for what a store must never see.
func (s *table) sound(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.wrong...); err != nil {
		t.Error(err)
	}
	for topic, ids := range s.order {
		if !slices.IsSortedFunc(ids, func(a, b engine.Cursor) int { return int(int64(a.N()) - int64(b.N())) }) && len(s.gaps) == 0 {
			t.Errorf("the records of %s came in another order: %v", topic, ids)
		}
	}
}

// told lists the gaps by reason.
func (s *table) told(reason engine.GapReason) []toldGap {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gaps []toldGap
	for _, g := range s.gaps {
		if g.Reason == reason {
			gaps = append(gaps, g)
		}
	}
	return gaps
}

// backup copies the table, and restore puts a copy back, as an operator does with a database.
func (s *table) backup() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	places, rows := maps.Clone(s.places), maps.Clone(s.rows)
	order := maps.Clone(s.order)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.places, s.rows, s.order = places, rows, order
	}
}

// A session is a process's access to a table.
type session struct {
	*table
	name   string
	before func(ctx context.Context, b engine.OutboxBatch) error // asked before each transaction
	after  func(b engine.OutboxBatch) error                      // what the process hears of one
}

func (s *session) Place(_ context.Context, shard int) (engine.OutboxPlace, error) {
	return s.place(shard), nil
}

func (s *session) Commit(ctx context.Context, b engine.OutboxBatch) error {
	if s.before != nil {
		if err := s.before(ctx, b); err != nil {
			return err
		}
	}
	err := s.commit(s.name, b)
	if err == nil && s.after != nil {
		return s.after(b)
	}
	return err
}

// A running consumer is one that a test has started.
type running struct {
	*engine.Consumer
	cancel context.CancelFunc
	done   chan error
}

// consume runs a consumer of the group "archive" until the test ends, or stop is called.
func consume(t testing.TB, e *engine.Rig, s engine.OutboxStore, change func(*engine.ConsumerOptions)) *running {
	t.Helper()
	o := engine.ConsumerOptions{Group: "archive"}
	if change != nil {
		change(&o)
	}
	c, err := e.Consumer(o)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Consumer: c, cancel: cancel, done: make(chan error, 1)}
	var work sync.WaitGroup
	work.Go(func() { r.done <- c.Run(ctx, s) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	return r
}

// stop ends the consumer, which must be well.
func (r *running) stop(t testing.TB) {
	t.Helper()
	r.cancel()
	if err := r.end(t); err != nil {
		t.Fatalf("the consumer ended with %v", err)
	}
}

// end waits for the consumer's end.
func (r *running) end(t testing.TB) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-minutes(t).Done():
		t.Fatal("the consumer does not end")
		return nil
	}
}

// counted gives notifications of a topic numbers that their text tells.
func counted(t testing.TB, e *engine.Rig, topics []engine.Topic, from, n int) {
	t.Helper()
	each(n, func(i int) {
		if err := e.Notify(minutes(t), topics[i%len(topics)], "", fmt.Appendf(nil, `{"n":%d}`, from+i)); err != nil {
			t.Error(err)
		}
	})
}

// outboxMs is the time in an ID of the outbox.
func outboxMs(t testing.TB, id string) int64 {
	t.Helper()
	ms, _, _ := strings.Cut(id, "-")
	var n int64
	if _, err := fmt.Sscan(ms, &n); err != nil {
		t.Fatalf("%q is no ID of the outbox", id)
	}
	return n
}
