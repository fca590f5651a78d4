package analysis

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// frequent is a Misra-Gries summary: at most top counters, and every value that
// occurs more than lost times keeps one. A counter is never above the truth and
// at most lost below it. Counters are stored with lost added, so that
// decrementing all of them is one addition.
//
// Only its 64-bit hash tells a value from others. Beside the counter stands what the
// cell was classified as, so that a repeated value is never parsed again.
type frequent struct {
	top   int
	value int // bytes kept of a value
	lost  uint64
	low   uint64 // no counter is below it
	items []item
	text  []byte   // value bytes of each item
	slots []uint16 // open addressing: index in items plus one, 0 is free
	shift int
}

type item struct {
	hash  uint64
	count uint64
	num   float64 // of a number, or a time's seconds since 1970
	exact figures.Decimal
	kind  table.Kind
	cut   bool // the value is longer than what is kept
	size  uint8
}

func newFrequent(s sizes) frequent {
	if s.top == 0 {
		return frequent{low: ^uint64(0)}
	}
	width := bits.Len(uint(s.top*4 - 1))
	return frequent{
		top: s.top, value: s.value,
		items: make([]item, 0, s.top),
		text:  make([]byte, s.top*s.value),
		slots: make([]uint16, 1<<width),
		shift: 64 - width,
	}
}

// hit counts a value that has a counter and returns it, else nil.
func (f *frequent) hit(hash uint64) *item {
	if len(f.items) == 0 {
		return nil
	}
	mask := len(f.slots) - 1
	for i := int(hash >> (f.shift & 63)); ; i = (i + 1) & mask {
		n := f.slots[i&mask]
		if n == 0 {
			return nil
		}
		if it := &f.items[n-1]; it.hash == hash {
			it.count++
			return it
		}
	}
}

// full reports whether the next value without a counter loses counts.
func (f *frequent) full() bool { return len(f.items) == f.top }

// miss takes a value for which hit returned nil.
func (f *frequent) miss(hash uint64, v table.Value, cell []byte) {
	if f.top == 0 {
		return
	}
	if f.full() {
		f.lose(1)
		return
	}
	kept, cut := prefix(cell, f.value)
	i := len(f.items)
	copy(f.text[i*f.value:], kept)
	it := item{hash: hash, count: f.lost + 1, num: v.Num, exact: decimal(v), kind: v.Kind, cut: cut, size: uint8(len(kept))}
	if timed(v.Kind) {
		it.num = float64(v.Whole)
	}
	f.items = append(f.items, it)
	f.low = min(f.low, f.lost+1)
	f.link(i)
}

// lose takes n off every counter and drops those that reach zero.
func (f *frequent) lose(n uint64) {
	f.lost += n
	if f.lost < f.low {
		return
	}
	kept := 0
	f.low = ^uint64(0)
	for i := range f.items {
		it := f.items[i]
		if it.count <= f.lost {
			continue
		}
		f.low = min(f.low, it.count)
		if kept != i {
			f.items[kept] = it
			copy(f.text[kept*f.value:(kept+1)*f.value], f.text[i*f.value:])
		}
		kept++
	}
	if kept == len(f.items) {
		return
	}
	f.items = f.items[:kept]
	clear(f.slots)
	for i := range f.items {
		f.link(i)
	}
}

func (f *frequent) link(i int) {
	mask := len(f.slots) - 1
	at := int(f.items[i].hash >> f.shift)
	for f.slots[at] != 0 {
		at = (at + 1) & mask
	}
	f.slots[at] = uint16(i + 1)
}

func (f *frequent) bytes(i int) []byte {
	return f.text[i*f.value : i*f.value+int(f.items[i].size)]
}

// shrink keeps the largest counters, by the rule for merging summaries: the
// first counter without room is taken off all of them.
func (f *frequent) shrink(s sizes) {
	old := *f
	order := make([]int, len(old.items))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := old.items[a], old.items[b]
		return cmp.Or(cmp.Compare(y.count, x.count), cmp.Compare(x.hash, y.hash))
	})
	*f = newFrequent(s)
	f.lost = old.lost
	if s.top > 0 && len(order) > s.top {
		f.lost = old.items[order[s.top]].count
	}
	for _, i := range order[:min(len(order), s.top)] {
		it := old.items[i]
		if it.count <= f.lost {
			break
		}
		kept, cut := prefix(old.bytes(i), s.value)
		it.cut, it.size = it.cut || cut, uint8(len(kept))
		f.restore(it, kept)
	}
}

func (f *frequent) restore(it item, text []byte) {
	i := len(f.items)
	copy(f.text[i*f.value:], text)
	f.items = append(f.items, it)
	f.low = min(f.low, it.count)
	f.link(i)
}

func (f *frequent) encode(e *encoder) {
	e.uvarint(f.lost)
	e.uvarint(uint64(len(f.items)))
	for i, it := range f.items {
		e.fixed(it.hash)
		e.uvarint(it.count)
		flags := byte(it.kind)
		if it.cut {
			flags |= 0x80
		}
		e.byte(flags)
		if it.kind.Numeric() {
			e.decimal(it.exact)
		}
		if it.kind.Numeric() || timed(it.kind) {
			e.float(it.num)
		}
		e.bytes(f.bytes(i))
	}
}

func decodeFrequent(d *decoder, s sizes) frequent {
	f := newFrequent(s)
	f.lost = d.uvarint()
	for n := d.count(s.top); n > 0; n-- {
		it := item{hash: d.fixed(), count: d.uvarint()}
		flags := d.byte()
		it.kind, it.cut = table.Kind(flags&0x7f), flags&0x80 != 0
		if it.kind >= table.Kinds {
			d.fail(errDamaged)
			break
		}
		if it.kind.Numeric() {
			it.exact = d.decimal()
		}
		if it.kind.Numeric() || timed(it.kind) {
			it.num = d.float()
		}
		text := d.bytes(s.value)
		it.size = uint8(len(text))
		f.restore(it, text)
	}
	return f
}

// prefix returns at most n bytes of b without cutting a character in two, and
// whether anything was cut.
func prefix(b []byte, n int) ([]byte, bool) {
	if len(b) <= n {
		return b, false
	}
	for i := n; i > n-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(b[i]) {
			return b[:i], true
		}
	}
	return b[:n], true
}

// extreme is a smallest or largest text, of which a bounded prefix is kept.
type extreme struct {
	text []byte
	cut  bool
}

// compare orders by the kept bytes; of two that are equal there, the one that
// goes on is the larger.
func (x extreme) compare(text []byte, cut bool) int {
	if c := bytes.Compare(x.text, text); c != 0 || x.cut == cut {
		return c
	}
	if x.cut {
		return 1
	}
	return -1
}

func (x *extreme) set(text []byte, cut bool) {
	x.text, x.cut = append(x.text[:0], text...), cut
}

// String shows that a text was cut.
func (x extreme) String() string { return shown(x.text, x.cut) }

func shown(text []byte, cut bool) string {
	s := string(bytes.ToValidUTF8(text, []byte("\uFFFD")))
	if cut {
		s += "…"
	}
	return s
}
