package analysis

import (
	"cmp"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// column gathers one column's figures. Nulls are not counted: they are the rows
// that no kind counts.
type column struct {
	name   string
	counts [table.Kinds]uint64

	distinct distinct
	frequent frequent
	digest   *digest // nil while frequent holds every value exactly, and in the widest tables
	sizes    sizes

	mean, square      float64 // Welford's running mean and sum of squared distances, of the values times scale
	scale             float64 // scaleOf lowest and highest; 0 before the first number
	lowest, highest   float64
	smallest, largest int64 // of the integers alone, which a float64 may round
	first, last       table.Instant
	shortest, longest int // bytes of a text
	lowText, highText extreme
	codes             codes
	placeholders      uint32      // those that have occurred, as bits
	dress             table.Dress // what dressed numbers have had on
	long              bool        // a whole number was beyond 64 bits

	row uint64 // NDJSON: the last row in which the key occurred
}

func newColumn(name string, s sizes) *column {
	return &column{name: name, sizes: s, distinct: newDistinct(s), frequent: newFrequent(s)}
}

// addCell takes an untyped cell, which it does not keep.
func (c *column) addCell(cell []byte) {
	if len(cell) == 0 {
		return
	}
	hash := xxhash.Sum64(cell)
	if it := c.frequent.hit(hash); it != nil {
		c.repeat(it)
		return
	}
	v := table.Classify(cell)
	if v.Kind == table.Null {
		return
	}
	c.add(hash, v, cell)
}

// repeat takes a value that frequent holds: it was classified, counted as
// distinct and compared with the extremes when it was seen first.
func (c *column) repeat(it *item) {
	c.counts[it.kind]++
	if it.kind.Numeric() {
		c.addNumber(it.num)
	}
}

func (c *column) add(hash uint64, v table.Value, cell []byte) {
	// A placeholder may turn out to be none of the column's values.
	if v.Kind != table.Placeholder {
		c.distinct.add(hash)
	}
	if c.digest == nil && c.sizes.delta > 0 && c.frequent.full() {
		c.startDigest()
	}
	c.frequent.miss(hash, v, cell)
	c.counts[v.Kind]++
	switch v.Kind {
	case table.Integer:
		if c.counts[table.Integer] == 1 {
			c.smallest, c.largest = v.Whole, v.Whole
		}
		c.smallest, c.largest = min(c.smallest, v.Whole), max(c.largest, v.Whole)
		c.codes.add(v)
		c.addRange(v.Num)
		c.addNumber(v.Num)
	case table.Number:
		c.long = c.long || v.Detail != 0
		c.addRange(v.Num)
		c.addNumber(v.Num)
	case table.Date, table.Timestamp:
		c.addTime(v.At())
	case table.Placeholder:
		c.placeholders |= 1 << v.Detail
	case table.Dressed:
		c.dress |= table.Dress(v.Detail)
		c.addText(cell)
	case table.Text, table.Code:
		c.addText(cell)
	}
}

// numbers counts the numeric cells.
func (c *column) numbers() uint64 { return c.counts[table.Integer] + c.counts[table.Number] }

// times counts the dates and timestamps.
func (c *column) times() uint64 { return c.counts[table.Date] + c.counts[table.Timestamp] }

// texts counts the cells that are text whatever the others are.
func (c *column) texts() uint64 {
	return c.counts[table.Text] + c.counts[table.Code] + c.counts[table.Dressed]
}

func (c *column) addTime(at table.Instant) {
	switch {
	case c.times() == 1:
		c.first, c.last = at, at
	case at.Before(c.first):
		c.first = at
	case c.last.Before(at):
		c.last = at
	}
}

func (c *column) addRange(v float64) {
	if c.numbers() == 1 {
		c.lowest, c.highest = v, v
	}
	c.lowest, c.highest = min(c.lowest, v), max(c.highest, v)
	c.rescale()
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
func (c *column) addNumber(v float64) {
	scaled := v * c.scale
	d := scaled - c.mean
	c.mean += d / float64(c.numbers())
	c.square += float64(d * (scaled - c.mean))
	if c.digest != nil {
		c.digest.add(v)
	}
}

func (c *column) addText(cell []byte) {
	n := len(cell)
	kept, cut := prefix(cell, c.sizes.text)
	if c.texts() == 1 {
		c.shortest, c.longest = n, n
		c.lowText.set(kept, cut)
		c.highText.set(kept, cut)
		return
	}
	c.shortest, c.longest = min(c.shortest, n), max(c.longest, n)
	if c.lowText.compare(kept, cut) > 0 {
		c.lowText.set(kept, cut)
	} else if c.highText.compare(kept, cut) < 0 {
		c.highText.set(kept, cut)
	}
}

// startDigest hands the exact counts so far to a digest, before the first of
// them is lost. Until then quantiles come from frequent and are exact.
func (c *column) startDigest() {
	c.digest = newDigest(c.sizes)
	c.digest.weigh(c.numberCounts())
}

func (c *column) numberCounts() []centroid {
	var in []centroid
	for _, it := range c.frequent.items {
		if it.kind.Numeric() {
			in = append(in, centroid{it.num, it.count - c.frequent.lost})
		}
	}
	return in
}

// shrink moves to the sizes of a wider table.
func (c *column) shrink(s sizes) {
	switch {
	case s.delta == 0:
		c.digest = nil
	case c.digest != nil:
		c.digest.shrink(s)
	case len(c.frequent.items) > s.top:
		c.startDigest()
		c.digest.shrink(s)
	}
	c.sizes = s
	c.distinct.shrink(s)
	c.frequent.shrink(s)
	for _, x := range []*extreme{&c.lowText, &c.highText} {
		kept, cut := prefix(x.text, s.text)
		x.set(kept, x.cut || cut)
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
