package figures

import (
	"encoding/binary"
	"math"
	"math/bits"
)

const (
	// MaxCorrelated is of how many columns Correlations take numbers.
	MaxCorrelated = 32
	// block is how many rows are taken together. It is part of the encoding.
	block = 64
)

// Correlations gather Pearson's coefficient of each pair of columns, from the rows in which both have a number.
// Rows are taken in blocks: each is centered on its own means, and blocks are put together by the
// formula of Chan, Golub and LeVeque 1983, so that nothing cancels. A block that is not full is part of
// the encoding. The zero value has no columns.
type Correlations struct {
	columns int
	pairs   []pair // of columns j < i, at i(i-1)/2+j
	rows    int    // of the block
	values  [][block]float64
	there   []uint64 // by column: the rows of the block in which it has a number, as bits
}

// pair is what is known of two columns: j is x, i is y.
type pair struct {
	n      uint64
	mx, my float64 // means
	xx, yy float64 // sums of squared distances
	xy     float64 // sum of products of distances
}

// Column takes up another column, which had no number in any row so far; false: there is no room. Its
// number is how many there were.
func (c *Correlations) Column() (int, bool) {
	if c.columns == MaxCorrelated {
		return 0, false
	}
	c.grow(c.columns + 1)
	return c.columns - 1, true
}

// Columns is how many there are.
func (c *Correlations) Columns() int { return c.columns }

func (c *Correlations) grow(columns int) {
	for ; c.columns < columns; c.columns++ {
		c.pairs = append(c.pairs, make([]pair, c.columns)...)
		c.values, c.there = append(c.values, [block]float64{}), append(c.there, 0)
	}
}

// Set gives a column's number in the present row.
func (c *Correlations) Set(column int, v float64) {
	c.values[column][c.rows] = v
	c.there[column] |= 1 << c.rows
}

// Next ends a row.
func (c *Correlations) Next() {
	if c.columns == 0 {
		return
	}
	if c.rows++; c.rows == block {
		c.flush()
	}
}

func (c *Correlations) flush() {
	n := c.rows
	var means, squares [MaxCorrelated]float64
	var apart [MaxCorrelated][block]float64
	full := ^uint64(0) >> (block - n)
	for i := range c.columns {
		if c.there[i] == full {
			means[i], squares[i] = center(&apart[i], &c.values[i], n)
		}
	}
	at := 0
	for i := range c.columns {
		for j := range i {
			p := &c.pairs[at]
			at++
			both := c.there[i] & c.there[j]
			switch both {
			case 0:
			case full:
				p.merge(pair{uint64(n), means[j], means[i], squares[j], squares[i], product(&apart[j], &apart[i], n)})
			default:
				p.merge(some(&c.values[j], &c.values[i], both))
			}
		}
	}
	c.rows = 0
	clear(c.there)
}

// center writes how far values are from their mean. The conversions here and below forbid a fused
// multiply-add, so that processors agree on the last bit.
func center(apart, values *[block]float64, n int) (mean, square float64) {
	for _, v := range values[:n] {
		mean += v
	}
	mean /= float64(n)
	for i, v := range values[:n] {
		d := v - mean
		apart[i] = d
		square += float64(d * d)
	}
	return mean, square
}

// product is a scalar product, in four sums that do not wait for each other.
func product(x, y *[block]float64, n int) float64 {
	var a, b, c, d float64
	i := 0
	for ; i+3 < n; i += 4 {
		a += float64(x[i] * y[i])
		b += float64(x[i+1] * y[i+1])
		c += float64(x[i+2] * y[i+2])
		d += float64(x[i+3] * y[i+3])
	}
	for ; i < n; i++ {
		a += float64(x[i] * y[i])
	}
	return a + b + (c + d)
}

// some is the pair of the rows in which both have a number.
func some(x, y *[block]float64, both uint64) pair {
	p := pair{n: uint64(bits.OnesCount64(both))}
	for left := both; left != 0; left &= left - 1 {
		i := bits.TrailingZeros64(left)
		p.mx, p.my = p.mx+x[i], p.my+y[i]
	}
	p.mx, p.my = p.mx/float64(p.n), p.my/float64(p.n)
	for left := both; left != 0; left &= left - 1 {
		i := bits.TrailingZeros64(left)
		dx, dy := x[i]-p.mx, y[i]-p.my
		p.xx, p.yy, p.xy = p.xx+float64(dx*dx), p.yy+float64(dy*dy), p.xy+float64(dx*dy)
	}
	return p
}

