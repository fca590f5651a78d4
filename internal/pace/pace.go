// Package pace measures how fast a count grows, and estimates when it will be full. Workers, the
// gateway and the command line show the same figures by it; the page has the same rule in
// gateway/web/src/view/pace.ts, and docs/protocol.md tells it to authors of clients.
package pace

import "time"

const (
	// Window is the time over which the speed that people see is measured.
	Window = 10 * time.Second
	// Span is the time over which the speed that a time left goes by is measured.
	Span = 30 * time.Second
	// Evidence is the least time over which anything is measured.
	Evidence = time.Second

	// A stage that is younger than the parts'th of a window is measured over that part of its own
	// time: so it forgets a slow beginning, while it is too short for the window to pass it by. Over
	// less than the least a speed jumps about.
	parts = 3
	least = 2 * time.Second
	// most: what would take longer is not worth a number.
	most = 30 * 24 * time.Hour

	// grains is how many samples are kept of a window. One that grows with its stage keeps some
	// that are closer.
	grains  = 12
	samples = grains * 3 / 2
)

// A Pace measures one count. It goes by the speed of the last seconds, and not by that of the whole
// stage: a job that begins slowly, since the machine is busy or its first reads wait, would seem
// slow until its end.
//
// The zero Pace is ready. The caller serialises its methods, and gives times that do not go back.
type Pace struct {
	began  sample // of the stage
	next   sample // of the stage that was entered, while it is too young to be measured
	newest sample
	enters bool
	counts bool

	kept [samples]sample // the oldest first
	held int

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
		p.counts, p.enters = true, false
		p.begin(sample{now, place})
		p.newest = p.began
		return
	}
	p.newest = sample{now, max(place, p.newest.place)}
	if p.enters {
		p.enters, p.next = false, p.newest
	}
	if !p.next.at.IsZero() && now.Sub(p.next.at) >= Evidence {
		p.begin(p.next)
		p.next = sample{}
	}
	if now.Sub(p.kept[p.held-1].at) >= p.window(Span)/grains {
		p.keep(p.newest)
	}
}

func (p *Pace) begin(s sample) {
	p.began, p.held = s, 0
	p.keep(s)
}

func (p *Pace) keep(s sample) {
	if p.held == samples {
		copy(p.kept[:], p.kept[1:])
		p.held--
	}
	p.kept[p.held] = s
	p.held++
}

// window is what the stage's age has of a window.
func (p *Pace) window(whole time.Duration) time.Duration {
	return min(whole, max(least, p.newest.at.Sub(p.began.at)/parts))
}

// speed is how much the count grew in a second of the last window, 0 while that is not known or the
// count stands.
func (p *Pace) speed(window time.Duration) float64 {
	if p.newest.at.Sub(p.began.at) < Evidence {
		return 0
	}
	window = p.window(window)
	from := p.kept[0]
	for _, s := range p.kept[1:p.held] {
		if p.newest.at.Sub(s.at) < window {
			break
		}
		from = s
	}
	return float64(p.newest.place-from.place) / p.newest.at.Sub(from.at).Seconds()
}

// Rate is how much the count grows in a second, 0 while that is not known or the count stands.
func (p *Pace) Rate() float64 { return p.speed(Window) }

// Left estimates the time until the count has grown by rest, 0 while that is not known. While the
// count stands the estimate does not rise.
func (p *Pace) Left(rest int64) time.Duration {
	if p.left > 0 && p.at == p.newest.place {
		return p.left
	}
	p.left, p.at = 0, p.newest.place
	rate := p.speed(Span)
	if rate <= 0 || rest <= 0 {
		return 0
	}
	if seconds := float64(rest) / rate; seconds <= most.Seconds() {
		p.left = time.Duration(seconds * float64(time.Second))
	}
	return p.left
}
