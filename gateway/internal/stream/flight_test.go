package stream

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// joined is a further client of st's topic, in the same gateway. It commits nothing
// and hands nothing out.
func (st *stage) joined(after engine.Cursor) *stage {
	c := &stage{t: st.t, e: st.e, line: &memory{}, name: st.name}
	c.subscribe(st.s.hub, after)
	return c
}

// TestClientsThatShareReads has clients of one topic come with the same cursor, or
// none, at any moment of a burst, so that they share pages and snapshots: each gets
// what it would have got alone.
func TestClientsThatShareReads(t *testing.T) {
	e := stageEngine(t, redistest.Server(t).URL(), 5000)
	flights, landings := 0, 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 5))
		fresh := seed%2 == 0
		st := newStage(t, e, &memory{}, Options{}, fresh, burst(5, 1+rng.IntN(6)))
		all, start := []*stage{st}, st.client.cursor
		var trace []string
		for {
			can := st.steps(false)
			if len(all) < 8 {
				can = append(can, "join", "join")
			}
			for _, c := range all {
				c.s.retry()
				if c.written() {
					can = append(can, "take")
				}
			}
			if len(can) == 0 {
				break
			}
			what := can[rng.IntN(len(can))]
			if rng.IntN(20) == 0 {
				what = "doubt"
			}
			trace = append(trace, what)
			switch what {
			case "join":
				all = append(all, st.joined(start))
			case "take":
				for _, c := range all {
					if c.written() && rng.IntN(2) == 0 {
						c.take()
					}
				}
			case "read":
				flights++
				landings += len(st.flight.subs)
				st.step(what)
			default:
				st.step(what)
			}
		}
		for i, c := range all {
			c.spans, c.head = st.spans, st.head
			c.check(append(trace, fmt.Sprintf("seed %d, client %d", seed, i)))
		}
	}
	t.Logf("%d reads for %d needs", flights, landings)
	if landings < 2*flights {
		t.Errorf("%d reads for %d needs: they share little", flights, landings)
	}
}

// TestLateComerDoesNotShare: a read that began before a client subscribed may lack
// what was committed, and handed out, in between.
func TestLateComerDoesNotShare(t *testing.T) {
	e := stageEngine(t, redistest.Server(t).URL(), 5000)
	st := newStage(t, e, &memory{}, Options{}, false, burst(2, 2))
	start := st.client.cursor
	same := st.joined(start)
	if !st.departs() || len(st.flight.subs) != 2 {
		t.Fatalf("two that come together have a flight of %d", len(st.flight.subs))
	}
	st.step("read")
	st.step("append")
	st.step("tail")
	late := st.joined(start)
	if n := len(st.flight.subs); n != 2 {
		t.Fatalf("a flight that has departed carries %d", n)
	}
	st.step("apply")
	if a, b := st.s.window[0].Text, same.s.window[0].Text; string(a) != string(b) {
		t.Errorf("they share a page and got %q and %q", a, b)
	}
	if late.written() {
		t.Errorf("the late comer got %q of a read that began before it came", late.s.window[0].Text)
	}
	all := []*stage{st, same, late}
	for {
		for _, c := range all {
			for c.written() {
				c.take()
			}
		}
		can := st.steps(false)
		if len(can) == 0 {
			break
		}
		st.step(can[len(can)-1])
	}
	for i, c := range all {
		c.spans, c.head = st.spans, st.head
		c.check([]string{fmt.Sprintf("client %d", i)})
	}
}

// The pages of snapshots that are kept for others are few, and go with their time.
func TestPagesKeptAreBounded(t *testing.T) {
	p := pages{age: pageAge, held: map[need]*reading{}}
	now := time.Now()
	keep := func(i int, at time.Time) {
		p.keep(&reading{need: need{topic: engine.Topic(fmt.Sprint("user:", i))}, began: at, ended: at})
	}
	for i := range 2 * pagesKept {
		keep(i, now)
	}
	if len(p.held) != pagesKept {
		t.Errorf("%d pages are kept, want %d", len(p.held), pagesKept)
	}
	keep(0, now.Add(pageAge))
	if len(p.held) != 1 {
		t.Errorf("%d pages are kept when all but one are too old", len(p.held))
	}
}
