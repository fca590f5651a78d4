package analysis

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// stateVersion is the first byte of an encoded State. It changes whenever the
// encoding, a hash, or the way in which a sketch grows does.
const stateVersion = 4

// ErrStateVersion is wrapped when a checkpoint was written by a version of this
// package with another encoding. Run then reads the file from the start.
var ErrStateVersion = errors.New("analysis: the checkpoint is of another version")

// State is an analysis in progress: where it stands in the file and everything
// gathered up to there. It implements encoding.BinaryMarshaler and
// encoding.BinaryUnmarshaler without losing a bit, and takes at most
// MaxStateBytes. It is not safe for concurrent use.
type State struct {
	file      uint64 // fingerprint of file and options that it belongs to
	offset    int64  // first byte of the next record
	records   uint64 // records or lines taken, the header included
	rows      uint64
	ragged    uint64
	malformed uint64
	damaged   uint64 // rows with bytes that are no text
	cutNames  uint64
	dialect   table.Dialect
	position  []byte // of a dataset's source; nil of a blob
	sheets    int    // that a workbook shows; set at the end, and in no checkpoint
	columns   []*column
	distinct  distinct // of rows; its set is nil before the first
	pairs     figures.Correlations
}

// Offset is the position in bytes at which the analysis goes on.
func (st *State) Offset() int64 { return st.offset }

// Rows is how many rows have been profiled.
func (st *State) Rows() int64 { return int64(st.rows) }

func (st *State) nameBytes() int {
	n := 0
	for _, c := range st.columns {
		n += len(c.name)
	}
	return n
}

// addColumn appends a column. If the wider table is of another tier, the
// sketches of all columns shrink to it.
func (st *State) addColumn(name string) *column {
	s := sizesFor(len(st.columns) + 1)
	for _, c := range st.columns {
		if c.sizes != s {
			c.shrink(s)
		}
	}
	c := newColumn(name, s)
	st.append(c)
	return c
}

func (st *State) append(c *column) {
	c.at, c.pairs = len(st.columns), &st.pairs
	st.columns = append(st.columns, c)
}

// MarshalBinary encodes the state. It does not change it.
func (st *State) MarshalBinary() ([]byte, error) {
	e := &encoder{b: make([]byte, 0, 16<<10)}
	e.byte(stateVersion)
	e.fixed(st.file)
	e.uvarint(uint64(st.offset))
	e.uvarint(st.records)
	e.uvarint(st.rows)
	e.uvarint(st.ragged)
	e.uvarint(st.malformed)
	e.uvarint(st.damaged)
	e.uvarint(st.cutNames)
	e.dialect(st.dialect)
	e.bytes(st.position)
	e.uvarint(uint64(len(st.columns)))
	if len(st.columns) > 0 {
		e.uvarint(uint64(st.columns[0].sizes.columns))
	}
	for _, c := range st.columns {
		c.encode(e)
	}
	if st.rows > 0 {
		st.distinct.encode(e)
	}
	e.b = st.pairs.Append(e.b)
	if len(e.b) > MaxStateBytes {
		return nil, fmt.Errorf("analysis: the state of %d columns takes %d bytes, over the bound of %d: this is a bug, please report it",
			len(st.columns), len(e.b), MaxStateBytes)
	}
	return e.b, nil
}

// UnmarshalBinary replaces the state by an encoded one. An error leaves it as it
// was; ErrStateVersion is wrapped if another version wrote it.
func (st *State) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("analysis: decode the checkpoint: %w: it is empty", errDamaged)
	}
	if b[0] != stateVersion {
		return fmt.Errorf("%w: it is %d, this program reads %d", ErrStateVersion, b[0], stateVersion)
	}
	d := &decoder{b: b[1:]}
	var got State
	got.file = d.fixed()
	got.offset = int64(d.uvarint())
	got.records = d.uvarint()
	got.rows = d.uvarint()
	got.ragged = d.uvarint()
	got.malformed = d.uvarint()
	got.damaged = d.uvarint()
	got.cutNames = d.uvarint()
	got.dialect = d.dialect()
	if position := d.bytes(dataset.MaxPositionBytes); len(position) > 0 {
		got.position = bytes.Clone(position)
	}
	if n := d.count(MaxColumns); n > 0 {
		s := sizesFor(d.count(MaxColumns))
		if n > s.columns {
			d.fail(errDamaged)
		}
		for range n {
			if d.err != nil {
				break
			}
			got.append(decodeColumn(d, s))
		}
	}
	if got.rows > 0 {
		got.distinct = decodeDistinct(d, sizes{precision: rowPrecision})
	}
	d.part(got.pairs.Decode)
	for _, c := range got.columns {
		if int(c.slot) > got.pairs.Columns() {
			d.fail(errDamaged)
		}
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail(errDamaged)
	}
	if d.err != nil {
		return fmt.Errorf("analysis: decode the checkpoint: %w; cancel the job and start it anew", d.err)
	}
	*st = got
	for _, c := range st.columns {
		c.pairs = &st.pairs
	}
	return nil
}

