package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// outboxIDs are the IDs of the outbox of shard 0.
func outboxIDs(t testing.TB, e *engine.Rig) []string {
	t.Helper()
	held, err := e.Redis().XRange(soon(t), e.OutboxKey(0), "-", "+").Result()
	must(t, err)
	ids := make([]string, len(held))
	for i, m := range held {
		ids[i] = m.ID
	}
	return ids
}

var bob = []engine.Topic{"user:42"}

// readTo has a consumer store n records, acknowledge all that there are, and end.
func readTo(t testing.TB, e *engine.Rig, s *table, n int) {
	t.Helper()
	c := consume(t, e, &session{table: s}, nil)
	s.has(t, n)
	for len(outboxIDs(t, e)) > 1 && again(minutes(t)) {
	}
	c.stop(t)
}

// oneGap fails the test unless the consumer reported exactly one gap, for a reason, and returns it.
func oneGap(t testing.TB, s *table, reason engine.GapReason) toldGap {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gaps) != 1 || s.gaps[0].Reason != reason {
		t.Fatalf("told %+v, want one gap: %s", s.gaps, reason)
	}
	return s.gaps[0]
}

// The consumer reports what the cap drops, from the last record that was stored to the last that is gone.
func TestTheCapIsAGap(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]func(*engine.Options){
		"entries": func(o *engine.Options) { o.OutboxEntries = 1000 },
		"bytes":   func(o *engine.Options) { o.OutboxBytes = 1 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			onEachRedis(t, func(t *testing.T, url string) {
				e := open(t, url, func(o *engine.Options) { oneShard(o); spacious(o); c(o) })
				s := newTable()
				must(t, e.DeclareGroup(soon(t), "archive"))
				counted(t, e, bob, 0, 20)
				readTo(t, e, s, 20)
				stored := outboxIDs(t, e)
				counted(t, e, bob, 20, 10)
				unread := outboxIDs(t, e)
				many := 1500
				if name == "bytes" {
					many = 12_000
				}
				counted(t, e, bob, 30, many)
				held := outboxIDs(t, e)
				readTo(t, e, s, 20+len(held))
				s.sound(t)
				gap := oneGap(t, s, engine.GapCapped)
				if gap.After != stored[len(stored)-1] {
					t.Errorf("the gap is after %s, want the last that was stored, %s", gap.After, stored[len(stored)-1])
				}
				if outboxLess(gap.Through, unread[len(unread)-1]) || !outboxLess(gap.Through, held[0]) {
					t.Errorf("the gap goes through %s; %s was unread, %s is held", gap.Through, unread[len(unread)-1], held[0])
				}
				dropped, err := e.Redis().HGet(soon(t), shardKey(e, "head"), "dropped").Int()
				if got := 30 + many - len(s.rows); err != nil || got > dropped || got < dropped-20 {
					t.Errorf("%d records are missing, %d were dropped, of which up to 20 were stored; %v", got, dropped, err)
				}
			})
		})
	}
}

// outboxLess compares IDs of an outbox.
func outboxLess(a, b string) bool {
	return engine.Cursor(a).N() < engine.Cursor(b).N() // k rises as ms does
}

// A store that was restored from its backup hears what its group has acknowledged since.
func TestConsumerHearsOfARestoredStore(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, oneShard)
		s := newTable()
		must(t, e.DeclareGroup(soon(t), "archive"))
		counted(t, e, bob, 0, 10)
		readTo(t, e, s, 10)
		restore := s.backup()
		last := outboxIDs(t, e)[0]
		counted(t, e, bob, 10, 10)
		readTo(t, e, s, 20)
		restore()
		counted(t, e, bob, 20, 10)
		held := outboxIDs(t, e)
		readTo(t, e, s, 10+len(held))
		s.sound(t)
		if gap := oneGap(t, s, engine.GapTrimmed); gap.After != last || !outboxLess(gap.Through, held[0]) {
			t.Errorf("the gap is from %s through %s; %s was stored last, and %s is held", gap.After, gap.Through, last, held[0])
		}
	})
}

// After FLUSHALL the group is declared again from the beginning of what there is: what was not
// read before is a gap, what was written since is not.
func TestAFlushedRedisIsAGapAndNoMore(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		onEachRedis(t, func(t *testing.T, url string) {
			e := open(t, url, oneShard)
			s := newTable()
			must(t, e.DeclareGroup(soon(t), "archive"))
			counted(t, e, bob, 0, 10)
			lease := func(o *engine.ConsumerOptions) { o.Lease = 2 * time.Second }
			c := consume(t, e, &session{table: s}, lease)
			s.has(t, 10)
			last := s.place(0)
			if !running {
				c.stop(t)
				counted(t, e, bob, 100, 5)
			}
			must(t, e.Redis().FlushAll(soon(t)).Err())
			p := newDesk(t, e, "team:red")
			p.start(1)
			p.write(runtime.Report{Type: engine.JobProgress, Tenths: 1})
			counted(t, e, bob, 10, 10)
			if !running {
				c = consume(t, e, &session{table: s}, lease)
			}
			s.has(t, 22) // the desk's job was queued and started
			c.stop(t)
			s.sound(t)
			gap := oneGap(t, s, engine.GapForgotten)
			if want := string(last.Position); len(want) < len(gap.After) || want[:len(gap.After)] != gap.After {
				t.Errorf("the gap is after %s, want %s", gap.After, want)
			}
			if outboxMs(t, gap.Through) < outboxMs(t, gap.After) || gap.Through == outboxIDs(t, e)[0] {
				t.Errorf("the gap goes from %s through %s", gap.After, gap.Through)
			}
			groups, err := e.Groups(soon(t))
			if err != nil || len(groups) != 1 {
				t.Errorf("the groups are %v, %v", groups, err)
			}
		})
	}
}

