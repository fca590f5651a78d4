package pace_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/pace"
)

const tick = 200 * time.Millisecond

// estimates runs a count of a million at a speed, in shares of the whole a second, and returns by
// how much each estimate from a share on was wrong, in shares of the time that it really took, and
// how many ticks had none.
func estimates(speed speed, from float64) (errors []float64, missing int) {
	const whole = 1_000_000
	var p pace.Pace
	type estimate struct{ at, left time.Duration }
	var all []estimate
	now, share, passed := time.Unix(0, 0), 0.0, time.Duration(0)
	p.Observe(now, 0)
	for share < 1 {
		passed += tick
		share += speed(passed.Seconds(), share) * tick.Seconds()
		place := int64(min(share, 1) * whole)
		p.Observe(now.Add(passed), place)
		if left := p.Left(whole - place); share >= from && share < 1 {
			if left == 0 {
				missing++
				continue
			}
			all = append(all, estimate{passed, left})
		}
	}
	for _, e := range all {
		really := passed - e.at
		errors = append(errors, math.Abs(float64(e.left-really))/float64(really))
	}
	slices.Sort(errors)
	return errors, missing
}

// A speed is that of a count, in shares of the whole a second, after t seconds.
type speed func(t, share float64) float64

// changing is a speed of 1/seconds that is another so many times as fast from a share on.
func changing(at, times float64) func(float64, *rand.Rand) speed {
	return func(seconds float64, _ *rand.Rand) speed {
		return func(_, share float64) float64 {
			if share < at {
				return 1 / seconds
			}
			return times / seconds
		}
	}
}

// beating is a speed whose beats follow each other.
func beating(beat float64, beats ...float64) func(float64, *rand.Rand) speed {
	return func(seconds float64, _ *rand.Rand) speed {
		return func(t, _ float64) float64 { return beats[int(t/beat)%len(beats)] / seconds }
	}
}

// late is a speed that is low for some seconds.
func late(wait, low float64) func(float64, *rand.Rand) speed {
	return func(seconds float64, _ *rand.Rand) speed {
		return func(t, _ float64) float64 {
			if t < min(wait, seconds/2) {
				return low / seconds
			}
			return 1 / seconds
		}
	}
}

func TestMedianErrorOfEstimates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		speed   func(seconds float64, random *rand.Rand) speed
		seconds []float64 // how long it takes at its plain speed
		from    float64   // the share from which on estimates count; 0: 20 %
		worst   float64   // median error; 0: a quarter
	}{
		"steady":                            {changing(0, 1), []float64{8, 60, 3600}, 0, 0.02},
		"it waits for its first reads":      {late(2, 0.02), []float64{4, 6, 10, 20, 60}, 0, 0.1},
		"slow until its file is in memory":  {late(5, 0.25), []float64{4, 6, 10, 20, 60}, 0, 0.2},
		"slower from half on":               {changing(0.5, 1./3), []float64{8, 20, 60, 200}, 0, 0},
		"half as fast from half on":         {changing(0.5, 0.5), []float64{8, 20, 60, 200}, 0, 0},
		"twice as fast, once that is known": {changing(0.4, 2), []float64{8, 20, 60, 200}, 0.6, 0},
		// As on a machine that builds something else at first.
		"four times as fast, once that is known": {changing(0.2, 4), []float64{20, 60, 200}, 0.5, 0},
		"stalls at checkpoints":                  {beating(0.5, 0, 1, 1, 1, 1, 1, 1, 1, 1), []float64{4, 20, 60, 200}, 0, 0},
		"bursts of a second in four":             {beating(1, 4, 0, 0, 0), []float64{60, 200}, 0, 0},
		"wavers":                                 {beating(1, 1, 0.25, 2, 1.5, 0.5), []float64{20, 60, 200}, 0, 0},
		"it slows down, as its state grows": {func(seconds float64, _ *rand.Rand) speed {
			return func(_, share float64) float64 { return 1.5 / (1 + share) / seconds }
		}, []float64{8, 20, 60, 200}, 0, 0},
		"noisy": {func(seconds float64, r *rand.Rand) speed {
			return func(_, _ float64) float64 { return math.Exp(0.5*r.NormFloat64()) / seconds }
		}, []float64{8, 20, 60, 200}, 0, 0},
		"a bad connection": {func(seconds float64, r *rand.Rand) speed {
			rate := 1.0
			return func(_, _ float64) float64 { // wanders
				rate = min(max(rate*math.Exp(0.1*r.NormFloat64()), 0.5), 1.5)
				return rate / seconds
			}
		}, []float64{8, 20, 60, 200}, 0, 0},
		"up to three others at work": {func(seconds float64, r *rand.Rand) speed {
			rate, until := 1.0, 0.0
			return func(t, _ float64) float64 {
				if t >= until {
					rate, until = 1/float64(1+r.IntN(4)), t+3*r.ExpFloat64()
				}
				return 2 * rate / seconds
			}
		}, []float64{200, 600}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, worst := c.from, c.worst
			if from == 0 {
				from = 0.2
			}
			if worst == 0 {
				worst = 0.25
			}
			for _, seconds := range c.seconds {
				var all []float64
				for seed := range uint64(9) {
					errors, missing := estimates(c.speed(seconds, rand.New(rand.NewPCG(seed, 1))), from) //nolint:gosec // a test's
					if missing > 0 && len(errors) < 2*missing {
						t.Errorf("%v s, seed %d: %d of %d ticks have no estimate", seconds, seed, missing, len(errors)+missing)
					}
					all = append(all, errors...)
				}
				slices.Sort(all)
				median := all[len(all)/2]
				t.Logf("%v s: median error %.1f %%, a tenth is above %.1f %%", seconds, 100*median, 100*all[len(all)*9/10])
				if median > worst {
					t.Errorf("%v s: the median error is %.1f %%, want at most %.0f %%", seconds, 100*median, 100*worst)
				}
			}
		})
	}
}

