package gate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A suspect begins when the last of the others has ended, none begins before it has made a
// checkpoint or ended, and a second suspect comes after it.
func TestGateLetsASuspectBeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New()
		first, _ := g.Enter(t.Context())
		second := g.Join()
		order := make(chan string, 2)
		begin := func(name string, by func(context.Context) (*Seat, bool), end func(*Seat)) {
			go func() {
				s, ok := by(t.Context())
				if !ok {
					name = "not " + name
				}
				order <- name
				<-time.After(time.Second)
				end(s)
			}()
			synctest.Wait()
		}
		begin("suspect", g.Alone, (*Seat).Share)
		begin("another", g.Enter, (*Seat).Leave)
		first.Leave()
		synctest.Wait()
		if len(order) != 0 {
			t.Fatalf("began beside others: %q", <-order)
		}
		second.Leave()
		second.Leave() // once more does nothing
		synctest.Wait()
		if n, name := len(order), <-order; n != 1 || name != "suspect" {
			t.Fatalf("%d began, first %q", n, name)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if name := <-order; name != "another" || g.inside != 1 {
			t.Fatalf("%q began; %d run", name, g.inside)
		}
	})
}

// Others that run for long cost a suspect its turn, and it costs them a tenth of their time;
// it comes through when their runs are shorter than what it has waited before.
func TestGateIsHeldForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New()
		long, _ := g.Enter(t.Context())
		began := time.Now()
		var held time.Duration
		for asked := 0; asked < 1000; asked++ {
			from := time.Now()
			if _, ok := g.Alone(t.Context()); ok {
				t.Fatal("alone beside another")
			}
			held += time.Since(from)
			s, ok := g.Enter(t.Context())
			if !ok {
				t.Fatal("the gate stays held")
			}
			s.Leave()
			<-time.After(5 * time.Second)
		}
		if all := time.Since(began); held == 0 || held > all/5 {
			t.Errorf("held for %s of %s", held, all)
		}
		go func() {
			<-time.After(g.patience / 2)
			long.Leave()
		}()
		<-time.After(time.Until(g.rest))
		s, ok := g.Alone(t.Context())
		if !ok {
			t.Fatal("not alone although the other has ended")
		}
		s.Leave()
		if g.taken || g.inside != 0 || g.patience != minPatience {
			t.Errorf("left behind: %+v", g)
		}
	})
}

// A worker that leaves takes its claim back, and what it had waited for goes on.
func TestGateOfALeavingWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New()
		other, _ := g.Enter(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if _, ok := g.Alone(ctx); ok {
			t.Error("alone after the end")
		}
		if _, ok := g.Enter(ctx); ok {
			t.Error("entered after the end")
		}
		other.Leave()
		if s, ok := g.Alone(t.Context()); !ok {
			t.Error("not alone although nothing runs")
		} else {
			s.Leave()
		}
	})
}