func (p *pair) merge(q pair) {
	if p.n == 0 {
		*p = q
		return
	}
	n := float64(p.n + q.n)
	share := float64(q.n) / n
	weight := float64(p.n) * share
	dx, dy := q.mx-p.mx, q.my-p.my
	p.mx += float64(dx * share)
	p.my += float64(dy * share)
	p.xx += q.xx + float64(float64(dx*dx)*weight)
	p.yy += q.yy + float64(float64(dy*dy)*weight)
	p.xy += q.xy + float64(float64(dx*dy)*weight)
	p.n += q.n
}

// A Correlation is of two columns by their numbers, A before B, over Rows rows.
type Correlation struct {
	A, B int
	R    float64
	Rows uint64
}

// All returns the pairs that have a coefficient: of three rows at least, where neither column is
// constant, and whose squares a float64 holds. No more numbers may follow.
func (c *Correlations) All() []Correlation {
	if c.rows > 0 {
		c.flush()
	}
	var all []Correlation
	at := 0
	for i := range c.columns {
		for j := range i {
			p := c.pairs[at]
			at++
			r := p.xy / (math.Sqrt(p.xx) * math.Sqrt(p.yy))
			if p.n >= 3 && !math.IsNaN(r) && !math.IsInf(p.xx, 0) && !math.IsInf(p.yy, 0) && p.xx > 0 && p.yy > 0 {
				all = append(all, Correlation{A: j, B: i, R: max(-1, min(r, 1)), Rows: p.n})
			}
		}
	}
	return all
}

// CorrelationsBytes is the longest encoding of Correlations.
const CorrelationsBytes = 2 + MaxCorrelated*(MaxCorrelated-1)/2*(binary.MaxVarintLen64+5*8) + MaxCorrelated*(8+block*8)

// Append appends the encoding.
func (c *Correlations) Append(b []byte) []byte {
	b = append(b, byte(c.columns), byte(c.rows))
	for _, p := range c.pairs {
		if b = binary.AppendUvarint(b, p.n); p.n > 0 {
			for _, v := range []float64{p.mx, p.my, p.xx, p.yy, p.xy} {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
			}
		}
	}
	for i := range c.columns {
		b = binary.LittleEndian.AppendUint64(b, c.there[i])
		for left := c.there[i]; left != 0; left &= left - 1 {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(c.values[i][bits.TrailingZeros64(left)]))
		}
	}
	return b
}

// Decode reads what Append wrote into a zero value, and returns what follows.
func (c *Correlations) Decode(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] > MaxCorrelated || b[1] >= block {
		return nil, ErrDamaged
	}
	c.grow(int(b[0]))
	c.rows = int(b[1])
	b = b[2:]
	for i := range c.pairs {
		p := &c.pairs[i]
		size := 0
		if p.n, size = binary.Uvarint(b); size <= 0 {
			return nil, ErrDamaged
		}
		if b = b[size:]; p.n == 0 {
			continue
		}
		if len(b) < 5*8 {
			return nil, ErrDamaged
		}
		for _, v := range []*float64{&p.mx, &p.my, &p.xx, &p.yy, &p.xy} {
			*v = math.Float64frombits(binary.LittleEndian.Uint64(b))
			b = b[8:]
		}
	}
	for i := range c.columns {
		if len(b) < 8 {
			return nil, ErrDamaged
		}
		there := binary.LittleEndian.Uint64(b)
		b = b[8:]
		if there>>c.rows != 0 || len(b) < 8*bits.OnesCount64(there) {
			return nil, ErrDamaged
		}
		c.there[i] = there
		for left := there; left != 0; left &= left - 1 {
			c.values[i][bits.TrailingZeros64(left)] = math.Float64frombits(binary.LittleEndian.Uint64(b))
			b = b[8:]
		}
	}
	return b, nil
}
