package analysis

import (
	"cmp"
	"math"
	"slices"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
)

func (c *column) addRange(v float64, exact figures.Decimal) {
	if c.numbers() == 1 {
		c.lowest, c.highest, c.least, c.most = v, v, exact, exact
		c.rescale()
		return
	}
	if v < c.lowest || v == c.lowest && closer(exact, c.least) < 0 {
		c.lowest, c.least = v, exact
	}
	if v > c.highest || v == c.highest && closer(exact, c.most) > 0 {
		c.highest, c.most = v, exact
	}
	c.rescale()
}

// fewDigits are so many that a float64 tells decimals of them apart.
const fewDigits = 1e15

func hasMany(d figures.Decimal) bool {
	return d.Scale <= figures.MaxScale && (d.Whole >= fewDigits || d.Whole <= -fewDigits)
}

// closer compares two decimals of which a float64 says that they are equal.
func closer(a, b figures.Decimal) int {
	if a == b || a.Scale > figures.MaxScale || b.Scale > figures.MaxScale || !hasMany(a) && !hasMany(b) {
		return 0
	}
	return a.Compare(b)
}

// scaleOf is a power of two by which numbers up to most are multiplied, so that their
// squares neither overflow nor vanish. It is 1 for all that people count.
func scaleOf(most float64) float64 {
	switch {
	case most > 0x1p400:
		return 0x1p-600
	case most > 0 && most < 0x1p-400:
		return 0x1p600
	}
	return 1
}

// rescale brings mean and square to the scale of the largest number so far. The scale only
// falls, and follows from the extremes, which a checkpoint has.
func (c *column) rescale() {
	scale := scaleOf(max(-c.lowest, c.highest))
	if scale == c.scale {
		return
	}
	if c.scale != 0 {
		by := scale / c.scale
		c.mean, c.square = c.mean*by, c.square*by*by
	}
	c.scale = scale
}

// addNumber follows Welford; the cell is already in counts. The conversion
// forbids a fused multiply-add, so that processors agree on the last bit.
func (c *column) addNumber(v float64, exact figures.Decimal) {
	scaled := v * c.scale
	d := scaled - c.mean
	c.mean += d / float64(c.numbers())
	c.square += float64(d * (scaled - c.mean))
	if c.digest != nil {
		c.digest.add(v)
	}
	c.sum.Add(exact)
	c.numbersOf.Add(v)
	if c.slot > 0 {
		c.pairs.Set(int(c.slot-1), v)
	} else if c.slot == 0 {
		c.join(v)
	}
}

// join takes up the column among those that are correlated, with its first number.
func (c *column) join(v float64) {
	c.slot = -1
	if c.pairs == nil {
		return
	}
	if i, ok := c.pairs.Column(); ok {
		c.slot = int8(i + 1)
		c.pairs.Set(i, v)
	}
}

// average is the mean of the numeric cells, of which there must be one.
func (c *column) average() float64 {
	return min(max(c.mean/c.scale, c.lowest), c.highest)
}

// deviation is that of the numeric cells, of which there must be one, as a whole population.
// It is at most half their range, and so at most the largest float64.
func (c *column) deviation() float64 {
	return min(math.Sqrt(max(0, c.square/float64(c.numbers())))/c.scale, c.highest/2-c.lowest/2)
}

// quantiles estimates the given ranks; nil where there is nothing to tell.
func (c *column) quantiles(ranks []float64) []float64 {
	if c.numbers() == 0 || c.sizes.delta == 0 {
		return nil
	}
	out := make([]float64, len(ranks))
	if c.digest == nil {
		exactQuantiles(c.numberCounts(), ranks, out)
		return out
	}
	c.digest.flush()
	for i, q := range ranks {
		out[i] = c.digest.quantile(q, c.lowest, c.highest)
	}
	return out
}

// exactQuantiles takes the value at rank ⌈q·n⌉, which is one that occurs.
func exactQuantiles(in []centroid, ranks, out []float64) {
	slices.SortFunc(in, func(a, b centroid) int { return cmp.Compare(a.mean, b.mean) })
	var total uint64
	for _, c := range in {
		total += c.count
	}
	for i, q := range ranks {
		rank := max(1, uint64(math.Ceil(q*float64(total))))
		var seen uint64
		for _, c := range in {
			if seen += c.count; seen >= rank {
				out[i] = c.mean
				break
			}
		}
	}
}

// outliers counts the values beyond Tukey's outer fences: more than three times the distance between the quartiles below
// the lower one or above the upper one. Nil where the quartiles are equal or unknown, or values are few.
func (c *column) outliers() *Outliers {
	q := c.quantiles([]float64{0.25, 0.75})
	if q == nil || c.numbers() < fewValues {
		return nil
	}
	distance := q[1] - q[0]
	if !(distance > 0) {
		return nil
	}
	o := &Outliers{Below: max(q[0]-float64(3*distance), -math.MaxFloat64), Above: min(q[1]+float64(3*distance), math.MaxFloat64), Exact: c.digest == nil}
	var n uint64
	if c.digest != nil {
		n = c.digest.beyond(o.Below, o.Above)
	} else {
		for _, v := range c.numberCounts() {
			if v.mean < o.Below || v.mean > o.Above {
				n += v.count
			}
		}
	}
	o.Count = int64(n)
	return o
}
