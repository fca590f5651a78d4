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
// how much each estimate from 20 % on was wrong, in shares of the time that it really took, and
// how many ticks had none.
func estimates(speed func(t, share float64) float64) (errors []float64, missing int) {
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
		if left := p.Left(whole - place); share >= 0.2 && share < 1 {
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

func TestMedianErrorOfEstimates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		speed func(random *rand.Rand) func(t, share float64) float64
		worst float64 // median error
	}{
		"steady":     {func(*rand.Rand) func(_, _ float64) float64 { return func(_, _ float64) float64 { return 1. / 60 } }, 0.02},
		"of an hour": {func(*rand.Rand) func(_, _ float64) float64 { return func(_, _ float64) float64 { return 1. / 3600 } }, 0.02},
		"of seconds": {func(*rand.Rand) func(_, _ float64) float64 { return func(_, _ float64) float64 { return 1. / 8 } }, 0.02},
		"noisy": {func(r *rand.Rand) func(_, _ float64) float64 {
			return func(_, _ float64) float64 { return math.Exp(0.7*r.NormFloat64()) / 60 }
		}, 0.25},
		"noisy, of seconds": {func(r *rand.Rand) func(_, _ float64) float64 {
			return func(_, _ float64) float64 { return math.Exp(0.7*r.NormFloat64()) / 8 }
		}, 0.25},
		"in bursts": {func(*rand.Rand) func(t, _ float64) float64 {
			return func(t, _ float64) float64 {
				if math.Mod(t, 4) < 1 {
					return 1. / 15
				}
				return 0
			}
		}, 0.25},
		"slow at first": {func(*rand.Rand) func(t, _ float64) float64 {
			return func(t, _ float64) float64 {
				if t < 5 {
					return 1. / 300
				}
				return 1. / 40
			}
		}, 0.25},
		"slower from half on": {func(*rand.Rand) func(_, share float64) float64 {
			return func(_, share float64) float64 {
				if share < 0.5 {
					return 1. / 30
				}
				return 1. / 90
			}
		}, 0.25},
		"a bad connection": {func(r *rand.Rand) func(_, _ float64) float64 {
			rate := 1. / 60
			return func(_, _ float64) float64 { // wanders
				rate = min(max(rate*math.Exp(0.1*r.NormFloat64()), 1./120), 1./40)
				return rate
			}
		}, 0.25},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []float64
			for seed := range uint64(9) {
				errors, missing := estimates(c.speed(rand.New(rand.NewPCG(seed, 1)))) //nolint:gosec // a test's
				if missing > 0 && len(errors) < 9*missing {
					t.Errorf("seed %d: %d of %d ticks have no estimate", seed, missing, len(errors)+missing)
				}
				all = append(all, errors...)
			}
			slices.Sort(all)
			median := all[len(all)/2]
			t.Logf("median error %.1f %%, a tenth is above %.1f %%", 100*median, 100*all[len(all)*9/10])
			if median > c.worst {
				t.Errorf("the median error is %.1f %%, want at most %.0f %%", 100*median, 100*c.worst)
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

func TestTheSlowerSpeedCounts(t *testing.T) {
	t.Parallel()
	var p pace.Pace
	at := time.Unix(0, 0)
	p.Observe(at, 0)
	at, place := grow(&p, at, 0, 100, 30)
	if rate := p.Rate(); rate != 100 {
		t.Errorf("%v a second, want 100", rate)
	}
	at, place = grow(&p, at, place, 10, 10) // 3,100 in 40 s
	if rate := p.Rate(); rate != 10 {
		t.Errorf("%v a second after it has slowed down, want those of the last 10 s: 10", rate)
	}
	_, place = grow(&p, at, place, 200, 10) // 5,100 in 50 s
	if rate := p.Rate(); rate != 102 {
		t.Errorf("%v a second after it has caught up, want those of all the time: 102", rate)
	}
	if left := p.Left(10_200 - place); left != 50*time.Second {
		t.Errorf("%s left, want 50 s", left)
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
