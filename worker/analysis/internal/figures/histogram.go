package figures

import (
	"encoding/binary"
	"math"
)

// Widths are those that a histogram's bins may have. Each is a multiple of the one before.
type Widths uint8

const (
	// Binary widths are powers of two.
	Binary Widths = iota
	// Clock widths, in seconds, are those of clocks and calendars: seconds, minutes, hours, days, and days times
	// powers of two.
	Clock
)

var clock = [...]float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, day}

const day = 24 * 3600

// least and most are the exponents of a float64's powers of two.
const (
	least = -1074
	most  = 1023
)

func (w Widths) width(level int) float64 {
	if w == Binary {
		return math.Ldexp(1, level)
	}
	if level < len(clock) {
		return clock[level]
	}
	return math.Ldexp(day, level-len(clock)+1)
}

// ratio is how many times as wide the bins of level are as those of under; it may be infinite.
func (w Widths) ratio(level, under int) float64 {
	if w == Binary {
		return math.Ldexp(1, level-under)
	}
	return w.width(level) / w.width(under)
}

// first is a level at or below the narrowest that holds a range in so many bins.
func (w Widths) first(low, high float64, bins int) int {
	if w == Clock {
		return 0
	}
	_, exponent := math.Frexp(high/float64(bins) - low/float64(bins))
	return min(max(exponent-2, least), most)
}

// A Histogram counts numbers in bins of one width. The width is the narrowest of its Widths with which
// the bins from the smallest number to the largest are no more than its room, so the result depends
// neither on the numbers' order nor on when the room shrinks. All counts are exact.
type Histogram struct {
	widths    Widths
	low, high float64 // of the numbers so far
	level     int
	width     float64  // 0 while all numbers are the same
	base      float64  // number of the first bin: the floor of its numbers divided by width
	counts    []uint64 // as many as there is room for; empty leaves the histogram out
	some      bool
}

// NewHistogram makes one with room for so many bins, 0 or at least 4.
func NewHistogram(widths Widths, bins int) Histogram {
	return Histogram{widths: widths, counts: make([]uint64, bins)}
}

// Add counts a finite number.
func (h *Histogram) Add(v float64) {
	if !(v >= h.low && v <= h.high && h.some) {
		if len(h.counts) == 0 {
			return
		}
		h.grow(v)
	}
	i := 0
	if h.width > 0 {
		i = int(floor(v, h.width) - h.base)
	}
	if i < len(h.counts) {
		h.counts[i]++
	}
}

// grow makes room for a number outside of the range.
func (h *Histogram) grow(v float64) {
	if !h.some {
		h.low, h.high, h.some = v, v, true
		return
	}
	old := h.low
	h.low, h.high = min(h.low, v), max(h.high, v)
	if h.width == 0 {
		n := h.counts[0]
		h.counts[0] = 0
		h.level = h.widths.first(h.low, h.high, len(h.counts))
		h.fit()
		h.base = floor(h.low, h.width)
		h.counts[int(floor(old, h.width)-h.base)] = n
		return
	}
	h.widen()
}

// fit raises the level until the range fits, and sets the width.
func (h *Histogram) fit() {
	for ; ; h.level++ {
		h.width = h.widths.width(h.level)
		if floor(h.high, h.width)-floor(h.low, h.width) < float64(len(h.counts)) || h.widths == Binary && h.level == most {
			return
		}
	}
}

// widen moves the counts to where the range has them now.
func (h *Histogram) widen() {
	old := *h
	h.fit()
	h.base = floor(h.low, h.width)
	if h.level != old.level || h.base != old.base {
		h.counts = make([]uint64, len(h.counts))
		h.take(old)
	}
}

// take adds the counts of a histogram whose bins are not wider.
func (h *Histogram) take(old Histogram) {
	by := h.widths.ratio(h.level, old.level)
	for i, n := range old.counts {
		if n > 0 {
			h.counts[int(floor(old.base+float64(i), by)-h.base)] += n
		}
	}
}

