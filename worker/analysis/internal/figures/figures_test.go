package figures

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// number draws a finite number, often one that was there before, or that a person would write.
func number() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Map(rapid.IntRange(-1000, 1000), func(n int) float64 { return float64(n) / 4 }),
		rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
		rapid.Float64Range(-1e-300, 1e-300),
		rapid.Map(rapid.IntRange(0, 40), func(n int) float64 { return 1 + float64(n)*0x1p-52 }),
	)
}

// recoded is what a decoded encoding goes on with.
func recoded(t *rapid.T, h Histogram) Histogram {
	again := NewHistogram(h.widths, len(h.counts))
	rest, err := again.Decode(h.Append(nil))
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes are left: %v", len(rest), err)
	}
	return again
}

// The bins hold a plain recount, are the narrowest that there is room for, and the same in any order, through any
// encoding, and when the room shrinks late.
func TestHistogramIsARecount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		widths := rapid.SampledFrom([]Widths{Binary, Clock}).Draw(t, "widths")
		of := number()
		if widths == Clock {
			of = rapid.Map(rapid.Int64Range(-62e9, 253e9), func(n int64) float64 { return float64(n) })
		}
		values := rapid.SliceOfN(of, 1, 60).Draw(t, "values")
		room := rapid.IntRange(4, 32).Draw(t, "bins")
		shrinkAt := rapid.IntRange(0, len(values)).Draw(t, "shrink at")
		h := NewHistogram(widths, 32)
		for i, v := range values {
			if i == shrinkAt {
				h.Shrink(room)
			}
			if h.Add(v); i%3 == 0 {
				h = recoded(t, h)
			}
		}
		h.Shrink(room)
		start, width, counts := h.Bins(false)
		other := NewHistogram(widths, room)
		for _, v := range slices.Backward(values) {
			other.Add(v)
		}
		start2, width2, counts2 := other.Bins(false)
		if start != start2 || width != width2 || !slices.Equal(counts, counts2) {
			t.Fatalf("%v %v %v, the other way %v %v %v", start, width, counts, start2, width2, counts2)
		}
		low, high := slices.Min(values), slices.Max(values)
		if width == 0 {
			if low != high || counts[0] != uint64(len(values)) {
				t.Fatalf("one value: %v", counts)
			}
			return
		}
		bin := func(v, width float64) float64 {
			if v < 0 && v > -width {
				return -1
			}
			return math.Floor(v / width)
		}
		recount := make([]uint64, len(counts))
		base := bin(low, width)
		for _, v := range values {
			recount[int(bin(v, width)-base)]++
		}
		if !slices.Equal(recount, counts) || counts[0] == 0 || counts[len(counts)-1] == 0 || len(counts) > room {
			t.Fatalf("bins of %v: %v, a recount has %v", width, counts, recount)
		}
		if start > low {
			t.Fatalf("the first bin begins at %v, above %v", start, low)
		}
		narrower := width / 2
		if widths == Clock {
			narrower = widths.width(max(h.level-1, 0))
		}
		if narrower < width && narrower > 0 && bin(high, narrower)-bin(low, narrower) < float64(room) {
			t.Fatalf("bins of %v would do, and are %v wide", narrower, width)
		}
	})
}

func TestHistogramOfWholeNumbersHasWholeBins(t *testing.T) {
	h := NewHistogram(Binary, 32)
	for _, v := range []float64{3, 1, 4, 1, 5} {
		h.Add(v)
	}
	start, width, counts := h.Bins(true)
	if start != 1 || width != 1 || !slices.Equal(counts, []uint64{2, 0, 1, 1, 1}) {
		t.Errorf("%v, %v, %v", start, width, counts)
	}
	if _, width, _ := h.Bins(false); width >= 1 {
		t.Errorf("bins of fractions are %v wide", width)
	}
}

// A sum is that of big numbers, or lost.
func TestSumIsExactOrLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 15).Draw(t, "numbers")
		var s Sum
		want := new(big.Rat)
		var all []Decimal
		for range n {
			d := Decimal{
				Whole: rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1e6, 1e6)).Draw(t, "whole"),
				Scale: uint8(rapid.OneOf(rapid.IntRange(0, 2), rapid.IntRange(0, MaxScale)).Draw(t, "scale")),
			}
			all = append(all, d)
			s.Add(d)
			want.Add(want, new(big.Rat).SetFrac(big.NewInt(d.Whole), new(big.Int).SetUint64(tens[d.Scale])))
			var again Sum
			if rest, err := again.Decode(s.Append(nil)); err != nil || len(rest) > 0 || again != s {
				t.Fatalf("decoded %+v of %+v: %v", again, s, err)
			}
		}
		text, ok := s.Text()
		if !ok {
			// 128 bits hold 18 numbers of 63 bits with 18 digits more.
			t.Fatalf("the sum of %v is lost", all)
		}
		if got, _ := new(big.Rat).SetString(text); got.Cmp(want) != 0 {
			t.Fatalf("%v sum up to %s, want %s", all, text, want.FloatString(20))
		}
	})
}

