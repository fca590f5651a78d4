package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// testConsumer is what a consumer does on every Redis: it hands over every milestone once, in
// order, goes on from the place in its store, and lets the outbox go.
func testConsumer(t *testing.T, ctx context.Context, e *engine.Rig) {
	topics := topicsOf("consumer")
	must(t, e.DeclareGroup(ctx, "archive"))
	s := newTable()
	first := consume(t, e, &session{table: s}, nil)
	for _, topic := range topics {
		d := newDesk(t, e, topic)
		d.start(1)
		d.write(runtime.Report{Type: engine.JobProgress, Tenths: 100})
		d.write(runtime.Report{Type: engine.JobSucceeded})
	}
	s.has(t, 3*len(topics))
	first.stop(t)
	counted(t, e, topics, 0, 2*len(topics))
	second := consume(t, e, &session{table: s}, nil)
	s.has(t, 5*len(topics))
	// What is acknowledged goes, but for the last of each shard.
	drained := func() bool {
		held := 0
		for shard := range e.Shards() {
			n, err := e.Redis().XLen(ctx, e.OutboxKey(shard)).Result()
			must(t, err)
			held += int(n)
		}
		return held <= e.Shards()
	}
	for !drained() && again(ctx) {
	}
	second.stop(t)
	s.sound(t)
	if got := len(s.rows); got != 5*len(topics) || len(s.gaps) > 0 {
		t.Errorf("%d rows, want %d; gaps %v", got, 5*len(topics), s.gaps)
	}
	if got := first.Stats().Records + second.Stats().Records; got != int64(len(s.rows)) || second.Stats().Shards != 0 {
		t.Errorf("%d records were counted, of %d; %+v", got, len(s.rows), second.Stats())
	}
	for key, record := range s.rows {
		r, err := engine.Entry{Topic: key.topic, ID: key.id, JSON: []byte(record)}.Record()
		if err != nil || r.ID != key.id || r.Topic != key.topic || r.Type.Tick() {
			t.Errorf("row %v is %s, %v", key, record, err)
		}
	}
	must(t, e.DropGroup(ctx, "archive"))
}

func TestConsumersShareTheShards(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	o := sharing(spacious)
	s := newTable()
	leases := func(o *engine.ConsumerOptions) { o.Lease = 2 * time.Second }
	owns := func(counts map[string]int) {
		t.Helper()
		if err := s.await(minutes(t), func() bool {
			got := map[string]int{}
			for _, owner := range s.owners {
				got[owner]++
			}
			return fmt.Sprint(got) == fmt.Sprint(counts)
		}); err != nil {
			t.Fatalf("the shards are read by %v, want %v: %v", s.owners, counts, err)
		}
	}
	a := consume(t, with(t, server.URL(), o), &session{table: s, name: "a"}, leases)
	owns(map[string]int{"a": 16})
	proxy := redistest.NewProxy(t, server.Addr())
	b := consume(t, with(t, proxy.URL(), o), &session{table: s, name: "b"}, leases)
	owns(map[string]int{"a": 8, "b": 8})
	c := consume(t, with(t, server.URL(), o), &session{table: s, name: "c"}, leases)
	if err := s.await(minutes(t), func() bool {
		n := 0
		for _, owner := range s.owners {
			if owner == "c" {
				n++
			}
		}
		return n >= 4
	}); err != nil {
		t.Fatal(err)
	}
	c.stop(t)
	owns(map[string]int{"a": 8, "b": 8})
	// A process that is gone gives nothing back: its leases run out.
	proxy.Refuse()
	proxy.CutAll()
	owns(map[string]int{"a": 16})
	b.stop(t)
	a.stop(t)
	s.sound(t)
}

// A Redis that comes back with an older state may give a lease to a consumer that has its share of
// the shards already. Somebody reads that shard nevertheless.
func TestALeaseBeyondTheShareIsGivenBack(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	o := sharing(spacious)
	e := with(t, server.URL(), o)
	s := newTable()
	shares := func() bool {
		shards := map[string]int{}
		for _, owner := range s.owners {
			shards[owner]++
		}
		return shards["a"] == e.Shards()/2 && shards["b"] == e.Shards()/2
	}
	for _, name := range []string{"a", "b"} {
		consume(t, with(t, server.URL(), o), &session{table: s, name: name}, func(o *engine.ConsumerOptions) { o.Lease = 2 * time.Second })
	}
	must(t, s.await(minutes(t), shares))
	s.mu.Lock()
	var ofA, ofB int
	for shard, owner := range s.owners {
		if owner == "a" {
			ofA = shard
		} else {
			ofB = shard
		}
	}
	s.mu.Unlock()
	ctx, c := minutes(t), server.Client(t)
	key := func(shard int) string { return strings.TrimSuffix(e.OutboxKey(shard), "out") + "lease:archive" }
	older := s.place(ofB).Fence - 1
	owner, err := c.HGet(ctx, key(ofA), "o").Result()
	must(t, err)
	must(t, c.HSet(ctx, key(ofB), "o", owner, "f", older).Err())
	topics := topicsOf("beyond")
	counted(t, e, topics, 0, len(topics))
	s.has(t, len(topics))
	s.sound(t)
}

