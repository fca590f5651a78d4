package analysis

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

// reference is the mean and the deviation of a population, in numbers that nothing is lost of.
func reference(values []float64) (mean, stddev float64) {
	exact := func(v float64) *big.Float { return new(big.Float).SetPrec(4000).SetFloat64(v) }
	n := exact(float64(len(values)))
	sum, squares := exact(0), exact(0)
	for _, v := range values {
		sum.Add(sum, exact(v))
	}
	average := sum.Quo(sum, n)
	for _, v := range values {
		d := new(big.Float).Sub(exact(v), average)
		squares.Add(squares, d.Mul(d, d))
	}
	mean, _ = average.Float64()
	stddev, _ = squares.Quo(squares, n).Sqrt(squares).Float64()
	return mean, stddev
}

// extremes are columns whose squares a float64 does not hold, or whose sums, or differences.
func extremes() map[string][]float64 {
	repeat := func(n int, values ...float64) (all []float64) {
		for range n {
			all = append(all, values...)
		}
		return all
	}
	spread := func(n int, value func(share float64) float64) (all []float64) {
		for i := range n {
			all = append(all, value(float64(i)/float64(n-1)))
		}
		return all
	}
	const most, least = math.MaxFloat64, math.SmallestNonzeroFloat64
	return map[string][]float64{
		"one that is huge":             append(repeat(18, 1), 1.7e308),
		"the ends":                     repeat(50, most, -most),
		"one end":                      repeat(50, most),
		"near one end":                 repeat(50, most, most/2),
		"all there are":                spread(40_000, func(x float64) float64 { return 2 * (x - 0.5) * most }),
		"tiny ones":                    repeat(50, 1e-200, 3e-200),
		"tiny ones of both signs":      repeat(50, -1e-200, 0, 3e-200),
		"denormals":                    repeat(50, 4*least, 12*least, 400*least),
		"zeros, then tiny ones":        append(repeat(50, 0), repeat(50, 2e-300)...),
		"tiny, then ordinary ones":     append(repeat(50, 1e-200), repeat(50, 1, 2)...),
		"ordinary, then huge ones":     append(repeat(50, 1, 2), repeat(50, 1e200, 3e200)...),
		"tiny, then huge ones":         append(repeat(50, 1e-200), repeat(50, -1e300, 3e300)...),
		"huge, then tiny ones":         append(repeat(50, 1e300, 3e300), repeat(50, 1e-200)...),
		"both sides of where it is 1":  repeat(50, 0x1p400, 0x1p401, 0x1p-401, 0x1p-400),
		"a difference beyond the ends": {-most, most, most, most},
	}
}

func columnOf(values []float64) string {
	var b strings.Builder
	b.WriteString("v\n")
	for _, v := range values {
		fmt.Fprintln(&b, strconv.FormatFloat(v, 'g', -1, 64))
	}
	return b.String()
}

func TestFiguresOfExtremeNumbers(t *testing.T) {
	for name, values := range extremes() {
		t.Run(name, func(t *testing.T) {
			n := analyze(t, columnOf(values), Payload{}).Columns[0].Number
			mean, stddev := reference(values)
			near := func(got, want, unit float64) bool {
				return math.Abs(got/2-want/2) <= 1e-9*unit+math.SmallestNonzeroFloat64
			}
			if !near(n.Mean, mean, max(math.Abs(mean), stddev)) || !near(n.Stddev, stddev, stddev) {
				t.Errorf("mean %v, stddev %v; want %v, %v", n.Mean, n.Stddev, mean, stddev)
			}
			q := n.Quantiles
			last := math.Inf(-1)
			for _, v := range []float64{q.P1, q.P5, q.P25, q.P50, q.P75, q.P95, q.P99} {
				if math.IsNaN(v) || math.IsInf(v, 0) || v < last {
					t.Errorf("quantiles %+v", *q)
				}
				last = v
			}
		})
	}
}

// The median of what is spread evenly between the ends is in the middle.
func TestQuantilesBetweenTheEnds(t *testing.T) {
	q := analyze(t, columnOf(extremes()["all there are"]), Payload{}).Columns[0].Number.Quantiles
	for what, c := range map[string][2]float64{"P5": {q.P5, -0.9}, "P25": {q.P25, -0.5}, "P50": {q.P50, 0}, "P75": {q.P75, 0.5}, "P95": {q.P95, 0.9}} {
		if got := c[0] / math.MaxFloat64; math.Abs(got-c[1]) > 0.02 {
			t.Errorf("%s is at %v of the largest number, want %v", what, got, c[1])
		}
	}
}

func TestResumedFiguresOfExtremeNumbers(t *testing.T) {
	for name, values := range extremes() {
		data := []byte(columnOf(values[:min(len(values), 2000)]))
		want, err := analyseInPieces(data, Payload{}, mustOptions(t), nil)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, cuts := range [][]int{{1}, {len(data) / 2}, {len(data) / 3, 2 * len(data) / 3}} {
			got, err := analyseInPieces(data, Payload{}, mustOptions(t), cuts)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, cut at %v: %v\n%s\n%s", name, cuts, err, got, want)
			}
		}
	}
}