func (c *column) encode(e *encoder) {
	e.bytes([]byte(c.name))
	for _, n := range c.counts {
		e.uvarint(n)
	}
	if c.numbers() > 0 {
		e.float(c.mean)
		e.float(c.square)
		e.float(c.lowest)
		e.float(c.highest)
		e.decimal(c.least)
		e.decimal(c.most)
		e.b = c.sum.Append(e.b)
		e.byte(byte(c.slot))
		e.b = c.numbersOf.Append(e.b)
	}
	if c.counts[table.Integer] > 0 {
		e.fixed(uint64(c.smallest))
		e.fixed(uint64(c.largest))
		c.codes.encode(e)
		e.uvarint(c.wholeBytes)
	}
	if c.counts[table.Number] > 0 {
		e.bool(c.long)
	}
	if c.counts[table.Placeholder] > 0 {
		e.uvarint(uint64(c.placeholders))
		e.uvarint(c.wordBytes)
	}
	if c.counts[table.Dressed] > 0 {
		e.byte(byte(c.dress))
	}
	if c.times() > 0 {
		for _, at := range []table.Instant{c.first, c.last} {
			e.fixed(uint64(at.Sec))
			e.uvarint(uint64(at.Nano))
		}
		e.b = c.timesOf.Append(e.b)
	}
	if c.texts() > 0 {
		e.uvarint(uint64(c.shortest))
		e.uvarint(uint64(c.longest))
		e.uvarint(c.textBytes)
		for _, x := range []extreme{c.lowText, c.highText} {
			e.bool(x.cut)
			e.bytes(x.text)
		}
	}
	c.distinct.encode(e)
	if c.sizes.top > 0 {
		c.frequent.encode(e)
	}
	if c.sizes.delta > 0 {
		e.bool(c.digest != nil)
		if c.digest != nil {
			c.digest.encode(e)
		}
	}
}

func decodeColumn(d *decoder, s sizes) *column {
	c := newColumn(string(d.bytes(maxNameBytes)), s)
	for k := range c.counts {
		c.counts[k] = d.uvarint()
	}
	if c.numbers() > 0 {
		c.mean, c.square = d.float(), d.float()
		c.lowest, c.highest = d.float(), d.float()
		c.rescale()
		c.least, c.most = d.decimal(), d.decimal()
		d.part(c.sum.Decode)
		c.slot = int8(d.byte())
		d.part(c.numbersOf.Decode)
	}
	if c.counts[table.Integer] > 0 {
		c.smallest, c.largest = d.whole(), d.whole()
		c.codes = decodeCodes(d)
		c.wholeBytes = d.uvarint()
	}
	if c.counts[table.Number] > 0 {
		c.long = d.bool()
	}
	if c.counts[table.Placeholder] > 0 {
		c.placeholders = uint32(d.count(1<<len(table.Placeholders) - 1))
		c.wordBytes = d.uvarint()
	}
	if c.counts[table.Dressed] > 0 {
		c.dress = table.Dress(d.byte())
	}
	if c.times() > 0 {
		for _, at := range []*table.Instant{&c.first, &c.last} {
			at.Sec, at.Nano = d.whole(), int32(d.count(1e9-1))
		}
		d.part(c.timesOf.Decode)
	}
	if c.texts() > 0 {
		c.shortest, c.longest = int(d.uvarint()), int(d.uvarint())
		c.textBytes = d.uvarint()
		for _, x := range []*extreme{&c.lowText, &c.highText} {
			cut := d.bool()
			x.set(d.bytes(s.text), cut)
		}
	}
	c.distinct = decodeDistinct(d, s)
	if s.top > 0 {
		c.frequent = decodeFrequent(d, s)
	}
	if s.delta > 0 && d.bool() {
		c.digest = decodeDigest(d, s)
		// Its weights decide how it merges, which would not end on wrong ones.
		if c.digest.total+uint64(len(c.digest.wait)) != c.numbers() {
			d.fail(errDamaged)
		}
	}
	return c
}