// A reader whose lease was lost while its transaction went on stores nothing any more.
func TestAReaderThatLostItsLeaseIsFenced(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	o := sharing(func(o *engine.Options) { spacious(o); oneShard(o) })
	proxy := redistest.NewProxy(t, server.Addr())
	s := newTable()
	lease := func(o *engine.ConsumerOptions) { o.Lease = time.Second }
	entered, stuck, goOn, answered := make(chan error, 1), make(chan error, 1), make(chan struct{}), make(chan error, 1)
	slow := &session{table: s, name: "slow"}
	slow.before = func(ctx context.Context, b engine.OutboxBatch) error {
		if len(b.Records) == 0 {
			return nil
		}
		entered <- nil
		<-ctx.Done()
		stuck <- context.Cause(ctx)
		<-goOn // a driver that does not mind its context
		err := s.commit("slow", b)
		answered <- err
		return err
	}
	producer := with(t, server.URL(), o)
	must(t, producer.DeclareGroup(soon(t), "archive"))
	a := consume(t, with(t, proxy.URL(), o), slow, lease)
	must(t, s.await(minutes(t), func() bool { return s.owners[0] == "slow" }))
	note(t, producer, "user:42")
	must(t, <-entered)
	// Renewals keep a slow handler's lease: that it is lost takes a network that is.
	proxy.Stall()
	if err := <-stuck; err == nil || !strings.Contains(err.Error(), "lease") {
		t.Errorf("the handler's context ended for %v, want for the lease", err)
	}
	b := consume(t, producer, &session{table: s, name: "quick"}, lease)
	s.has(t, 1)
	close(goOn)
	if err := <-answered; !errors.Is(err, engine.ErrFenced) {
		t.Errorf("the slow reader's transaction was answered %v, want ErrFenced", err)
	}
	proxy.Unstall()
	a.stop(t)
	b.stop(t)
	s.sound(t)
	if s.owners[0] != "quick" || s.refused != 1 {
		t.Errorf("the shard is stored by %q, %d batches were refused", s.owners[0], s.refused)
	}
}

func TestAHandlerSlowerThanItsLeaseKeepsIt(t *testing.T) {
	t.Parallel()
	o := sharing(func(o *engine.Options) { spacious(o); oneShard(o) })
	url := redistest.Server(t).URL()
	e := with(t, url, o)
	s := newTable()
	slow := &session{table: s, name: "slow"}
	slow.before = func(ctx context.Context, b engine.OutboxBatch) error {
		if len(b.Records) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(4 * time.Second): // leases, several of them
			return nil
		}
	}
	lease := func(o *engine.ConsumerOptions) { o.Lease = time.Second }
	must(t, e.DeclareGroup(soon(t), "archive"))
	consume(t, e, slow, lease)
	must(t, s.await(minutes(t), func() bool { return s.owners[0] == "slow" }))
	consume(t, with(t, url, o), &session{table: s, name: "other"}, lease)
	note(t, e, "user:42")
	s.has(t, 1)
	if s.sound(t); s.owners[0] != "slow" {
		t.Errorf("the shard went to %q", s.owners[0])
	}
}

