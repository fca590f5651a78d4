package analysis

import (
	"cmp"
	"math"
	"slices"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
)

// digest is a merging t-digest. It is written here, not taken from a library,
// because a profile has to be the same wherever it was interrupted: there is no
// randomness in it, and its encoding holds every bit, the values that wait to be
// merged included.
type digest struct {
	delta  int
	means  []float64
	counts []uint64
	total  uint64     // values in means, without the waiting ones
	wait   []uint64   // sortable bits of values not merged yet
	both   []centroid // room for a merge
	spare  []uint64   // room for sorting
}

func newDigest(s sizes) *digest {
	return &digest{
		delta:  s.delta,
		means:  make([]float64, 0, s.centroids()),
		counts: make([]uint64, 0, s.centroids()),
		wait:   make([]uint64, 0, s.buffer),
	}
}

// sortable maps floats to integers of the same order, which sort faster.
func sortable(v float64) uint64 {
	b := math.Float64bits(v)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

func unsortable(b uint64) float64 {
	if b>>63 != 0 {
		return math.Float64frombits(b &^ (1 << 63))
	}
	return math.Float64frombits(^b)
}

func (d *digest) add(v float64) {
	d.wait = append(d.wait, sortable(v))
	if len(d.wait) == cap(d.wait) {
		d.flush()
	}
}

// centroid is a mean and how many values it stands for.
type centroid struct {
	mean  float64
	count uint64
}

func (d *digest) flush() {
	if len(d.wait) == 0 {
		return
	}
	if d.both == nil {
		d.both = make([]centroid, 0, cap(d.wait)+cap(d.means))
		d.spare = make([]uint64, cap(d.wait))
	}
	figures.Order(d.wait, d.spare)
	in := d.both[:0]
	i := 0
	for _, b := range d.wait {
		v := unsortable(b)
		for ; i < len(d.means) && d.means[i] <= v; i++ {
			in = append(in, centroid{d.means[i], d.counts[i]})
		}
		in = append(in, centroid{v, 1})
	}
	for ; i < len(d.means); i++ {
		in = append(in, centroid{d.means[i], d.counts[i]})
	}
	d.total += uint64(len(d.wait))
	d.wait = d.wait[:0]
	d.compress(in)
}

// weigh starts an empty digest with values that each occurred several times.
// It splits a heavy value into pieces: as a single centroid, which stands at the
// middle of its weight, it would pull ranks within the value towards others.
func (d *digest) weigh(values []centroid) {
	d.total = 0
	for _, c := range values {
		d.total += c.count
	}
	if d.total == 0 {
		return
	}
	slices.SortFunc(values, func(a, b centroid) int { return cmp.Compare(a.mean, b.mean) })
	piece := d.total/uint64(4*d.delta) + 1
	in := make([]centroid, 0, len(values)+4*d.delta)
	for _, c := range values {
		for ; c.count > piece; c.count -= piece {
			in = append(in, centroid{c.mean, piece})
		}
		in = append(in, c)
	}
	d.compress(in)
}

// compress merges neighbours of the ordered list in while the scale function
// k(q) = delta/2π · asin(2q-1) allows. A step of at most one in k is, by its
// derivative, a weight w with (w/n · delta/2π)² ≤ q(1-q) at both ends, which
// needs no trigonometry. Where that leaves more centroids than there is room
// for, it starts over with a smaller delta.
func (d *digest) compress(in []centroid) {
	n := float64(d.total)
	for delta := float64(d.delta); ; delta *= 0.9 {
		limit := delta / (2 * math.Pi * n)
		d.means, d.counts = d.means[:0], d.counts[:0]
		cur := in[0]
		before := 0.0 // weight left of cur
		fits := true
		for _, next := range in[1:] {
			w := float64(cur.count + next.count)
			z := w * limit
			z *= z
			q0, q2 := before/n, (before+w)/n
			if z <= q0*(1-q0) && z <= q2*(1-q2) {
				cur.mean = along(cur.mean, next.mean, float64(next.count)/w)
				cur.count += next.count
				continue
			}
			if fits = len(d.means)+1 < cap(d.means); !fits {
				break
			}
			before += float64(cur.count)
			d.means, d.counts = append(d.means, cur.mean), append(d.counts, cur.count)
			cur = next
		}
		if fits {
			d.means, d.counts = append(d.means, cur.mean), append(d.counts, cur.count)
			return
		}
	}
}

func (d *digest) shrink(s sizes) {
	d.flush()
	in := make([]centroid, len(d.means))
	for i := range in {
		in[i] = centroid{d.means[i], d.counts[i]}
	}
	total := d.total
	*d = *newDigest(s)
	if d.total = total; total > 0 {
		d.compress(in)
	}
}

// quantile interpolates between centroids, each standing at the middle of its
// weight, and ends at the exact smallest and largest value. The digest must be
// flushed and hold something.
func (d *digest) quantile(q, lowest, highest float64) float64 {
	at := q * float64(d.total)
	left, leftAt := lowest, 0.0
	before := 0.0
	for i, mean := range d.means {
		w := float64(d.counts[i])
		mid := before + w/2
		if at < mid {
			return between(left, leftAt, mean, mid, at)
		}
		left, leftAt = mean, mid
		before += w
	}
	return between(left, leftAt, highest, before, at)
}

func between(left, leftAt, right, rightAt, at float64) float64 {
	if rightAt <= leftAt {
		return right
	}
	return along(left, right, (at-leftAt)/(rightAt-leftAt))
}

// along is the point between left and right at a share of the way. The conversions forbid
// fusing, so that the last bit does not depend on the processor.
func along(left, right, share float64) float64 {
	at := left + float64((right-left)*share)
	if math.IsInf(right-left, 0) {
		at = float64(left*(1-share)) + float64(right*share)
	}
	return min(max(at, left), right)
}

// beyond counts the values below low and above high, as far as centroids tell: at both ends of the range each
// stands for one value or few. The digest must be flushed.
func (d *digest) beyond(low, high float64) (n uint64) {
	for i, mean := range d.means {
		if mean < low || mean > high {
			n += d.counts[i]
		}
	}
	return n
}

func (d *digest) encode(e *encoder) {
	e.uvarint(uint64(len(d.means)))
	for i, m := range d.means {
		e.float(m)
		e.uvarint(d.counts[i])
	}
	e.uvarint(uint64(len(d.wait)))
	for _, b := range d.wait {
		e.fixed(b)
	}
}

func decodeDigest(dec *decoder, s sizes) *digest {
	d := newDigest(s)
	for n := dec.count(s.centroids()); n > 0; n-- {
		mean, count := dec.float(), dec.uvarint()
		d.means, d.counts = append(d.means, mean), append(d.counts, count)
		d.total += count
	}
	for n := dec.count(s.buffer); n > 0; n-- {
		d.wait = append(d.wait, dec.fixed())
	}
	return d
}
