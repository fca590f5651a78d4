package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A mishap is a short history of one shard with everything that the outbox must outlast: a reader
// that stores after another has taken its shard, an older state, a flush, and the cap. It returns what is
// wrong with what the store has then, and with the gaps that the consumers reported.
func mishap(t *testing.T, server *redistest.Redis, e *engine.Rig, s *table) error {
	must(t, e.DeclareGroup(soon(t), "archive"))
	written := 0
	write := func(n int) {
		counted(t, e, bob, written, n)
		written += n
	}
	// read has a consumer store everything up to the newest record.
	read := func() {
		page, err := e.Replay(soon(t), bob[0], engine.Beginning)
		must(t, err)
		c := consume(t, e, &session{table: s, name: "reader"}, nil)
		must(t, s.await(soon(t), func() bool { return s.rows[rowKey{bob[0], page.Head}] != "" }))
		c.stop(t)
	}
	write(10)
	read()

	// A transaction that goes on after its process is gone.
	write(10)
	begun := make(chan engine.OutboxBatch, 1)
	zombie := &session{table: s, name: "zombie"}
	zombie.before = func(_ context.Context, b engine.OutboxBatch) error {
		if len(b.Records) == 0 {
			return nil
		}
		select {
		case begun <- b:
		default:
		}
		return errDead
	}
	c := consume(t, e, zombie, nil)
	late := <-begun
	c.stop(t)
	read()
	var wrong []error
	if err := zombie.commit("zombie", late); !errors.Is(err, engine.ErrFenced) {
		wrong = append(wrong, errors.New("a late batch was stored"), err)
	}

	saved := server.SaveAOF()
	write(10)
	read()
	server.RestartFrom(saved)
	must(t, e.Redis().Ping(soon(t)).Err())
	write(10)
	read()

	must(t, e.Redis().FlushAll(soon(t)).Err())
	write(10)
	read()

	s.mu.Lock()
	if len(s.rows) != written {
		wrong = append(wrong, fmt.Errorf("%d rows of %d records", len(s.rows), written))
	}
	s.mu.Unlock()

	write(1500) // of which the cap drops some
	read()

	s.mu.Lock()
	defer s.mu.Unlock()
	wrong = append(wrong, s.wrong...)
	var reasons []engine.GapReason
	for _, g := range s.gaps {
		reasons = append(reasons, g.Reason)
	}
	if got := fmt.Sprint(reasons); got != "[rewritten forgotten capped]" {
		wrong = append(wrong, fmt.Errorf("the consumers reported the gaps %s", got))
	}
	if most, least := written, written-1500+1000; len(s.rows) > most || len(s.rows) < least {
		wrong = append(wrong, fmt.Errorf("%d rows of %d records", len(s.rows), written))
	}
	return errors.Join(wrong...)
}

func TestChecksOfAConsumerSeeMistakes(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(e *engine.Rig, s *table) int{
		"none":                                    nil,
		"a store that checks no place":            func(_ *engine.Rig, s *table) int { s.careless = true; return 1 },
		"a reader that has no gaps":               func(_ *engine.Rig, s *table) int { s.deaf = true; return 1 },
		"acknowledged before it is stored":        rewriting(`"SETID", out, group, id)`, `"SETID", out, group, newest(out) or id)`),
		"a position is not looked for":            rewriting(`if not first or first[1] ~= id or`, `if false and`),
		"after a flush the log is not read whole": rewriting(`id ~= from and f[4]`, `id ~= from and i > 3 and f[4]`),
		"the cap says nothing":                    rewriting(`call("HSET", prefix .. "head", "lost", lost)`, ``),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Server(t, redistest.WithAOF())
			s := newTable()
			e := open(t, server.URL(), func(o *engine.Options) { oneShard(o); spacious(o); o.OutboxEntries = 1000 })
			if plant != nil && plant(e, s) != 1 {
				t.Fatal("the plant is not where it should be")
			}
			err := mishap(t, server, e, s)
			if plant == nil && err != nil {
				t.Error(err)
			}
			if plant != nil && err == nil {
				t.Error("nothing was seen")
			}
			t.Log(err)
		})
	}
}

// rewriting plants a mistake in the scripts.
func rewriting(from, to string) func(*engine.Rig, *table) int {
	return func(e *engine.Rig, _ *table) int { return e.Rewrite(from, to) }
}
