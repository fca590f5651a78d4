package columnar

import "encoding/binary"

// Bounds of DELTA_BINARY_PACKED, which the format leaves open. Writers have blocks of 128 or 1,024 values.
const (
	maxDeltaBlock = 1 << 20
	maxMiniBlocks = 1 << 10
)

// delta is DELTA_BINARY_PACKED.
type delta struct {
	b     []byte // after what was read
	minis int    // in a block
	each  int    // values in one of them
	left  uint64 // values that come yet
	last  int64
	begun bool

	least  int64  // of the block's deltas
	widths []byte // of the mini-blocks that come yet
	mini   []byte // the packed bits of the present one
	width  uint
	at     int
	inMini int
	narrow bool // values have 32 bits
}

// newDelta reads the head.
func newDelta(b []byte) (d delta, ok bool) {
	d.b = b
	block, ok1 := d.uvarint()
	minis, ok2 := d.uvarint()
	left, ok3 := d.uvarint()
	first, ok4 := d.uvarint()
	if !ok1 || !ok2 || !ok3 || !ok4 || minis == 0 || minis > maxMiniBlocks || block > maxDeltaBlock || block%minis != 0 || block/minis%8 != 0 || block == 0 {
		return d, false
	}
	d.minis, d.each, d.left, d.last = int(minis), int(block/minis), left, unzigzag(first)
	return d, true
}

func (d *delta) uvarint() (uint64, bool) {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		return 0, false
	}
	d.b = d.b[n:]
	return v, true
}

// one reads a number; false at the end.
func (d *delta) one() (int64, bool) {
	if d.left == 0 {
		return 0, false
	}
	if !d.begun {
		d.begun = true
		d.left--
		return d.last, true
	}
	if d.inMini == 0 && !d.nextMini() {
		return 0, false
	}
	add := uint64(0)
	if d.width > 0 {
		if d.at+int(d.width) > 8*len(d.mini) {
			return 0, false
		}
		add = packedBits(d.mini, d.at, d.width)
		d.at += int(d.width)
	}
	d.inMini--
	d.left--
	d.last += d.least + int64(add) // numbers wrap around, as the format says
	if d.narrow {
		d.last = int64(int32(d.last))
	}
	return d.last, true
}

func (d *delta) nextMini() bool {
	if len(d.widths) == 0 {
		least, ok := d.uvarint()
		if !ok || len(d.b) < d.minis {
			return false
		}
		d.least = unzigzag(least)
		d.widths, d.b = d.b[:d.minis], d.b[d.minis:]
	}
	d.width, d.at, d.inMini = uint(d.widths[0]), 0, d.each
	d.widths = d.widths[1:]
	if d.width > 64 {
		return false
	}
	// The last one may be cut off behind its last value.
	n := min(d.each/8*int(d.width), len(d.b))
	d.mini, d.b = d.b[:n], d.b[n:]
	return true
}

// skip passes over all numbers, so that b is what follows them. It takes as long as there are bytes.
func (d delta) skip() (rest []byte, ok bool) {
	if d.left > 0 {
		d.left--
	}
	for d.left > 0 {
		if !d.nextMini() {
			return nil, false
		}
		d.left -= min(d.left, uint64(d.each))
	}
	return d.b, true
}

func (d *delta) next(v *value) bool {
	n, ok := d.one()
	v.n = uint64(n)
	return ok
}

// deltaLengths is DELTA_LENGTH_BYTE_ARRAY: all lengths, and then all bytes.
type deltaLengths struct {
	lengths delta
	b       []byte
}

func newDeltaLengths(b []byte) (*deltaLengths, bool) {
	lengths, ok := newDelta(b)
	if !ok {
		return nil, false
	}
	b, ok = lengths.skip()
	return &deltaLengths{lengths, b}, ok
}

func (d *deltaLengths) next(v *value) bool {
	n, ok := d.lengths.one()
	if !ok || n < 0 || n > int64(len(d.b)) {
		return false
	}
	v.b, d.b = d.b[:n], d.b[n:]
	return true
}

// deltaBytes is DELTA_BYTE_ARRAY: of each value how many bytes it has in common with the one before, and what
// follows them. One of more than maxRowBytes cannot be read.
type deltaBytes struct {
	prefixes delta
	suffixes *deltaLengths
	last     []byte
	length   int // that all have; 0: of any length
}

func newDeltaBytes(b []byte, length int) (*deltaBytes, bool) {
	prefixes, ok := newDelta(b)
	if !ok {
		return nil, false
	}
	if b, ok = prefixes.skip(); !ok {
		return nil, false
	}
	suffixes, ok := newDeltaLengths(b)
	return &deltaBytes{prefixes: prefixes, suffixes: suffixes, length: length}, ok
}

func (d *deltaBytes) next(v *value) bool {
	n, ok := d.prefixes.one()
	if !ok || n < 0 || n > int64(len(d.last)) || !d.suffixes.next(v) {
		return false
	}
	if int(n)+len(v.b) > maxRowBytes {
		return false
	}
	d.last = append(d.last[:n], v.b...)
	v.b = d.last
	return d.length == 0 || len(d.last) == d.length
}
