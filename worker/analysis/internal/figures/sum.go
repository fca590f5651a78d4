package figures

import (
	"encoding/binary"
	"math/big"
	"math/bits"
	"strings"
)

// MaxScale is the most digits after the point that a Sum adds.
const MaxScale = 18

// SumBytes is the longest encoding of a Sum.
const SumBytes = 1 + 8 + 8

// A Decimal is Whole/10^Scale, exactly. A Scale beyond MaxScale means that there is no such number.
type Decimal struct {
	Whole int64
	Scale uint8
}

// NoDecimal stands for a number that has no Decimal.
var NoDecimal = Decimal{Scale: 0xff}

var tens = func() (t [MaxScale + 1]uint64) {
	t[0] = 1
	for i := range MaxScale {
		t[i+1] = 10 * t[i]
	}
	return t
}()

// Compare orders decimals by their value.
func (d Decimal) Compare(than Decimal) int {
	x, y := big.NewInt(d.Whole), big.NewInt(than.Whole)
	x.Mul(x, new(big.Int).SetUint64(tens[than.Scale]))
	return x.Cmp(y.Mul(y, new(big.Int).SetUint64(tens[d.Scale])))
}

// String writes d with the fewest digits.
func (d Decimal) String() string { return fixed(big.NewInt(d.Whole), int(d.Scale)) }

// A Sum adds decimals exactly, within 128 bits. It is lost for good when one has no Decimal, or
// it grows beyond. The zero value is a sum of nothing.
type Sum struct {
	high  int64
	low   uint64
	scale uint8
	lost  bool
}

// Add adds a decimal.
func (s *Sum) Add(d Decimal) {
	if d.Scale == s.scale && !s.lost {
		s.add(d.Whole>>63, uint64(d.Whole))
		return
	}
	s.addScaled(d)
}

func (s *Sum) addScaled(d Decimal) {
	switch {
	case s.lost:
	case d.Scale > MaxScale:
		*s = Sum{lost: true}
	case d.Scale > s.scale:
		high, low, ok := scaled(s.high, s.low, tens[d.Scale-s.scale])
		if !ok {
			*s = Sum{lost: true}
			return
		}
		s.high, s.low, s.scale = high, low, d.Scale
		s.add(d.Whole>>63, uint64(d.Whole))
	default:
		high, low, _ := scaled(d.Whole>>63, uint64(d.Whole), tens[s.scale-d.Scale]) // 64 bits by 60 fit
		s.add(high, low)
	}
}

func (s *Sum) add(high int64, low uint64) {
	sum, carry := bits.Add64(s.low, low, 0)
	top := s.high + high + int64(carry)
	// The carry makes no difference: with it, top is of the summands' sign or has come back from beyond.
	if s.high < 0 == (high < 0) && top < 0 != (high < 0) {
		*s = Sum{lost: true}
		return
	}
	s.high, s.low = top, sum
}

// scaled is a number of 128 bits times by; false: it is beyond them.
func scaled(high int64, low, by uint64) (int64, uint64, bool) {
	negative := high < 0
	if negative {
		high, low = negated(high, low)
	}
	over, top := bits.Mul64(uint64(high), by)
	carry, bottom := bits.Mul64(low, by)
	top, more := bits.Add64(top, carry, 0)
	if over+more != 0 || top>>63 != 0 {
		return 0, 0, false
	}
	high, low = int64(top), bottom
	if negative {
		high, low = negated(high, low)
	}
	return high, low, true
}

func negated(high int64, low uint64) (int64, uint64) {
	low, borrow := bits.Sub64(0, low, 0)
	return -high - int64(borrow), low
}

// Text is the sum in decimal digits, with the fewest; false: it is lost.
func (s *Sum) Text() (string, bool) {
	if s.lost {
		return "", false
	}
	n := new(big.Int).Lsh(big.NewInt(s.high), 64)
	return fixed(n.Add(n, new(big.Int).SetUint64(s.low)), int(s.scale)), true
}

// fixed writes n/10^scale.
func fixed(n *big.Int, scale int) string {
	digits := new(big.Int).Abs(n).String()
	if short := scale + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	point := len(digits) - scale
	text := strings.TrimSuffix(strings.TrimRight(digits[:point]+"."+digits[point:], "0"), ".")
	if n.Sign() < 0 {
		text = "-" + text
	}
	return text
}

const lostSum = 0xff

// Append appends the sum's encoding.
func (s *Sum) Append(b []byte) []byte {
	if s.lost {
		return append(b, lostSum)
	}
	b = binary.LittleEndian.AppendUint64(append(b, s.scale), uint64(s.high))
	return binary.LittleEndian.AppendUint64(b, s.low)
}

// Decode reads what Append wrote, and returns what follows.
func (s *Sum) Decode(b []byte) ([]byte, error) {
	if len(b) > 0 && b[0] == lostSum {
		*s = Sum{lost: true}
		return b[1:], nil
	}
	if len(b) < SumBytes || b[0] > MaxScale {
		return nil, ErrDamaged
	}
	s.scale, s.high, s.low = b[0], int64(binary.LittleEndian.Uint64(b[1:])), binary.LittleEndian.Uint64(b[9:])
	return b[SumBytes:], nil
}
