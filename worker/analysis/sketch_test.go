package analysis

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

func hashOf(n int) uint64 {
	return xxhash.Sum64(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// The bounds are those that the package's documentation gives: four times the
// standard error 1.04/√m.
func TestDistinctErrorIsWithinItsBound(t *testing.T) {
	for _, s := range tiers {
		bound := 4 * 1.04 / math.Sqrt(float64(int(1)<<s.precision))
		d := newDistinct(s)
		next := 10
		for i := range 1_000_000 {
			d.add(hashOf(i))
			d.add(hashOf(i / 2))
			if i+1 != next {
				continue
			}
			next *= 10
			got, exact := d.count()
			if exact != (i+1 <= s.exact()) {
				t.Errorf("%d columns: %d values, exact = %t", s.columns, i+1, exact)
			}
			off := math.Abs(float64(got)-float64(i+1)) / float64(i+1)
			if off > bound || exact && off > 0 {
				t.Errorf("%d columns: %d values counted as %d, off by %.3f, bound %.3f", s.columns, i+1, got, off, bound)
			}
		}
	}
}

// Of many columns of unique values some are estimated too high: none may be shown
// more distinct values than it has values to tell apart.
func TestDistinctIsNeverAboveTheNumberOfValues(t *testing.T) {
	const columns, rows = 8, 20_000
	var csv, ndjson strings.Builder
	csv.WriteString("a,b,c,d,e,f,g,h\n")
	for row := range rows {
		ndjson.WriteString("{")
		for c := range columns {
			end, cell := ",", fmt.Sprintf("%d-%d", c, row)
			if c == columns-1 {
				end = "\n"
			}
			if row%10 == 0 {
				cell = ""
			}
			csv.WriteString(cell + end)
			value := fmt.Sprintf("%q", cell)
			switch row % 10 {
			case 0:
				value = "null"
			case 1:
				value = "[1]" // nested values are not told apart
			case 2:
				value = `{"x":1}`
			}
			if c == columns-1 {
				end = "}\n"
			}
			fmt.Fprintf(&ndjson, `"%c":%s%s`, 'a'+c, value, end)
		}
	}
	for format, tt := range map[string]struct {
		text string
		most int64
	}{"csv": {csv.String(), rows / 10 * 9}, "ndjson": {ndjson.String(), rows / 10 * 7}} {
		p, err := Analyze(t.Context(), strings.NewReader(tt.text), Payload{Format: format}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		capped := 0
		for _, c := range p.Columns {
			if c.Distinct > tt.most || c.Distinct < tt.most*9/10 || c.DistinctExact {
				t.Errorf("%s column %s: %d distinct of %d values, exact: %t", format, c.Name, c.Distinct, tt.most, c.DistinctExact)
			}
			if c.Distinct == tt.most {
				capped++
			}
		}
		if capped == 0 || capped == columns {
			t.Errorf("%s: %d of %d estimates were too high, want some and not all", format, capped, columns)
		}
	}
}

func TestDistinctShrinksAsIfItHadBeenSmall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(tiers)-2).Draw(t, "from")
		to := rapid.IntRange(from+1, len(tiers)-1).Draw(t, "to")
		n := rapid.IntRange(0, 3000).Draw(t, "values")
		big, small := newDistinct(tiers[from]), newDistinct(tiers[to])
		for i := range n {
			big.add(hashOf(i))
			small.add(hashOf(i))
		}
		big.shrink(tiers[to])
		var a, b encoder
		big.encode(&a)
		small.encode(&b)
		if !bytes.Equal(a.b, b.b) {
			t.Fatalf("%d values shrunk from tier %d to %d differ from those counted there", n, from, to)
		}
	})
}

var distributions = []struct {
	name string
	draw func(*rand.Rand, int) float64
}{
	{"uniform", func(r *rand.Rand, _ int) float64 { return r.Float64() }},
	{"normal", func(r *rand.Rand, _ int) float64 { return r.NormFloat64() }},
	{"exponential", func(r *rand.Rand, _ int) float64 { return r.ExpFloat64() }},
	{"lognormal", func(r *rand.Rand, _ int) float64 { return math.Exp(2 * r.NormFloat64()) }},
	{"ascending", func(_ *rand.Rand, i int) float64 { return float64(i) }},
	{"descending", func(_ *rand.Rand, i int) float64 { return -float64(i) }},
	{"mostly zero", func(r *rand.Rand, _ int) float64 { return max(0, r.NormFloat64()-0.3) }},
	{"two decimals", func(r *rand.Rand, _ int) float64 { return math.Round(r.ExpFloat64()*4000) / 100 }},
}