// The consumer reports a Redis that comes back with an older state: what the reader was ahead of comes again, and
// a reader that was behind hears that records may be lost.
func TestConsumerHearsOfAnOlderState(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]bool{"the reader was ahead": true, "the reader was behind": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Server(t, redistest.WithAOF())
			e := open(t, server.URL(), oneShard)
			s := newTable()
			must(t, e.DeclareGroup(soon(t), "archive"))
			counted(t, e, bob, 0, 10)
			readTo(t, e, s, 10)
			counted(t, e, bob, 10, 10)
			saved := server.SaveAOF()
			counted(t, e, bob, 20, 10)
			n := 10
			if ahead {
				readTo(t, e, s, 30)
				n = 30
			}
			position := s.place(0).Position
			server.RestartFrom(saved)
			must(t, e.Redis().Ping(soon(t)).Err())
			counted(t, e, bob, 30, 10)
			if ahead {
				n += 10 // 10 to 19 are there again
			} else {
				n += 20
			}
			readTo(t, e, s, n)
			s.sound(t)
			reason := engine.GapRestarted
			if ahead {
				reason = engine.GapRewritten
			}
			gap := oneGap(t, s, reason)
			if len(gap.After) >= len(position) || string(position)[:len(gap.After)] != gap.After || gap.Through != "" {
				t.Errorf("the gap is after %s through %q, want after %s", gap.After, gap.Through, position)
			}
			if (s.again > 0) != ahead {
				t.Errorf("%d records came again", s.again)
			}
		})
	}
}

// A consumer whose Redis restarts while it waits hears of it, without a record.
func TestIdleConsumerHearsOfARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t, redistest.WithAOF())
	e := open(t, server.URL(), oneShard)
	s := newTable()
	must(t, e.DeclareGroup(soon(t), "archive"))
	consume(t, e, &session{table: s}, nil)
	counted(t, e, bob, 0, 10)
	s.has(t, 10)
	server.Restart()
	if err := s.await(minutes(t), func() bool { return len(s.gaps) > 0 }); err != nil {
		t.Fatal(err)
	}
	oneGap(t, s, engine.GapRestarted)
	must(t, e.Redis().Ping(soon(t)).Err())
	counted(t, e, bob, 10, 10)
	s.has(t, 20)
	s.sound(t)
}

// While Redis has no memory for a lease the reader reads on, and so makes room.
func TestAFullRedisIsReadOn(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	e := open(t, server.URL(), oneShard)
	s := newTable()
	ready, goOn := make(chan struct{}), make(chan struct{})
	slow := &session{table: s}
	slow.before = func(_ context.Context, b engine.OutboxBatch) error {
		if len(b.Records) == 0 {
			return nil
		}
		select {
		case ready <- struct{}{}:
			<-goOn
		default:
		}
		return nil
	}
	must(t, e.DeclareGroup(soon(t), "archive"))
	counted(t, e, bob, 0, 200)
	consume(t, e, slow, func(o *engine.ConsumerOptions) { o.Lease, o.BatchEntries = time.Second, 10 })
	<-ready
	server.RefuseWrites(redistest.OutOfMemory)
	for range 3 { // leases
		select {
		case <-time.After(time.Second):
		case <-t.Context().Done():
		}
	}
	close(goOn)
	s.has(t, 200)
	for held := 2; held > 1 && again(soon(t)); {
		held = len(outboxIDs(t, e))
	}
	if n := len(outboxIDs(t, e)); n > 1 {
		t.Errorf("%d records are held that were stored", n)
	}
	server.TakeWrites()
	s.sound(t)
}

// While Redis refuses writes for another reason the lease runs out; reading goes on when it is over.
func TestRefusedWritesStopTheReaderForAWhile(t *testing.T) {
	t.Parallel()
	for _, why := range []redistest.Refusal{redistest.CannotSave, redistest.Demoted} {
		t.Run(why.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Server(t)
			e := open(t, server.URL(), oneShard)
			s := newTable()
			must(t, e.DeclareGroup(soon(t), "archive"))
			c := consume(t, e, &session{table: s}, func(o *engine.ConsumerOptions) { o.Lease = time.Second })
			counted(t, e, bob, 0, 10)
			s.has(t, 10)
			server.RefuseWrites(why)
			for c.Stats().Shards > 0 && again(minutes(t)) {
			}
			server.TakeWrites()
			counted(t, e, bob, 10, 10)
			s.has(t, 20)
			s.sound(t)
		})
	}
}
