package analysis

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// column gathers one column's figures. Nulls are not counted: they are the rows
// that no kind counts.
type column struct {
	name   string
	at     int // its place in the table
	counts [table.Kinds]uint64

	distinct distinct
	frequent frequent
	digest   *digest // nil while frequent holds every value exactly, and in the widest tables
	sizes    sizes

	mean, square      float64 // Welford's running mean and sum of squared distances, of the values times scale
	scale             float64 // scaleOf lowest and highest; 0 before the first number
	lowest, highest   float64
	least, most       figures.Decimal // lowest and highest, exactly
	sum               figures.Sum
	pairs             *figures.Correlations // the table's; nil: of none
	slot              int8                  // place in pairs plus one; 0: none yet, -1: there was no room
	numbersOf         figures.Histogram     // of the numbers
	timesOf           figures.Histogram     // of the seconds of dates and timestamps
	smallest, largest int64                 // of the integers alone, which a float64 may round
	first, last       table.Instant
	shortest, longest int    // bytes of a text
	textBytes         uint64 // of all texts
	wholeBytes        uint64 // of all integers without a sign, in case they turn out to be codes
	wordBytes         uint64 // of all placeholders
	lowText, highText extreme
	codes             codes
	placeholders      uint32      // those that have occurred, as bits
	dress             table.Dress // what dressed numbers have had on
	long              bool        // a whole number was beyond 64 bits

	row uint64 // NDJSON: the last row in which the key occurred
}

func newColumn(name string, s sizes) *column {
	return &column{
		name: name, sizes: s, distinct: newDistinct(s), frequent: newFrequent(s),
		numbersOf: figures.NewHistogram(figures.Binary, s.bins), timesOf: figures.NewHistogram(figures.Clock, s.bins),
	}
}

// addCell takes an untyped cell, which it does not keep, and returns its hash; 0 of an empty one.
func (c *column) addCell(cell []byte) uint64 {
	if len(cell) == 0 {
		return 0
	}
	hash := xxhash.Sum64(cell)
	if it := c.frequent.hit(hash); it != nil {
		c.repeat(it, cell)
		return hash
	}
	if v := table.Classify(cell); v.Kind != table.Null {
		c.add(hash, v, cell)
	}
	return hash
}

// repeat takes a value that frequent holds: it was classified, counted as
// distinct and compared with the extremes when it was seen first.
func (c *column) repeat(it *item, cell []byte) {
	c.counts[it.kind]++
	switch it.kind {
	case table.Integer, table.Number:
		if it.kind == table.Integer && !c.codes.signed {
			c.wholeBytes += uint64(length(cell))
		}
		c.addNumber(it.num, it.exact)
	case table.Date, table.Timestamp:
		c.timesOf.Add(it.num)
	case table.Placeholder:
		c.wordBytes += uint64(length(cell))
	case table.Text, table.Code, table.Dressed:
		c.textBytes += uint64(len(cell))
	}
}

// length is a cell's without the spaces around it.
func length(cell []byte) int {
	if cell[0] == ' ' || cell[len(cell)-1] == ' ' {
		return len(bytes.Trim(cell, " "))
	}
	return len(cell)
}

// timed reports whether values of a kind are times.
func timed(k table.Kind) bool { return k == table.Date || k == table.Timestamp }

func decimal(v table.Value) figures.Decimal {
	if whole, scale, ok := v.Decimal(); ok {
		return figures.Decimal{Whole: whole, Scale: scale}
	}
	return figures.NoDecimal
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
		if c.codes.add(v); !c.codes.signed {
			c.wholeBytes += uint64(v.Detail)
		}
		c.addRange(v.Num, decimal(v))
		c.addNumber(v.Num, decimal(v))
	case table.Number:
		c.long = c.long || v.Long()
		c.addRange(v.Num, decimal(v))
		c.addNumber(v.Num, decimal(v))
	case table.Date, table.Timestamp:
		c.addTime(v.At())
		c.timesOf.Add(float64(v.Whole))
	case table.Placeholder:
		c.placeholders |= 1 << v.Detail
		c.wordBytes += uint64(length(cell))
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

func (c *column) addText(cell []byte) {
	n := len(cell)
	c.textBytes += uint64(n)
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
	c.numbersOf.Shrink(s.bins)
	c.timesOf.Shrink(s.bins)
	for _, x := range []*extreme{&c.lowText, &c.highText} {
		kept, cut := prefix(x.text, s.text)
		x.set(kept, x.cut || cut)
	}
}
