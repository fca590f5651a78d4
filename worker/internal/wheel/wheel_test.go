package wheel

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// testTick is the time between two ticks of a run.
const testTick = 200 * time.Millisecond

// pass lets time pass until all that was due has come.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// diary is what a wheel did: who ticked, when, and what went together.
type diary struct {
	began time.Time
	lines []string
}

// member waits in a wheel. again, if not nil, is called while it ticks.
type member struct {
	name  string
	diary *diary
	again func()
}

func (m *member) Tick() {
	m.diary.lines = append(m.diary.lines, m.name)
	if m.again != nil {
		m.again()
	}
}

// together notes the moment around what is submitted.
func (d *diary) together(submit func()) {
	d.lines = append(d.lines, fmt.Sprint(time.Since(d.began), ":"))
	submit()
}

func (d *diary) holds(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(d.lines, want) {
		t.Errorf("the wheel went %q, want %q", d.lines, want)
	}
}

// inPulse runs a test of a wheel with slots of 20 ms, ten to an interval.
func inPulse(t *testing.T, test func(t *testing.T, p *Wheel, d *diary)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &diary{began: time.Now()}
		p := New(testTick, d.together)
		defer p.Stop()
		test(t, p, d)
	})
}

func TestWheelTicksOnceForAnAdd(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		p.Add(&member{name: "a", diary: d}, p.Now())
		pass(10 * testTick)
		d.holds(t, "200ms:", "a")
	})
}

func TestLateMembersTickInTheNextSlot(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		pass(time.Hour + 3*time.Millisecond) // idle: a lap of the wheel and many more
		p.Add(&member{name: "a", diary: d}, 0)
		pass(testTick)
		d.holds(t, "1h0m0.02s:", "a")
	})
}

func TestWheelKeepsTheOrderOfSlotsAndOfAdds(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		pass(testTick)
		add := func(name string, last int64) { p.Add(&member{name: name, diary: d}, last) }
		add("c", 4)
		add("a", 2) // before the slot that the timer is set for
		add("d", 4)
		add("b", 2)
		add("last", 10)
		add("first", 0)
		pass(10 * testTick)
		d.holds(t, "220ms:", "first", "240ms:", "a", "b", "280ms:", "c", "d", "400ms:", "last")
	})
}

func TestWheelTakesAnAddWhileItSubmits(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		a, b := &member{name: "a", diary: d}, &member{name: "b", diary: d}
		left := 2
		a.again = func() {
			if left--; left >= 0 {
				p.Add(a, p.Now())
			}
		}
		p.Add(a, 0)
		p.Add(b, 0)
		pass(10 * testTick)
		d.holds(t, "200ms:", "a", "b", "400ms:", "a", "600ms:", "a")
	})
}

// What comes while a slot is being submitted, for longer than the wheel is, waits for
// the end of that, and loses no slot to what is added then.
func TestWheelThatIsHeldUpLosesNoMember(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		slow := &member{name: "slow", diary: d}
		slow.again = func() { <-time.After(3 * testTick) }
		p.Add(slow, 0)
		pass(testTick) // it ticks
		p.Add(&member{name: "early", diary: d}, p.Now())
		pass(testTick + p.grain) // early's slot is over
		p.Add(&member{name: "late", diary: d}, p.Now())
		pass(10 * testTick)
		d.holds(t, "200ms:", "slow", "800ms:", "early", "late")
	})
}

func TestWheelTicksManyTogether(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		const members, rounds = 1000, 20
		ticks := make([]int, members)
		for i := range members {
			m := &member{diary: &diary{}}
			m.again = func() {
				if ticks[i]++; ticks[i] < rounds {
					p.Add(m, p.Now())
				}
			}
			p.Add(m, 0)
			if i%100 == 99 {
				pass(p.grain)
			}
		}
		pass(2 * rounds * testTick)
		for i, n := range ticks {
			if n != rounds {
				t.Fatalf("member %d ticked %d times, want %d", i, n, rounds)
			}
		}
		// All were due an interval after slot 0, and stay together.
		if len(d.lines) != rounds {
			t.Errorf("%d calls, want %d: %q", len(d.lines), rounds, d.lines)
		}
	})
}

func TestWheelThatIsStoppedForgetsWhoWaits(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		p.Add(&member{name: "a", diary: d}, p.Now())
		pass(testTick - time.Millisecond)
		p.Stop()
		p.Add(&member{name: "b", diary: d}, 0)
		pass(10 * testTick)
		p.Stop() // twice is no harm
		d.holds(t)
	})
}

func TestWheelStopsWhenItsSubmitHasReturned(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		a := &member{name: "a", diary: d}
		a.again = func() {
			p.Add(a, p.Now())
			<-time.After(time.Second)
			d.lines = append(d.lines, "done")
		}
		p.Add(a, 0)
		pass(testTick)
		p.Stop()
		d.holds(t, "200ms:", "a", "done")
		pass(10 * testTick)
		d.holds(t, "200ms:", "a", "done")
	})
}

func TestWheelSetsNoTimerWhileNoMemberWaits(t *testing.T) {
	inPulse(t, func(t *testing.T, p *Wheel, d *diary) {
		p.Add(&member{name: "a", diary: d}, 0)
		pass(2 * testTick)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.armed != 0 || p.timer.Stop() {
			t.Errorf("the timer is set for slot %d, and nobody waits", p.armed)
		}
	})
}

func TestWheelSlots(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ interval, grain, apart time.Duration }{
		{200 * ms, 20 * ms, 200 * ms},
		{10 * ms, 5 * ms, 10 * ms},
		{12 * ms, 5 * ms, 15 * ms}, // at least the interval
		{time.Minute, 6 * time.Second, time.Minute},
	} {
		t.Run(c.interval.String(), func(t *testing.T) {
			p := New(c.interval, nil)
			if apart := time.Duration(p.interval) * p.grain; p.grain != c.grain || apart != c.apart {
				t.Errorf("slots of %s, ticks %s apart; want %s, %s", p.grain, apart, c.grain, c.apart)
			}
		})
	}
}
