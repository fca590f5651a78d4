package report

import (
	"math"
	"math/bits"
)

// A bar is counted in parts, so that weighted stages add up without the rounding of
// floats: 1,000 tenths of a percent, a million parts each.
const (
	whole         = 1_000_000_000
	partsPerTenth = whole / 1000
)

// A Stage is a part of a job: its name, and its weight in the bar against the other stages'.
type Stage struct {
	Name   string
	Weight float64
}

// scale divides a bar among stages.
type scale struct {
	names []string
	ends  []int64 // where each stage's share ends, in parts; the last is whole
}

// newScale normalises weights. A weight that is no positive number counts as 0;
// when none is positive, all are equal. Of two stages with a name the first counts.
func newScale(stages []Stage) scale {
	var s scale
	var weights []float64
	most := 0.0
	for _, g := range stages {
		if s.index(g.Name) >= 0 {
			continue
		}
		weight := g.Weight
		if math.IsNaN(weight) || math.IsInf(weight, 0) || weight < 0 {
			weight = 0
		}
		s.names = append(s.names, g.Name)
		weights = append(weights, weight)
		most = max(most, weight)
	}
	total := 0.0
	for i := range weights {
		if most > 0 {
			weights[i] /= most // the sum of huge weights stays finite
		} else {
			weights[i] = 1
		}
		total += weights[i]
	}
	sum := 0.0
	for _, weight := range weights {
		sum += weight
		s.ends = append(s.ends, min(int64(math.Round(sum/total*whole)), whole))
	}
	return s
}

func (s *scale) index(name string) int {
	for i, n := range s.names {
		if n == name {
			return i
		}
	}
	return -1
}

// share is where a stage begins and ends.
func (s *scale) share(stage int) (from, to int64) {
	if len(s.ends) == 0 {
		return 0, whole
	}
	if stage > 0 {
		from = s.ends[stage-1]
	}
	return from, s.ends[stage]
}

// at is the place in the bar of done of total in a stage, floored: every stage
// before it counts whole. total 0 is the stage's beginning. The counts are clamped:
// 0 ≤ done ≤ total.
func (s *scale) at(stage int, done, total int64) int64 {
	from, to := s.share(stage)
	if total <= 0 {
		return from
	}
	// 128 bits: done may be anything.
	high, low := bits.Mul64(uint64(to-from), uint64(done))
	parts, _ := bits.Div64(high, low, uint64(total))
	return from + int64(parts)
}
