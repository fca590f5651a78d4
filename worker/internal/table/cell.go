package table

import (
	"bytes"
	"strconv"
	"unsafe"
)

// Kind is what one cell is. The order is part of the encoding of an analysis.
type Kind uint8

// The kinds of cells. Null is not counted among Kinds: nulls are the rows that no other kind
// counts.
const (
	Bool Kind = iota
	Integer
	Number
	Date
	Timestamp
	Text
	Object
	Array
	// Code: digits that are no number, since they begin with a zero, as post codes do, or with a
	// plus, as phone numbers do.
	Code
	// Placeholder: a word such as NA, which among numbers stands for a missing one.
	Placeholder
	// Dressed: text that looks like a number with a decimal comma, separators, a percent sign or a
	// currency.
	Dressed
	Kinds // how many there are
	Null  = Kinds
)

// Numeric reports whether values of the kind are numbers.
func (k Kind) Numeric() bool { return k == Integer || k == Number }

// Value is a classified cell: what its kind needs of it, the rest zero. Four
// fields are what the compiler keeps in registers.
type Value struct {
	Kind Kind
	// Detail of an Integer is how many digits it has, 0 if it has a sign; of a Number 1 for a whole
	// number that int64 does not hold, and -1-n for one with n digits after its point and at most 18 in all; of a Timestamp its nanoseconds; of a Placeholder its place in
	// Placeholders; of a Dressed its Dress.
	Detail int32
	Num    float64 // Integer, Number
	Whole  int64   // Integer; Date and Timestamp: seconds since 1970; Number: all its digits, where Detail counts those after its point
}

// Long reports whether v is a whole number that int64 does not hold.
func (v Value) Long() bool { return v.Kind == Number && v.Detail == 1 }

// Decimal returns a number as whole/10^scale, exactly; false: it is none of 64 bits, or has more than 18
// digits, or an exponent.
func (v Value) Decimal() (whole int64, scale uint8, ok bool) {
	if v.Kind == Number && v.Detail < 0 {
		return v.Whole, uint8(-1 - v.Detail), true
	}
	return v.Whole, 0, v.Kind == Integer
}

// At is the time of a Date or Timestamp.
func (v Value) At() Instant {
	if v.Kind == Date {
		return Instant{Sec: v.Whole}
	}
	return Instant{v.Whole, v.Detail}
}

// Classify says what an untyped cell is. It looks past spaces around a value,
// which many writers leave after a delimiter.
func Classify(cell []byte) Value {
	if len(cell) == 0 {
		return Value{Kind: Null}
	}
	if cell[0] == ' ' || cell[len(cell)-1] == ' ' {
		if cell = bytes.Trim(cell, " "); len(cell) == 0 {
			return Value{Kind: Null}
		}
	}
	switch c := cell[0]; {
	case c-'0' <= 9 || c == '-' || c == '+' || c == '.':
		if v, ok := parseNumber(cell); ok {
			// A leading zero marks an identifier (a post code, an account):
			// as a number it would lose the digit that makes it one.
			if whole := v.Kind == Integer || v.Long(); whole && (c-'0' == 0 || c-'0' > 9) {
				return codeOf(cell, v)
			}
			return v
		}
		if v, ok := parseTime(cell); ok {
			return v
		}
		return oddText(cell)
	case c == 't' || c == 'T' || c == 'f' || c == 'F':
		if isBool(cell) {
			return Value{Kind: Bool}
		}
	case c == 'n' || c == 'N' || c == '\\' || c == '#':
		if isNull(cell) {
			return Value{Kind: Null}
		}
		return oddText(cell)
	case c < 'A' || c >= 0x80:
		return oddText(cell)
	}
	return Value{Kind: Text}
}

// codeOf tells an integer that begins with a zero or a sign from a code.
func codeOf(cell []byte, v Value) Value {
	switch {
	case cell[0] == '0' && len(cell) > 1, cell[0] == '+' && len(cell) > phoneDigits:
		return Value{Kind: Code}
	case len(cell) > 2 && cell[1] == '0':
		return Value{Kind: Text} // -07
	}
	return v
}

// phoneDigits is from how many on a plus before them is a phone number's.
const phoneDigits = 8

