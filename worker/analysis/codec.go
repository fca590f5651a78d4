package analysis

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// errDamaged is what decoding a checkpoint of the right version fails with.
var errDamaged = errors.New("the checkpoint is damaged")

// encoder appends to a buffer. Everything in it is bounded by the tier's sizes.
type encoder struct{ b []byte }

func (e *encoder) byte(v byte)      { e.b = append(e.b, v) }
func (e *encoder) raw(v []byte)     { e.b = append(e.b, v...) }
func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) fixed(v uint64)   { e.b = binary.LittleEndian.AppendUint64(e.b, v) }
func (e *encoder) float(v float64)  { e.fixed(math.Float64bits(v)) }

func (e *encoder) bytes(v []byte) {
	e.uvarint(uint64(len(v)))
	e.raw(v)
}

func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// decimal writes the scale, and the digits where there is one.
func (e *encoder) decimal(v figures.Decimal) {
	e.byte(v.Scale)
	if v.Scale <= figures.MaxScale {
		e.fixed(uint64(v.Whole))
	}
}

const decimalBytes = 1 + 8

func (e *encoder) dialect(v table.Dialect) {
	e.b, _ = v.AppendBinary(e.b) // never fails
}

// decoder reads what encoder wrote. Its first failure sticks, and what it
// returns from then on is zero, so that callers check err once.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	if d.err != nil {
		d.b = nil
	}
}

// raw returns the next n bytes; they share the input's memory.
func (d *decoder) raw(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail(errDamaged)
		return make([]byte, max(0, min(n, 1<<16)))
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte     { return d.raw(1)[0] }
func (d *decoder) bool() bool     { return d.byte() != 0 }
func (d *decoder) fixed() uint64  { return binary.LittleEndian.Uint64(d.raw(8)) }
func (d *decoder) float() float64 { return math.Float64frombits(d.fixed()) }
func (d *decoder) whole() int64   { return int64(d.fixed()) }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errDamaged)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a length that must not exceed most.
func (d *decoder) count(most int) int {
	v := d.uvarint()
	if v > uint64(most) {
		d.fail(errDamaged)
		return 0
	}
	return int(v)
}

func (d *decoder) bytes(most int) []byte { return d.raw(d.count(most)) }

func (d *decoder) decimal() figures.Decimal {
	v := figures.Decimal{Scale: d.byte()}
	if v.Scale > figures.MaxScale {
		return figures.NoDecimal
	}
	v.Whole = d.whole()
	return v
}

// part decodes what has an encoding of its own.
func (d *decoder) part(decode func([]byte) ([]byte, error)) {
	rest, err := decode(d.b)
	if err != nil {
		d.fail(errDamaged)
		return
	}
	d.b = rest
}

func (d *decoder) dialect() (v table.Dialect) {
	d.part(v.Decode)
	return v
}
