package analysis

import (
	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// MaxStateBytes bounds a serialised State, whatever the file.
	MaxStateBytes = 960 << 10

	// MaxColumns is the widest table that still fits into MaxStateBytes.
	MaxColumns = 2000

	// maxNameBytes bounds all column names together: they are part of the
	// state, and a header alone may be as long as MaxRecordBytes. Names of a CSV are cut to it.
	maxNameBytes = 64 << 10

	// maxHeadBytes is what a state holds beside names, columns, and what it knows of rows.
	maxHeadBytes = 256

	// rowsBytes is what a state knows of whole rows: the distinct ones, and correlations.
	rowsBytes = 3 + 1<<rowPrecision + figures.CorrelationsBytes

	// rowPrecision is that of the counter of distinct rows: exact up to 8,192 of them, then with a standard
	// error of 0.41 percent.
	rowPrecision = 16
	rowError     = 0.0041

	// maxCountBytes is the longest uvarint of a count: nothing counted exceeds
	// the number of bytes read, and no file reaches 2^56 bytes.
	maxCountBytes = 8
)

// sizes says how large the sketches of one column may grow. It follows from the
// number of columns alone, so every worker that reads a file makes the same
// choice at the same record.
type sizes struct {
	columns   int // the widest table that these sizes serve
	precision uint8
	delta     int // t-digest compression; 0 leaves quantiles out
	buffer    int // values that a digest collects before it merges them
	top       int // Misra-Gries counters; 0 leaves frequent values out
	value     int // bytes kept of a frequent value
	text      int // bytes kept of a smallest and largest text
	bins      int // of a histogram; 0 leaves it out
}

// tiers is ordered by width. Its rows are checked against MaxStateBytes in a
// test, with every field of every column at its longest.
var tiers = []sizes{
	{columns: 16, precision: 13, delta: 200, buffer: 512, top: 64, value: 48, text: 64, bins: 32},
	{columns: 32, precision: 13, delta: 128, buffer: 256, top: 36, value: 36, text: 48, bins: 32},
	{columns: 64, precision: 12, delta: 80, buffer: 96, top: 20, value: 24, text: 32, bins: 24},
	{columns: 128, precision: 11, delta: 40, buffer: 40, top: 10, value: 20, text: 24, bins: 16},
	{columns: 256, precision: 10, delta: 20, buffer: 16, top: 4, value: 12, text: 16, bins: 12},
	{columns: 512, precision: 8, delta: 16, buffer: 8, top: 3, value: 12, text: 12, bins: 8},
	{columns: MaxColumns, precision: 6, text: 8},
}

// sizesFor returns the tier for a number of columns, which is at most MaxColumns.
func sizesFor(columns int) sizes {
	for _, t := range tiers {
		if columns <= t.columns {
			return t
		}
	}
	return tiers[len(tiers)-1]
}

// centroids is the most that a digest of this size keeps.
func (s sizes) centroids() int { return s.delta + 2 }

// exact is how many hashes a distinct counter holds before it turns to
// registers: as many as take the registers' room.
func (s sizes) exact() int { return 1 << s.precision / 8 }

// worstBytes is the longest encoding of a column of this size,
// without its name.
func (s sizes) worstBytes() int {
	n := int(table.Kinds) * maxCountBytes  // how many cells of each kind
	n += 4*8 + 2*8                         // number ranges; mean and squared distance
	n += figures.SumBytes + 2*decimalBytes // sum; range in decimals
	n += 3 * maxCountBytes                 // bytes of texts, whole numbers and placeholders
	n += 1 + 2*figures.HistogramBytes(s.bins)
	n += 2 * (8 + 5)            // time range
	n += 2*5 + 2*(1+1+s.text)   // text lengths, smallest and largest text
	n += codesBytes + 5 + 1 + 1 // codes, placeholders, dress, long
	n += 3 + 1<<s.precision     // distinct: form and count, registers
	if s.top > 0 {
		n += 3 + maxCountBytes + s.top*(8+maxCountBytes+1+decimalBytes+8+2+s.value)
	}
	if s.delta > 0 {
		n += 1 + 2 + 2 + s.centroids()*(8+maxCountBytes) + s.buffer*8
	}
	return n
}
