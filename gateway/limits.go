package gateway

import (
	"math/rand/v2"
	"time"
)

// A bucket is how much a client may send: it fills by perSecond up to burst.
type bucket struct {
	perSecond, burst float64
	left             float64
	at               time.Time
}

func (b *bucket) take(now time.Time) bool {
	if !b.at.IsZero() {
		b.left = min(b.burst, b.left+now.Sub(b.at).Seconds()*b.perSecond)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// count takes one of a principal's connections; false when it has none left.
func (g *Gateway) count(subject string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.connections[subject] >= g.opts.ConnectionsPerPrincipal {
		return false
	}
	g.connections[subject]++
	return true
}

func (g *Gateway) uncount(subject string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.connections[subject]--; g.connections[subject] <= 0 {
		delete(g.connections, subject)
	}
}

// reconnectAfter is when a client that is sent away is to come back: at a time of its
// own, so that a gateway's clients do not all come at once.
func (g *Gateway) reconnectAfter() time.Duration {
	spread := max(g.opts.ReconnectSpread, time.Duration(g.sessionCount.Load())*time.Millisecond)
	return spread/8 + rand.N(spread)
}
