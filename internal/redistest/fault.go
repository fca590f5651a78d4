package redistest

import (
	"fmt"
	"testing"
	"time"
)

// A Fault is what befalls a Redis whose clients are well.
type Fault struct {
	Name string
	// Rounds are how often it strikes in a test, Full how often in soak.
	Rounds, Full int
	// Loses: what Redis had acknowledged may be gone afterwards.
	Loses bool
	// Begin starts a Redis that ends with the test, and returns its URL and a strike, which
	// returns when the fault is over and is to be called with 0, 1, 2 … by the test's own
	// goroutine. draw gives a number from 0 to n-1.
	Begin func(t testing.TB, draw func(n int) int) (url string, strike func(round int))
}

// Faults are a server that refuses writes, for each reason, a power loss, a failover, and
// slots that move.
var Faults = []Fault{
	refusing(OutOfMemory, ""), refusing(FewReplicas, ""), refusing(CannotSave, ""),
	refusing(Demoted, ""), refusing(Demoted, ", as a proxy says it"),
	{Name: "power loss", Rounds: 2, Full: 20, Loses: true, Begin: powerLoss},
	{Name: "failover", Rounds: 2, Full: 20, Loses: true, Begin: failover},
	{Name: "moving slots", Rounds: 4, Full: 60, Begin: moving},
}

// refusing is a server that answers reads and refuses writes for a while: for 0.5 to 2 s, so
// that a lease of 1.5 s may end meanwhile, or not.
func refusing(why Refusal, spelling string) Fault {
	begin := func(t testing.TB, draw func(int) int) (string, func(int)) {
		s := Server(t)
		proxy := NewProxy(t, s.Addr())
		if spelling != "" {
			proxy.RewriteReplies("-READONLY ", "-ERR READONLY ")
		}
		return proxy.URL(), func(int) {
			s.RefuseWrites(why)
			last(t, 500*time.Millisecond+drawn(draw, 1500*time.Millisecond))
			s.TakeWrites()
		}
	}
	return Fault{Name: "refused writes: " + why.String() + spelling, Rounds: 2, Full: 20, Begin: begin}
}

// powerLoss cuts a server's append-only file at a random byte.
func powerLoss(t testing.TB, draw func(int) int) (string, func(int)) {
	s := Server(t, WithAOF())
	return s.URL(), func(int) { s.LosePower(int64(draw(8 << 10))) }
}

// failover kills the primary of a group, and the old one becomes its replica.
func failover(t testing.TB, _ func(int) int) (string, func(int)) {
	g := Sentinel(t, 1)
	return g.URL(), func(round int) {
		if round > 0 {
			g.Rejoin()
		}
		g.Failover()
	}
}

// moving takes shards of a Cluster to other nodes, and rests when half of their keys are
// there.
func moving(t testing.TB, draw func(int) int) (string, func(int)) {
	nodes := Cluster(t)
	return nodes.URL(), func(int) {
		tag := fmt.Sprintf("{%02d}", draw(16))
		home := nodes.Home(t, tag)
		var others []*Redis
		for _, node := range nodes.Each {
			if node != home {
				others = append(others, node)
			}
		}
		m := nodes.BeginMove(t, tag, others[draw(len(others))])
		keys := m.Keys()
		for _, key := range keys[:len(keys)/2] {
			m.Carry(key)
		}
		last(t, drawn(draw, 500*time.Millisecond))
		m.Finish()
	}
}

// drawn is a time from 0 to most.
func drawn(draw func(int) int, most time.Duration) time.Duration {
	return time.Duration(draw(int(most) + 1))
}

// last returns when a fault has lasted so long.
func last(t testing.TB, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
