package ws

import "time"

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
