package report

import (
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPercentOfStages(t *testing.T) {
	type step struct {
		stage       string
		done, total int64
		tenths      int
		unknown     bool
	}
	weighted := []Stage{{"receive", 1}, {"read", 6}, {"write", 3}}
	for name, c := range map[string]struct {
		stages []Stage
		steps  []step
	}{
		"no stages":          {nil, []step{{"", 614_000, 1_000_000, 614, false}, {"", 999_999, 1_000_000, 999, false}, {"", 1_000_000, 1_000_000, 1000, false}}},
		"weights":            {weighted, []step{{"receive", 1, 2, 50, false}, {"read", 1, 2, 400, false}, {"write", 1, 3, 800, false}}},
		"a skipped stage":    {weighted, []step{{"receive", 0, 2, 0, false}, {"write", 0, 1, 700, false}}},
		"going back":         {weighted, []step{{"write", 1, 2, 850, false}, {"read", 1, 2, 850, false}, {"write", 2, 3, 900, false}}},
		"an unknown total":   {weighted, []step{{"read", 7, 0, 100, true}, {"read", 7, -1, 100, true}, {"read", 3, 6, 400, false}, {"write", 1, 0, 700, true}}},
		"a total that grows": {nil, []step{{"", 50, 100, 500, false}, {"", 60, 1000, 500, false}, {"", 600, 1000, 600, false}}},
		"out of bounds":      {nil, []step{{"", -5, 100, 0, false}, {"", 200, 100, 1000, false}, {"", math.MaxInt64, math.MaxInt64, 1000, false}, {"", math.MinInt64, math.MinInt64, 1000, true}}},
		"an undeclared one":  {weighted, []step{{"read", 1, 2, 400, false}, {"interlude", 9, 10, 400, false}, {"write", 0, 1, 700, false}}},
		"none declared":      {nil, []step{{"read", 1, 2, 500, false}, {"write", 1, 4, 500, false}, {"write", 3, 4, 750, false}}},
		"equal without any":  {[]Stage{{"a", 0}, {"b", math.NaN()}}, []step{{"b", 0, 1, 500, false}}},
		"huge weights":       {[]Stage{{"a", math.MaxFloat64}, {"b", math.MaxFloat64}, {"c", math.Inf(1)}}, []step{{"b", 0, 1, 500, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			var v view
			v.declare(c.stages)
			for i, s := range c.steps {
				v.enter(s.stage)
				v.done, v.total, v.counted = s.done, s.total, true
				tenths, shown := v.show(time.Time{})
				if tenths != s.tenths || shown.Indeterminate != s.unknown {
					t.Errorf("step %d: %d tenths, indeterminate %t; want %d, %t", i, tenths, shown.Indeterminate, s.tenths, s.unknown)
				}
				if p := shown.Progress; p.Done < 0 || p.Total < 0 || (p.Total > 0 && p.Done > p.Total) {
					t.Errorf("step %d shows %+v", i, p)
				}
			}
		})
	}
}

// Against an exact model in rationals: whatever is reported, the percent is the
// floor of the highest place reached, and never falls.
func TestPercentProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 100), 0, 6).Draw(t, "weights")
		var stages []Stage
		sum := int64(0)
		for i, w := range weights {
			stages = append(stages, Stage{string(rune('a' + i)), float64(w)})
			sum += int64(w)
		}
		if sum == 0 { // all equal
			for i := range weights {
				weights[i] = 1
			}
			sum = int64(len(weights))
		}
		var v view
		v.declare(stages)
		mark, before, at := new(big.Rat), 0, 0
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if len(stages) > 0 && rapid.Bool().Draw(t, "moves") {
				at = rapid.IntRange(0, len(stages)-1).Draw(t, "stage")
				v.enter(stages[at].Name)
				v.settle()
			}
			v.done, v.total, v.counted = rapid.Int64().Draw(t, "done"), rapid.Int64().Draw(t, "total"), true
			tenths, _ := v.show(time.Time{})

			place := new(big.Rat)
			if total := v.total; total > 0 {
				place.SetFrac64(min(max(v.done, 0), total), total)
			}
			if len(stages) > 0 {
				passed := int64(0)
				for _, w := range weights[:at] {
					passed += int64(w)
				}
				place.Mul(place, big.NewRat(int64(weights[at]), sum))
				place.Add(place, big.NewRat(passed, sum))
			}
			if place.Cmp(mark) > 0 {
				mark.Set(place)
			}
			// Shares are rounded to a billionth of the bar.
			exact, _ := new(big.Rat).Mul(mark, big.NewRat(1000, 1)).Float64()
			if low, high := math.Floor(exact-2e-6), math.Floor(exact+2e-6); float64(tenths) < low || float64(tenths) > high {
				t.Fatalf("%d tenths, exactly %v", tenths, exact)
			}
			if tenths < before || tenths > 1000 {
				t.Fatalf("%d tenths after %d", tenths, before)
			}
			before = tenths
		}
	})
}