func TestAPoisonRecordIsSetAside(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, oneShard)
		s := newTable()
		s.poison = func(r engine.OutboxRecord) bool {
			return strings.Contains(string(r.JSON), `{"n":3}`) || strings.Contains(string(r.JSON), `{"n":7}`)
		}
		must(t, e.DeclareGroup(soon(t), "archive"))
		counted(t, e, []engine.Topic{"user:42"}, 0, 10)
		c := consume(t, e, &session{table: s}, nil)
		s.has(t, 8)
		must(t, s.await(soon(t), func() bool { return len(s.aside) == 2 }))
		var kept []engine.AsideRecord
		for a, err := range c.Aside(soon(t)) {
			must(t, err)
			kept = append(kept, a)
		}
		if len(kept) != 2 {
			t.Fatalf("%d records are kept aside, want 2", len(kept))
		}
		for _, a := range kept {
			if !s.poison(a.OutboxRecord) || a.Reason != "no such column" || a.Topic != "user:42" {
				t.Errorf("kept aside: %+v", a)
			}
			if !slices.ContainsFunc(s.aside, func(b engine.AsideRecord) bool { return b.OutboxID == a.OutboxID && b.ID == a.ID }) {
				t.Errorf("%s was kept aside, and the store was not told", a.OutboxID)
			}
		}
		must(t, c.Forget(soon(t), kept...))
		for a, err := range c.Aside(soon(t)) {
			t.Errorf("%s is still kept; %v", a.OutboxID, err)
		}
		counted(t, e, []engine.Topic{"user:42"}, 10, 1)
		s.has(t, 9)
		s.sound(t)
		// The batch before was counted before this one began.
		if n := c.Stats().Aside; n != 2 {
			t.Errorf("%d records are counted as kept aside, want 2", n)
		}
	})
}

func TestDroppingAGroupEndsItsConsumers(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		s := newTable()
		must(t, e.DeclareGroup(soon(t), "archive"))
		r := consume(t, e, &session{table: s}, func(o *engine.ConsumerOptions) { o.Lease = time.Second })
		must(t, s.await(minutes(t), func() bool { return len(s.owners) == e.Shards() }))
		note(t, e, "user:42")
		s.has(t, 1)
		must(t, e.DropGroup(soon(t), "archive"))
		if err := r.end(t); !errors.Is(err, engine.ErrGroupDropped) {
			t.Errorf("the consumer ended with %v, want ErrGroupDropped", err)
		}
		note(t, e, "user:42")
		for shard := range e.Shards() {
			if n, err := e.Redis().Exists(soon(t), e.OutboxKey(shard)).Result(); err != nil || n != 0 {
				t.Errorf("shard %d has an outbox, %d, %v, without a group", shard, n, err)
			}
		}
		// Declared again it begins a new outbox, and the store hears what it does not have.
		must(t, e.DeclareGroup(soon(t), "archive"))
		consume(t, e, &session{table: s}, nil)
		note(t, e, "user:42")
		s.has(t, 2)
		if gaps := s.told(engine.GapForgotten); len(gaps) == 0 {
			t.Errorf("the consumer reported no gap; %v", s.gaps)
		}
	})
}

func TestAConsumerRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), oneShard)
	for field, o := range map[string]engine.ConsumerOptions{
		"Group": {Group: "Archive:1"}, "Lease": {Group: "a", Lease: time.Millisecond},
		"BatchEntries": {Group: "a", BatchEntries: -1}, "BatchBytes": {Group: "a", BatchBytes: 1},
	} {
		var about *engine.OptionError
		if _, err := e.Consumer(o); !errors.As(err, &about) || about.Field != field {
			t.Errorf("%+v: %v, want an error about %s", o, err, field)
		}
	}
	s := newTable()
	for _, position := range []engine.OutboxPosition{"garbage", "1-2", "1-2/xyz/", "1-2//abc", "-1-2//"} {
		s.places[0] = engine.OutboxPlace{Position: position}
		err := consume(t, e, &session{table: s}, nil).end(t)
		if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "shard 0") || !strings.Contains(err.Error(), string(position)) {
			t.Errorf("position %q: the consumer ended with %v", position, err)
		}
	}
	s.places[0] = engine.OutboxPlace{}
	c := consume(t, e, &session{table: s}, nil)
	must(t, s.await(minutes(t), func() bool { return len(s.owners) == 1 }), e.Close())
	if err := c.end(t); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("the consumer of a closed engine ended with %v", err)
	}
}

// All outboxes of a server are waited for by one read.
func TestAnIdleConsumerWaitsInOneRead(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	s := newTable()
	must(t, e.DeclareGroup(soon(t), "archive"))
	consume(t, e, &session{table: s}, nil)
	counted(t, e, topicsOf("idle"), 0, 200)
	s.has(t, 200)
	for {
		info, err := e.Redis().Info(soon(t), "clients").Result()
		must(t, err)
		if strings.Contains(info, "blocked_clients:1\r") {
			break
		}
		if strings.Contains(info, "blocked_clients:2\r") {
			t.Fatal("two reads wait")
		}
		if !again(minutes(t)) {
			t.Fatal("no read waits")
		}
	}
}
