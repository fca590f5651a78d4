// Package pace measures how fast a count grows, and estimates when it will be full. Workers, the
// gateway and the command line show the same figures by it; the page has the same rule in
// gateway/web/src/view/pace.ts, and docs/protocol.md tells it to authors of clients.
package pace

import "time"

const (
	// Window is the time over which the present speed is measured.
	Window = 10 * time.Second
	// Evidence is the least time over which anything is measured.
	Evidence = time.Second
	// most: what would take longer is not worth a number.
	most = 30 * 24 * time.Hour

	// grain is the least time between two samples that are kept.
	grain   = time.Second
	samples = int(Window/grain) + 2
)

// A Pace measures one count. It knows two speeds: over the last 10 seconds, and since the stage
// began. It goes by the slower one. The other one promises too much: the first while the count
// catches up after a pause, the second after the count has slowed down.
//
// The zero Pace is ready. The caller serialises its methods, and gives times that do not go back.
type Pace struct {
	began  sample // of the stage
	next   sample // of the stage that was entered, while it is too young to be measured
	newest sample
	enters bool
	counts bool

	// kept are samples of the last seconds, in a ring.
	kept  [samples]sample
	first int
	held  int

	// left is the last estimate, and at the place that it was made at.
	left time.Duration
	at   int64
}

type sample struct {
	at    time.Time
	place int64
}

// Enter says that another stage begins with the next place, whose speed may be another. Until that
// has been measured for a second, what came before counts.
func (p *Pace) Enter() { p.enters = true }

// Observe takes the place that the count has reached. A place below the one before counts as that.
func (p *Pace) Observe(now time.Time, place int64) {
	if !p.counts {
		p.began = sample{now, place}
		p.newest, p.counts, p.enters = p.began, true, false
		p.keep(p.began)
		return
	}
	if p.enters {
		p.enters = false
		p.next = sample{now, max(place, p.newest.place)}
	}
	p.newest = sample{now, max(place, p.newest.place)}
	if !p.next.at.IsZero() && now.Sub(p.next.at) >= Evidence {
		p.began, p.next = p.next, sample{}
		p.held = 0
		p.keep(p.began)
	}
	if now.Sub(p.kept[(p.first+p.held-1)%samples].at) >= grain {
		p.keep(p.newest)
	}
}

func (p *Pace) keep(s sample) {
	if p.held == samples {
		p.first = (p.first + 1) % samples
		p.held--
	}
	p.kept[(p.first+p.held)%samples] = s
	p.held++
}

// recent is the newest sample that is as old as the window, or else the oldest.
func (p *Pace) recent() sample {
	for p.held > 1 && p.newest.at.Sub(p.kept[(p.first+1)%samples].at) >= Window {
		p.first = (p.first + 1) % samples
		p.held--
	}
	return p.kept[p.first]
}

// Rate is how much the count grows in a second, 0 while that is not known or the count stands.
func (p *Pace) Rate() float64 {
	if p.newest.at.Sub(p.began.at) < Evidence {
		return 0
	}
	since := func(s sample) float64 {
		return float64(p.newest.place-s.place) / p.newest.at.Sub(s.at).Seconds()
	}
	return min(since(p.began), since(p.recent()))
}

// Left estimates the time until the count has grown by rest, 0 while that is not known. While the
// count stands the estimate does not rise.
func (p *Pace) Left(rest int64) time.Duration {
	if p.left > 0 && p.at == p.newest.place {
		return p.left
	}
	p.left, p.at = 0, p.newest.place
	rate := p.Rate()
	if rate <= 0 || rest <= 0 {
		return 0
	}
	if seconds := float64(rest) / rate; seconds <= most.Seconds() {
		p.left = time.Duration(seconds * float64(time.Second))
	}
	return p.left
}