// grow observes a count that grows by step each second.
func grow(p *pace.Pace, at time.Time, place, step int64, seconds int) (time.Time, int64) {
	for range seconds {
		at, place = at.Add(time.Second), place+step
		p.Observe(at, place)
	}
	return at, place
}

func TestTheSpeedOfTheLastSecondsCounts(t *testing.T) {
	t.Parallel()
	var p pace.Pace
	at := time.Unix(0, 0)
	p.Observe(at, 0)
	at, place := grow(&p, at, 0, 100, 6)
	if rate := p.Rate(); rate != 100 {
		t.Errorf("%v a second, want 100", rate)
	}
	at, place = grow(&p, at, place, 10, 3)
	if rate := p.Rate(); rate != 10 {
		t.Errorf("%v a second after 9 s, want those of the last 3: 10", rate)
	}
	at, place = grow(&p, at, place, 10, 51)
	at, place = grow(&p, at, place, 40, 10)
	// Samples are kept each 2 s by now.
	if rate := p.Rate(); rate < 35 || rate > 40 {
		t.Errorf("%v a second after 70 s, want those of the last 10 to 12: 35 to 40", rate)
	}
	if left := p.Left(1000).Seconds(); left < 42 || left > 54 {
		t.Errorf("%v s left, want those at the speed of the last 23 to 25 s: 42 to 54", left)
	}
	at, place = grow(&p, at, place, 40, 40)
	if left := p.Left(1000); left != 25*time.Second {
		t.Errorf("%s left, want 25 s at the speed of the last 30 s and a little", left)
	}
	_, _ = grow(&p, at, place, 0, 40)
	if rate := p.Rate(); rate != 0 {
		t.Errorf("%v a second while it stands", rate)
	}
}

func TestTheEstimateDoesNotRiseWhileTheCountStands(t *testing.T) {
	t.Parallel()
	var p pace.Pace
	at := time.Unix(0, 0)
	p.Observe(at, 0)
	at, place := grow(&p, at, 0, 100, 5)
	before := p.Left(1000)
	at, place = grow(&p, at, place, 0, 60)
	if left := p.Left(1000); left != before || before != 10*time.Second {
		t.Errorf("%s left after a minute without progress, want the %s of before: 10 s", left, before)
	}
	if rate := p.Rate(); rate != 0 {
		t.Errorf("%v a second after a minute without progress", rate)
	}
	grow(&p, at, place, 1, 1)
	if left := p.Left(999); left <= before {
		t.Errorf("%s left once it creeps on, want more than %s", left, before)
	}
}

func TestAStageHasASpeedOfItsOwn(t *testing.T) {
	t.Parallel()
	var p pace.Pace
	at := time.Unix(0, 0)
	p.Observe(at, 0)
	at, place := grow(&p, at, 0, 100, 20)
	p.Enter()
	place++
	p.Observe(at, place)
	if rate := p.Rate(); rate < 99 || rate > 101 {
		t.Errorf("%v a second in a stage that has just begun, want that of the one before: 100", rate)
	}
	grow(&p, at, place, 7, 3)
	if rate := p.Rate(); rate != 7 {
		t.Errorf("%v a second, want this stage's 7", rate)
	}
}

func TestNothingIsKnownAtFirst(t *testing.T) {
	t.Parallel()
	var p pace.Pace
	if p.Rate() != 0 || p.Left(10) != 0 {
		t.Error("a speed of nothing")
	}
	at := time.Unix(0, 0)
	p.Observe(at, 500) // an earlier attempt's
	p.Observe(at.Add(900*time.Millisecond), 600)
	if p.Rate() != 0 || p.Left(10) != 0 {
		t.Errorf("%v a second after 0.9 s", p.Rate())
	}
	p.Observe(at.Add(time.Second), 600)
	if p.Rate() != 100 || p.Left(0) != 0 || p.Left(math.MaxInt64) != 0 {
		t.Errorf("%v a second, want 100", p.Rate())
	}
}

func BenchmarkObserve(b *testing.B) {
	var p pace.Pace
	at := time.Unix(0, 0)
	for i := range b.N {
		p.Observe(at.Add(time.Duration(i)*tick), int64(i))
		p.Left(1000)
	}
}
