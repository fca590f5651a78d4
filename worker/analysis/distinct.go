package analysis

import (
	"fmt"
	"slices"

	"github.com/axiomhq/hyperloglog"
)

// distinct counts different values: exactly, as a set of 64-bit hashes, while
// the set takes no more room than the registers would; then by HyperLogLog.
// Both forms depend only on which hashes were added, not on their order.
//
// The sketch is always dense: the library's sparse form re-merges its list every
// few insertions.
type distinct struct {
	precision uint8
	limit     int
	set       []uint64 // open addressing, 0 is free; nil once sketch is used
	zero      bool     // the hash 0 itself is in the set
	n         int
	sketch    *hyperloglog.Sketch
}

func newDistinct(s sizes) distinct {
	return distinct{precision: s.precision, limit: s.exact(), set: make([]uint64, s.exact()*2)}
}

func (d *distinct) add(hash uint64) {
	if d.sketch != nil {
		d.sketch.InsertHash(hash)
		return
	}
	if hash == 0 {
		if !d.zero {
			d.zero = true
			d.n++
		}
	} else {
		mask := uint64(len(d.set) - 1)
		i := hash & mask
		for d.set[i] != 0 {
			if d.set[i] == hash {
				return
			}
			i = (i + 1) & mask
		}
		d.set[i] = hash
		d.n++
	}
	if d.n > d.limit {
		d.toSketch(d.precision)
	}
}

func (d *distinct) toSketch(precision uint8) {
	sketch, err := hyperloglog.NewSketch(precision, false)
	if err != nil {
		panic(err) // every tier's precision is within the library's 4 to 18
	}
	for _, h := range d.hashes() {
		sketch.InsertHash(h)
	}
	d.sketch, d.set, d.n = sketch, nil, 0
}

// hashes lists the exact set in ascending order, the same for every order in
// which it came about.
func (d *distinct) hashes() []uint64 {
	out := make([]uint64, 0, d.n)
	if d.zero {
		out = append(out, 0)
	}
	for _, h := range d.set {
		if h != 0 {
			out = append(out, h)
		}
	}
	slices.Sort(out)
	return out
}

// count returns the number of distinct values and whether it is exact.
func (d *distinct) count() (uint64, bool) {
	if d.sketch == nil {
		return uint64(d.n), true
	}
	return d.sketch.Estimate(), false
}

// shrink moves to smaller sizes, as if they had been in use from the start.
func (d *distinct) shrink(s sizes) {
	if d.sketch == nil {
		hashes := d.hashes()
		*d = newDistinct(s)
		for _, h := range hashes {
			d.add(h)
		}
		return
	}
	regs := d.registers()
	for p := d.precision; p > s.precision; p-- {
		regs = fold(regs)
	}
	sketch, err := fromRegisters(s.precision, regs)
	if err != nil {
		panic(err) // folded registers are within what the format allows
	}
	d.precision, d.limit, d.sketch = s.precision, s.exact(), sketch
}

// fold halves the registers. The index bit that goes leads the hash bits that
// remain: where it is set the first one stands at rank 1, else one rank later.
func fold(regs []byte) []byte {
	half := make([]byte, len(regs)/2)
	for i := range half {
		if even := regs[2*i]; even > 0 {
			half[i] = even + 1
		}
		if regs[2*i+1] > 0 {
			half[i] = max(half[i], 1)
		}
	}
	return half
}

// registerHeader is how long the library's dense encoding is before its registers.
const registerHeader = 8

func (d *distinct) registers() []byte {
	b, err := d.sketch.MarshalBinary()
	if err != nil {
		panic(err) // fails only on a sketch that was never initialised
	}
	return b[registerHeader:]
}

func fromRegisters(precision uint8, regs []byte) (*hyperloglog.Sketch, error) {
	n := len(regs)
	b := make([]byte, 0, registerHeader+n)
	b = append(b, 2, precision, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	b = append(b, regs...)
	sketch := new(hyperloglog.Sketch)
	if err := sketch.UnmarshalBinary(b); err != nil {
		return nil, fmt.Errorf("distinct counter: %w", err)
	}
	return sketch, nil
}

const (
	distinctExact  = 0
	distinctSketch = 1
)

func (d *distinct) encode(e *encoder) {
	if d.sketch != nil {
		e.byte(distinctSketch)
		e.raw(d.registers())
		return
	}
	e.byte(distinctExact)
	hashes := d.hashes()
	e.uvarint(uint64(len(hashes)))
	for _, h := range hashes {
		e.fixed(h)
	}
}

func decodeDistinct(dec *decoder, s sizes) distinct {
	d := newDistinct(s)
	if dec.byte() == distinctSketch {
		sketch, err := fromRegisters(s.precision, dec.raw(1<<s.precision))
		dec.fail(err)
		d.sketch, d.set = sketch, nil
		return d
	}
	for n := dec.count(s.exact()); n > 0; n-- {
		d.add(dec.fixed())
	}
	return d
}