// oddText tells text from placeholders and dressed numbers.
func oddText(cell []byte) Value {
	if i := placeholder(cell); i >= 0 {
		return Value{Kind: Placeholder, Detail: int32(i)}
	}
	if d := dressOf(cell); d != 0 {
		return Value{Kind: Dressed, Detail: int32(d)}
	}
	return Value{Kind: Text}
}

func isBool(cell []byte) bool {
	switch len(cell) {
	case 4:
		return lower(cell[0]) == 't' && lower(cell[1]) == 'r' && lower(cell[2]) == 'u' && lower(cell[3]) == 'e'
	case 5:
		return lower(cell[0]) == 'f' && lower(cell[1]) == 'a' && lower(cell[2]) == 'l' && lower(cell[3]) == 's' && lower(cell[4]) == 'e'
	}
	return false
}

// isNull knows the spellings that databases and spreadsheets export. A bare NA
// is a Placeholder: it is Namibia's country code too.
func isNull(cell []byte) bool {
	switch len(cell) {
	case 2:
		return cell[0] == '\\' && cell[1] == 'N'
	case 3:
		return string(cell) == "N/A" || string(cell) == "n/a"
	case 4:
		return string(cell) == "NULL" || string(cell) == "null" || string(cell) == "Null" || string(cell) == "#N/A"
	}
	return false
}

func lower(c byte) byte { return c | 0x20 }

// tens are powers of ten, which a float64 holds exactly.
var tens = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// parseNumber reads [+-]digits[.digits][e[+-]digits]: no hexadecimal,
// underscores, NaN or infinities, which in a table are words. A whole number
// that int64 cannot hold is a number.
func parseNumber(cell []byte) (Value, bool) {
	i, negative := 0, false
	if cell[0] == '-' || cell[0] == '+' {
		negative = cell[0] == '-'
		i = 1
	}
	var mantissa uint64
	start, point := i, -1
	for ; i < len(cell); i++ {
		d := cell[i] - '0'
		if d <= 9 {
			// Overflow is harmless: over 18 digits the slow path reads again.
			mantissa = mantissa*10 + uint64(d)
			continue
		}
		if cell[i] != '.' || point >= 0 {
			break
		}
		point = i
	}
	digits := i - start
	if point >= 0 {
		digits--
	}
	if digits == 0 {
		return Value{}, false
	}
	if i == len(cell) && digits <= 18 {
		whole := int64(mantissa)
		if negative {
			whole = -whole
		}
		if point < 0 {
			if start > 0 {
				digits = 0
			}
			return Value{Kind: Integer, Detail: int32(digits), Num: float64(whole), Whole: whole}, true
		}
		// Clinger's fast path: both operands are exact, so one division rounds
		// once, which is what strconv would return.
		fraction := i - point - 1
		if mantissa < 1<<53 {
			f := float64(mantissa) / tens[fraction]
			if negative {
				f = -f
			}
			return Value{Kind: Number, Detail: int32(-1 - fraction), Num: f, Whole: whole}, true
		}
		v, ok := parseLongNumber(cell, i, true)
		v.Detail, v.Whole = int32(-1-fraction), whole
		return v, ok
	}
	return parseLongNumber(cell, i, point >= 0)
}

// parseLongNumber takes what the fast path left: long mantissas and exponents,
// the latter from position i on.
func parseLongNumber(cell []byte, i int, point bool) (Value, bool) {
	if i < len(cell) {
		if lower(cell[i]) != 'e' {
			return Value{}, false
		}
		i++
		if i < len(cell) && (cell[i] == '-' || cell[i] == '+') {
			i++
		}
		if i == len(cell) {
			return Value{}, false
		}
		for ; i < len(cell); i++ {
			if cell[i]-'0' > 9 {
				return Value{}, false
			}
		}
		point = true
	}
	text := unsafe.String(unsafe.SliceData(cell), len(cell)) // lives only for this call
	if !point {
		if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
			digits := len(cell)
			if cell[0] == '-' || cell[0] == '+' {
				digits = 0
			}
			return Value{Kind: Integer, Detail: int32(digits), Num: float64(whole), Whole: whole}, true
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Value{}, false // out of range: 1e999 is text
	}
	v := Value{Kind: Number, Num: f}
	if !point {
		v.Detail = 1
	}
	return v, true
}