func TestSumsBeyondTheirRoomAreLost(t *testing.T) {
	var s Sum
	for range 200 {
		s.Add(Decimal{Whole: math.MaxInt64})
		s.Add(Decimal{Whole: 1, Scale: MaxScale})
	}
	if text, ok := s.Text(); ok {
		t.Errorf("the sum is %s", text)
	}
	s = Sum{}
	s.Add(Decimal{Whole: 7})
	s.Add(NoDecimal)
	s.Add(Decimal{Whole: 7})
	if _, ok := s.Text(); ok {
		t.Error("a number that is no decimal was passed over")
	}
}

func TestDecimalsAreOrderedExactly(t *testing.T) {
	a, b := Decimal{Whole: 9007199254740993, Scale: 2}, Decimal{Whole: 900719925474099299, Scale: 4}
	if a.Compare(b) <= 0 || b.Compare(a) >= 0 || a.Compare(a) != 0 || a.String() != "90071992547409.93" {
		t.Errorf("%s and %s", a, b)
	}
}

// Correlations are those of a recount in plain two passes, through any encoding, also where numbers are
// missing and far from zero.
func TestCorrelationsAreARecount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns, rows := rapid.IntRange(2, 5).Draw(t, "columns"), rapid.IntRange(0, 300).Draw(t, "rows")
		far := rapid.SampledFrom([]float64{0, 1e9}).Draw(t, "far")
		gaps := rapid.IntRange(0, 2).Draw(t, "gaps")
		var c Correlations
		all := make([][]float64, columns)
		for range columns {
			if _, ok := c.Column(); !ok {
				t.Fatal("no room")
			}
		}
		small := rapid.IntRange(-50, 50)
		for range rows {
			x := small.Draw(t, "x")
			for i := range columns {
				v := math.NaN()
				if gaps == 0 || small.Draw(t, "gap")%(5-gaps) != 0 {
					v = far + float64(x*(i-1)+small.Draw(t, "noise"))
					c.Set(i, v)
				}
				all[i] = append(all[i], v)
			}
			if c.Next(); x%7 == 0 {
				var again Correlations
				if rest, err := again.Decode(c.Append(nil)); err != nil || len(rest) > 0 {
					t.Fatal(err)
				}
				c = again
			}
		}
		got := map[[2]int]Correlation{}
		for _, r := range c.All() {
			got[[2]int{r.A, r.B}] = r
		}
		for b := range columns {
			for a := range b {
				r, n := pearson(all[a], all[b])
				is, ok := got[[2]int{a, b}]
				if ok != (n >= 3 && !math.IsNaN(r)) || ok && (math.Abs(is.R-r) > 1e-9 || is.Rows != n) {
					t.Fatalf("%d and %d: %+v, want %v of %d rows", a, b, is, r, n)
				}
			}
		}
	})
}

func pearson(x, y []float64) (float64, uint64) {
	var n, mx, my float64
	for i := range x {
		if !math.IsNaN(x[i]) && !math.IsNaN(y[i]) {
			n, mx, my = n+1, mx+x[i], my+y[i]
		}
	}
	mx, my = mx/n, my/n
	var xx, yy, xy float64
	for i := range x {
		if !math.IsNaN(x[i]) && !math.IsNaN(y[i]) {
			dx, dy := x[i]-mx, y[i]-my
			xx, yy, xy = xx+dx*dx, yy+dy*dy, xy+dx*dy
		}
	}
	if xx == 0 || yy == 0 {
		return math.NaN(), uint64(n)
	}
	return xy / math.Sqrt(xx*yy), uint64(n)
}

// What is damaged is an error or decodes; it does not panic, then or when numbers follow.
func TestDamagedFiguresDoNotPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "bytes")
		h := NewHistogram(rapid.SampledFrom([]Widths{Binary, Clock}).Draw(t, "widths"), 4)
		if _, err := h.Decode(b); err == nil {
			h.Add(rapid.Float64Range(-1e300, 1e300).Draw(t, "number"))
			h.Bins(true)
		}
		var c Correlations
		if _, err := c.Decode(b); err == nil {
			c.Next()
			c.All()
		}
		var s Sum
		if _, err := s.Decode(b); err == nil {
			s.Add(Decimal{Whole: 1, Scale: 2})
			s.Text()
		}
	})
}