func TestETA(t *testing.T) {
	at := time.Unix(1000, 0)
	var v view
	report := func(after time.Duration, done, total int64) time.Duration {
		at = at.Add(after)
		v.done, v.total, v.counted = done, total, true
		_, shown := v.show(at)
		return shown.ETA
	}
	if got := report(0, 580, 1000); got != 0 { // an earlier attempt's: no measurement
		t.Errorf("an estimate of %s from nothing", got)
	}
	if got := report(200*time.Millisecond, 582, 1000); got != 0 {
		t.Errorf("an estimate of %s after 0.2 s", got)
	}
	for done := int64(584); done < 600; done += 2 {
		report(200*time.Millisecond, done, 1000)
	}
	// 10 a second, 400 to go.
	if got := report(200*time.Millisecond, 600, 1000); got < 39*time.Second || got > 41*time.Second {
		t.Errorf("an estimate of %s, want 40 s", got)
	}
	if got := report(time.Second, 601, 0); got != 0 {
		t.Errorf("an estimate of %s for an unknown total", got)
	}
	// It slows down to 1 a second, and the estimate follows.
	for done := int64(602); done < 662; done++ {
		report(time.Second, done, 1000)
	}
	if got := report(time.Second, 662, 1000); got < 300*time.Second || got > 338*time.Second {
		t.Errorf("an estimate of %s, want about 338 s", got)
	}
}

func TestETAHoldsWhileTheBarDoes(t *testing.T) {
	at := time.Unix(1000, 0)
	var v view
	v.declare([]Stage{{"read", 1}, {"write", 1}})
	v.enter("read")
	report := func(done int64) time.Duration {
		at = at.Add(time.Second)
		v.done, v.total, v.counted = done, 100, true
		_, shown := v.show(at)
		return shown.ETA
	}
	for done := range int64(11) {
		report(done)
	}
	// A second for each half percent of the bar.
	before := report(11)
	if before != 189*time.Second {
		t.Errorf("an estimate of %s, want 189 s", before)
	}
	for range 30 {
		v.message = "still the same row"
		if got := report(11); got != before {
			t.Fatalf("an estimate of %s while the bar does not move, want that of before: %s", got, before)
		}
	}
}

// An uploaded file is read on a machine that is busy for 3 s, and then is not. Writing takes no time.
func TestETAForgetsASlowBeginning(t *testing.T) {
	var v view
	v.received, v.mark = whole/2, whole/2
	v.declare([]Stage{{"read", 99}, {"write", 1}})
	v.enter("read")
	v.total, v.counted = 1000, true
	const tick = 200 * time.Millisecond
	begun, passed := time.Unix(1000, 0), time.Duration(0)
	estimates := map[time.Duration]time.Duration{} // by when they were made
	for v.show(begun); v.done < v.total; {
		step := int64(20)
		if passed < 3*time.Second {
			step = 5
		}
		passed += tick
		v.done += step
		if _, shown := v.show(begun.Add(passed)); v.done >= 200 && v.done < v.total {
			estimates[passed] = shown.ETA
		}
	}
	var errors []float64
	for at, eta := range estimates {
		errors = append(errors, math.Abs(float64(eta-(passed-at)))/float64(passed-at))
	}
	slices.Sort(errors)
	if median := errors[len(errors)/2]; median > 0.1 {
		t.Errorf("the median error of %d estimates is %.0f %%, want at most 10 %%", len(errors), 100*median)
	}
}

func TestAMessageEndsWithItsStage(t *testing.T) {
	var v view
	v.message = "opening the file"
	for _, stage := range []string{"read", "write", "an undeclared one"} {
		v.enter(stage)
		if _, shown := v.show(time.Time{}); shown.Message != "" {
			t.Errorf("stage %s shows %q, said before it", stage, shown.Message)
		}
		v.message = "rows of " + stage
		if v.enter(stage) || v.message == "" {
			t.Errorf("stage %s has lost its message by being entered again", stage)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("ü€😀x", 5)
	f.Fuzz(func(t *testing.T, s string, most int) {
		if most < 4 || most > 64 {
			return
		}
		short, whole := cut(s, most)
		if len(short) > most || whole != (short == s) || s[:len(short)] != short || len(short) < min(len(s), most-3) {
			t.Errorf("cut(%q, %d) is %q, %t", s, most, short, whole)
		}
	})
}