// floor is the floor of a number divided by a positive one, which may be infinite. A quotient that is too small for a
// float64 keeps its sign.
func floor(v, by float64) float64 {
	q := math.Floor(v / by)
	if q == 0 && v < 0 {
		return -1
	}
	return q
}

// Shrink leaves room for so many bins, at most as many as there were.
func (h *Histogram) Shrink(bins int) {
	if bins == len(h.counts) {
		return
	}
	if bins == 0 || !h.some || h.width == 0 {
		first := uint64(0)
		if len(h.counts) > 0 {
			first = h.counts[0]
		}
		if h.counts = make([]uint64, bins); bins > 0 {
			h.counts[0] = first
		}
		return
	}
	old := *h
	h.counts = make([]uint64, bins)
	h.fit()
	h.base = floor(h.low, h.width)
	h.take(old)
}

// Bins returns the histogram: where the first bin begins, the width of each, and the counts, of which
// the first and the last are not 0. With whole, bins are at least 1 wide. The width is 0 where all
// numbers are the same. There are no counts where there was no number, or no room.
func (h *Histogram) Bins(whole bool) (start, width float64, counts []uint64) {
	if !h.some || len(h.counts) == 0 {
		return 0, 0, nil
	}
	if h.width == 0 {
		return h.low, 0, h.counts[:1]
	}
	bins := *h
	if whole && h.widths == Binary && h.level < 0 {
		bins.level, bins.width, bins.base, bins.counts = 0, 1, math.Floor(h.low), make([]uint64, len(h.counts))
		bins.take(*h)
	}
	n := int(floor(bins.high, bins.width)-bins.base) + 1
	return max(bins.base*bins.width, -math.MaxFloat64), bins.width, bins.counts[:n]
}

// HistogramBytes is the longest encoding of a histogram with so many bins.
func HistogramBytes(bins int) int {
	if bins == 0 {
		return 0
	}
	return 1 + 8 + 8 + 2 + bins*binary.MaxVarintLen64
}

// Append appends the histogram's encoding, without its widths and room.
func (h *Histogram) Append(b []byte) []byte {
	if len(h.counts) == 0 {
		return b
	}
	if !h.some {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, v := range []float64{h.low, h.high} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(h.level))
	for _, n := range h.counts {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// Decode reads what Append wrote into a histogram of the same widths and room, and returns what follows.
func (h *Histogram) Decode(b []byte) ([]byte, error) {
	if len(h.counts) == 0 {
		return b, nil
	}
	if len(b) == 0 || b[0] > 1 || b[0] == 1 && len(b) < 19 {
		return nil, ErrDamaged
	}
	if b[0] == 0 {
		return b[1:], nil
	}
	h.some = true
	h.low, h.high = math.Float64frombits(binary.LittleEndian.Uint64(b[1:])), math.Float64frombits(binary.LittleEndian.Uint64(b[9:]))
	h.level = int(int16(binary.LittleEndian.Uint16(b[17:])))
	b = b[19:]
	for i := range h.counts {
		n := 0
		if h.counts[i], n = binary.Uvarint(b); n <= 0 {
			return nil, ErrDamaged
		}
		b = b[n:]
	}
	if !(h.low <= h.high) || math.IsInf(h.low, 0) || math.IsInf(h.high, 0) {
		return nil, ErrDamaged
	}
	if h.low < h.high {
		return b, h.restore()
	}
	return b, nil
}

// restore derives width and base from the range and the level.
func (h *Histogram) restore() error {
	lowest, highest := least, most
	if h.widths == Clock {
		lowest, highest = 0, 64
	}
	if h.level < lowest || h.level > highest {
		return ErrDamaged
	}
	h.width = h.widths.width(h.level)
	h.base = floor(h.low, h.width)
	if bins := floor(h.high, h.width) - h.base; !(bins >= 0 && bins < float64(len(h.counts))) {
		return ErrDamaged
	}
	return nil
}
