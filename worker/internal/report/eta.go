package report

import (
	"math"
	"time"
)

const (
	// etaMemory is the time after which a measurement counts 1/e of a new one.
	etaMemory = 15 * time.Second
	// etaEvidence is how much measured time it takes before an estimate is given.
	etaEvidence = time.Second
	// etaMost: what would take longer is not worth a number.
	etaMost = 30 * 24 * time.Hour
)

// eta measures how fast a run moves through its bar, and so when it will be
// through. Old measurements fade exponentially. It begins with the first place that
// it is shown, so what an earlier attempt did counts for nothing.
type eta struct {
	began  bool
	at     time.Time
	place  int64
	gained float64 // parts, faded
	spent  float64 // seconds, faded
}

func (e *eta) observe(now time.Time, place int64) {
	if !e.began {
		e.began, e.at, e.place = true, now, place
		return
	}
	passed := now.Sub(e.at)
	if passed <= 0 {
		return
	}
	fade := math.Exp(-passed.Seconds() / etaMemory.Seconds())
	e.gained = e.gained*fade + float64(max(place-e.place, 0))
	e.spent = e.spent*fade + passed.Seconds()
	e.at, e.place = now, max(place, e.place)
}

// estimate is the time for the rest of the bar, 0 when it is not known.
func (e *eta) estimate(rest int64) time.Duration {
	if e.spent < etaEvidence.Seconds() || e.gained <= 0 || rest <= 0 {
		return 0
	}
	seconds := float64(rest) * e.spent / e.gained
	if seconds > etaMost.Seconds() {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}
