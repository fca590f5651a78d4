package columnar

import (
	"math"
	"math/big"
	"strconv"
)

const (
	// maxScale is how many digits a decimal has behind its point at most.
	maxScale = 400
	// maxDecimalBytes is how long one is: 308 digits.
	maxDecimalBytes = 128
)

// appendFloat appends the fewest digits that read back as the same number of so many bits, in the form that
// browsers write; null for what JSON has no number for.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch a := math.Abs(f); {
	case math.IsNaN(f), a > math.MaxFloat64:
		return append(dst, "null"...)
	case a != 0 && (a < 1e-6 || a >= 1e21):
		return strconv.AppendFloat(dst, f, 'e', -1, bits)
	default:
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
}

// half is a number of IEEE 754's binary16.
func half(h uint16) float64 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 != 0 {
		sign = -1
	}
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// decimalWriter writes whole numbers with a point before the last of their digits.
func decimalWriter(e *element) writer {
	scale := int(e.scale)
	switch {
	case scale < 0 || scale > maxScale:
		return nil
	case e.physical == typeInt32, e.physical == typeInt64:
		return func(dst []byte, v *value) []byte { return appendPoint(dst, int64(v.n), scale) }
	case e.physical == typeBytes, e.physical == typeFixed && e.length <= maxDecimalBytes:
		return func(dst []byte, v *value) []byte { return appendBig(dst, v.b, scale) }
	}
	return nil
}

func appendPoint(dst []byte, n int64, scale int) []byte {
	from := len(dst)
	return setPoint(strconv.AppendInt(dst, n, 10), from, scale)
}

// appendBig appends a decimal that is stored as two's complement, its highest byte first. One that is too long is
// text in hexadecimal digits, and one without bytes null.
func appendBig(dst, b []byte, scale int) []byte {
	switch {
	case len(b) == 0:
		return append(dst, "null"...)
	case len(b) <= 8:
		n := int64(int8(b[0]))
		for _, c := range b[1:] {
			n = n<<8 | int64(c)
		}
		return appendPoint(dst, n, scale)
	case len(b) > maxDecimalBytes:
		return appendHex(dst, b)
	}
	n := new(big.Int).SetBytes(b)
	if b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	from := len(dst)
	return setPoint(n.Append(dst, 10), from, scale)
}

// setPoint puts a point into the digits from an offset on.
func setPoint(dst []byte, from, scale int) []byte {
	if scale == 0 {
		return dst
	}
	if dst[from] == '-' {
		from++
	}
	if short := scale + 1 - (len(dst) - from); short > 0 {
		digits := len(dst) - from
		for range short {
			dst = append(dst, '0')
		}
		copy(dst[from+short:], dst[from:from+digits])
		for i := range short {
			dst[from+i] = '0'
		}
	}
	at := len(dst) - scale
	dst = append(dst, 0)
	copy(dst[at+1:], dst[at:])
	dst[at] = '.'
	return dst
}