// rankErrors are the documented bounds by tier, as shares of all values.
var rankErrors = []float64{0.005, 0.01, 0.02, 0.04, 0.08, 0.1}

func TestQuantileRankErrorIsWithinItsBound(t *testing.T) {
	const n = 20_000
	for tier, s := range tiers[:len(rankErrors)] {
		for _, dist := range distributions {
			// In the small digests a value that makes up much of a column is
			// averaged with its neighbours; the documentation says so.
			if dist.name == "mostly zero" && s.delta < 80 {
				continue
			}
			rng := rand.New(rand.NewPCG(7, 11))
			c := newColumn("x", s)
			values := make([]float64, n)
			for i := range values {
				values[i] = dist.draw(rng, i)
				text := fmt.Appendf(nil, "%v", values[i])
				c.addCell(text)
			}
			slices.Sort(values)
			for i, got := range c.quantiles(quantileRanks) {
				if off := rankError(values, got, quantileRanks[i]); off > rankErrors[tier] {
					t.Errorf("%d columns, %s: p%g = %v is off by %.4f in rank, bound %.4f",
						s.columns, dist.name, 100*quantileRanks[i], got, off, rankErrors[tier])
				}
			}
		}
	}
}

// rankError is how far rank q is from the ranks that value has among sorted.
func rankError(sorted []float64, value, q float64) float64 {
	low, _ := slices.BinarySearch(sorted, value)
	high, _ := slices.BinarySearch(sorted, math.Nextafter(value, math.Inf(1)))
	n := float64(len(sorted))
	return max(0, float64(low)/n-q, q-float64(high)/n)
}

func TestDigestKeepsItsRoomAndItsCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(tiers[:len(tiers)-1]).Draw(t, "tier")
		values := rapid.SliceOfN(rapid.Float64(), 1, 2000).Draw(t, "values")
		d := newDigest(s)
		for _, v := range values {
			d.add(v)
		}
		d.flush()
		if d.total != uint64(len(values)) || len(d.means) > s.centroids() || !slices.IsSorted(d.means) {
			t.Fatalf("total %d of %d, %d centroids of %d, sorted %t", d.total, len(values), len(d.means), s.centroids(), slices.IsSorted(d.means))
		}
		low, high := slices.Min(values), slices.Max(values)
		for _, q := range []float64{0, 0.1, 0.5, 0.9, 1} {
			if got := d.quantile(q, low, high); !(got >= low && got <= high) {
				t.Fatalf("quantile %v = %v, outside of %v to %v", q, got, low, high)
			}
		}
	})
}

// A counter is never above the truth, and at most lost below it; a value
// without one occurs at most lost times; lost is at most n/(top+1).
func TestFrequentKeepsItsPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(tiers[:len(tiers)-1]).Draw(t, "tier")
		shrinkAt := rapid.IntRange(0, 4000).Draw(t, "shrink at")
		n := rapid.IntRange(1, 4000).Draw(t, "values")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		f := newFrequent(s)
		truth := map[uint64]uint64{}
		smallest := s
		for i := range n {
			if i == shrinkAt {
				smallest = tiers[len(tiers)-2]
				f.shrink(smallest)
			}
			v := int(rng.ExpFloat64() * 60)
			text := fmt.Appendf(nil, "value %d", v)
			h := xxhash.Sum64(text)
			truth[h]++
			if f.hit(h) == nil {
				f.miss(h, table.Value{Kind: table.Text}, text)
			}
		}
		if bound := uint64(n / (smallest.top + 1)); f.lost > bound {
			t.Fatalf("lost %d of %d values with %d counters", f.lost, n, smallest.top)
		}
		held := map[uint64]bool{}
		for _, it := range f.items {
			held[it.hash] = true
			if got, want := it.count-f.lost, truth[it.hash]; got > want || got+f.lost < want {
				t.Fatalf("counted %d, error %d, truth %d", got, f.lost, want)
			}
		}
		for h, want := range truth {
			if !held[h] && want > f.lost {
				t.Fatalf("a value that occurs %d times has no counter, lost is %d", want, f.lost)
			}
		}
	})
}
