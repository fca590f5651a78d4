package columnar

import (
	"encoding/binary"
	"math/bits"
)

// Type of parquet.thrift.
const (
	typeBoolean = 0
	typeInt32   = 1
	typeInt64   = 2
	typeInt96   = 3
	typeFloat   = 4
	typeDouble  = 5
	typeBytes   = 6
	typeFixed   = 7
)

// Encoding of parquet.thrift.
const (
	encodingPlain           = 0
	encodingPlainDictionary = 2
	encodingRLE             = 3
	encodingDeltaPacked     = 5
	encodingDeltaLength     = 6
	encodingDeltaBytes      = 7
	encodingDictionary      = 8
	encodingSplit           = 9
)

// A value is one of a column: its bits in n, sign-extended from 32, or the bytes of types that have bytes.
type value struct {
	n uint64
	b []byte
}

// A decoder reads the values of a page one by one, from the page's bytes: none of them allocates more than a
// value's length, whatever the page says. The Parquet format describes them in Encodings.md.
type decoder interface {
	// next reads a value, whose bytes are valid until the next one; false: the page is damaged or ends.
	next(v *value) bool
}

// width is how many bytes a value of a type has; 0: bytes of any length, or a bit.
func width(physical int32, length int) int {
	switch physical {
	case typeInt32, typeFloat:
		return 4
	case typeInt64, typeDouble:
		return 8
	case typeInt96:
		return 12
	case typeFixed:
		return length
	}
	return 0
}

// set makes a value of the bytes that it has in PLAIN.
func set(v *value, physical int32, b []byte) {
	switch physical {
	case typeInt32, typeFloat:
		v.n = uint64(int64(int32(binary.LittleEndian.Uint32(b))))
	case typeInt64, typeDouble:
		v.n = binary.LittleEndian.Uint64(b)
	default:
		v.b = b
	}
}

// fixed is PLAIN of types with a width.
type fixed struct {
	b        []byte
	physical int32
	width    int
}

func (d *fixed) next(v *value) bool {
	if len(d.b) < d.width {
		return false
	}
	set(v, d.physical, d.b[:d.width])
	d.b = d.b[d.width:]
	return true
}

// lengths is PLAIN of BYTE_ARRAY.
type lengths struct{ b []byte }

func (d *lengths) next(v *value) bool {
	if len(d.b) < 4 {
		return false
	}
	n := binary.LittleEndian.Uint32(d.b)
	if uint64(n) > uint64(len(d.b)-4) {
		return false
	}
	v.b, d.b = d.b[4:4+n], d.b[4+n:]
	return true
}

// bitmap is PLAIN of BOOLEAN.
type bitmap struct {
	b  []byte
	at int
}

func (d *bitmap) next(v *value) bool {
	if d.at>>3 >= len(d.b) {
		return false
	}
	v.n = uint64(d.b[d.at>>3]>>(d.at&7)) & 1
	d.at++
	return true
}

// hybrid is RLE, the hybrid of runs and packed bits: levels, indexes of a dictionary, and truth values.
type hybrid struct {
	b      []byte
	width  uint
	run    uint64 // how often value comes yet
	value  uint64
	packed uint64 // values of width bits that come yet, from bit at of b on
	at     int
}

// one reads a number; false at the end.
func (d *hybrid) one() (uint64, bool) {
	for {
		switch {
		case d.width == 0:
			return 0, true
		case d.run > 0:
			d.run--
			return d.value, true
		case d.packed > 0:
			if d.at+int(d.width) > 8*len(d.b) {
				return 0, false
			}
			d.packed--
			v := packedBits(d.b, d.at, d.width)
			if d.at += int(d.width); d.packed == 0 {
				d.b, d.at = d.b[(d.at+7)/8:], 0
			}
			return v, true
		}
		head, n := binary.Uvarint(d.b)
		if n <= 0 {
			return 0, false
		}
		d.b = d.b[n:]
		if count := head >> 1; head&1 != 0 {
			if count > uint64(len(d.b)) { // each eight values have a byte or more
				return 0, false
			}
			d.packed = 8 * count
			continue
		}
		d.run, d.value = head>>1, 0
		size := int(d.width+7) / 8
		if size > len(d.b) {
			return 0, false
		}
		for i := range size {
			d.value |= uint64(d.b[i]) << (8 * i)
		}
		d.b = d.b[size:]
	}
}

func (d *hybrid) next(v *value) bool {
	n, ok := d.one()
	v.n = n
	return ok
}

// packedBits reads up to 64 bits, the lowest first, from a bit on. There are as many.
func packedBits(b []byte, at int, width uint) uint64 {
	b, shift := b[at>>3:], uint(at&7)
	if len(b) > 8 {
		v := binary.LittleEndian.Uint64(b) >> shift
		if shift+width > 64 {
			v |= uint64(b[8]) << (64 - shift)
		}
		return v & mask(width)
	}
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v >> shift & mask(width)
}

func mask(width uint) uint64 { return 1<<width - 1 }

// indexed is RLE_DICTIONARY: numbers of the values of a dictionary.
type indexed struct {
	hybrid
	dictionary *dictionary
}

func (d *indexed) next(v *value) bool {
	i, ok := d.one()
	return ok && d.dictionary.at(i, v)
}

// A dictionary is the values of a dictionary page, as they are in PLAIN.
type dictionary struct {
	b        []byte
	physical int32
	width    int
	offsets  []uint32 // of BYTE_ARRAY: where values begin, and the end of the last
}

// read makes a dictionary of n values; false: there are fewer.
func (d *dictionary) read(b []byte, physical int32, length, n int) bool {
	*d = dictionary{b: b, physical: physical, width: width(physical, length), offsets: d.offsets[:0]}
	switch {
	case physical == typeBoolean:
		return false
	case physical != typeBytes:
		return n <= len(b)/d.width
	case n > len(b)/4:
		return false
	}
	all, v := lengths{b}, value{}
	if cap(d.offsets) <= n {
		d.offsets = make([]uint32, 0, n+1)
	}
	for range n {
		d.offsets = append(d.offsets, uint32(len(b)-len(all.b)))
		if !all.next(&v) {
			return false
		}
	}
	d.offsets = append(d.offsets, uint32(len(b)-len(all.b)))
	return true
}

func (d *dictionary) at(i uint64, v *value) bool {
	if d.physical == typeBytes {
		if i+1 >= uint64(len(d.offsets)) {
			return false
		}
		v.b = d.b[d.offsets[i]+4 : d.offsets[i+1]]
		return true
	}
	if i >= uint64(len(d.b)/d.width) {
		return false
	}
	set(v, d.physical, d.b[int(i)*d.width:][:d.width])
	return true
}

// split is BYTE_STREAM_SPLIT: first all first bytes, then all second ones.
type split struct {
	b        []byte
	physical int32
	width    int
	at       int
	one      []byte
}

func (d *split) next(v *value) bool {
	n := len(d.b) / d.width
	if d.at >= n {
		return false
	}
	d.one = d.one[:0]
	for i := range d.width {
		d.one = append(d.one, d.b[i*n+d.at])
	}
	d.at++
	set(v, d.physical, d.one)
	return true
}

// bitsFor is how many bits a level up to most has.
func bitsFor(most int) uint { return uint(bits.Len(uint(most))) }
