package analysis

import (
	"bytes"
	"strconv"
	"unsafe"
)

// kind is what one cell is. The order is part of the state's encoding.
type kind uint8

const (
	kindBool kind = iota
	kindInteger
	kindNumber
	kindDate
	kindTimestamp
	kindText
	kindObject
	kindArray
	kinds            // how many there are
	kindNull = kinds // is not counted: nulls are the rows that nothing else counts
)

var kindNames = [kinds]string{"boolean", "integer", "number", "date", "timestamp", "string", "object", "array"}

func (k kind) numeric() bool { return k == kindInteger || k == kindNumber }

// cellValue is a classified cell: what its kind needs of it, the rest zero. Four
// fields are what the compiler keeps in registers.
type cellValue struct {
	kind  kind
	nano  int32   // timestamp
	num   float64 // integer, number
	whole int64   // integer; date and timestamp: seconds since 1970
}

func (v cellValue) at() instant { return instant{v.whole, v.nano} }

// classify says what an untyped cell is. It looks past spaces around a value,
// which many writers leave after a delimiter.
func classify(cell []byte) cellValue {
	if len(cell) == 0 {
		return cellValue{kind: kindNull}
	}
	if cell[0] == ' ' || cell[len(cell)-1] == ' ' {
		if cell = bytes.Trim(cell, " "); len(cell) == 0 {
			return cellValue{kind: kindNull}
		}
	}
	switch c := cell[0]; {
	case c-'0' <= 9 || c == '-' || c == '+' || c == '.':
		if v, ok := parseNumber(cell); ok {
			// A leading zero marks an identifier (a post code, an account):
			// as a number it would lose the digit that makes it one.
			if v.kind == kindInteger && paddedWithZero(cell) {
				return cellValue{kind: kindText}
			}
			return v
		}
		if v, ok := parseTime(cell); ok {
			return v
		}
	case c == 't' || c == 'T' || c == 'f' || c == 'F':
		if isBool(cell) {
			return cellValue{kind: kindBool}
		}
	case c == 'n' || c == 'N' || c == '\\' || c == '#':
		if isNull(cell) {
			return cellValue{kind: kindNull}
		}
	}
	return cellValue{kind: kindText}
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
// is not one of them: it is Namibia's country code.
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

func paddedWithZero(cell []byte) bool {
	if cell[0] == '-' || cell[0] == '+' {
		cell = cell[1:]
	}
	return len(cell) > 1 && cell[0] == '0'
}

// tens are the powers of ten that a float64 holds exactly.
var tens = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// parseNumber reads [+-]digits[.digits][e[+-]digits]: no hexadecimal,
// underscores, NaN or infinities, which in a table are words. A whole number
// that int64 cannot hold is a number.
func parseNumber(cell []byte) (cellValue, bool) {
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
		return cellValue{}, false
	}
	if i == len(cell) && digits <= 18 {
		if point < 0 {
			whole := int64(mantissa)
			if negative {
				whole = -whole
			}
			return cellValue{kind: kindInteger, num: float64(whole), whole: whole}, true
		}
		// Clinger's fast path: both operands are exact, so one division rounds
		// once, which is what strconv would return.
		if fraction := i - point - 1; mantissa < 1<<53 && fraction < len(tens) {
			f := float64(mantissa) / tens[fraction]
			if negative {
				f = -f
			}
			return cellValue{kind: kindNumber, num: f}, true
		}
	}
	return parseLongNumber(cell, i, point >= 0)
}

// parseLongNumber takes what the fast path left: long mantissas and exponents,
// the latter from position i on.
func parseLongNumber(cell []byte, i int, point bool) (cellValue, bool) {
	if i < len(cell) {
		if lower(cell[i]) != 'e' {
			return cellValue{}, false
		}
		i++
		if i < len(cell) && (cell[i] == '-' || cell[i] == '+') {
			i++
		}
		if i == len(cell) {
			return cellValue{}, false
		}
		for ; i < len(cell); i++ {
			if cell[i]-'0' > 9 {
				return cellValue{}, false
			}
		}
		point = true
	}
	text := unsafe.String(unsafe.SliceData(cell), len(cell)) // lives only for this call
	if !point {
		if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
			return cellValue{kind: kindInteger, num: float64(whole), whole: whole}, true
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return cellValue{}, false // out of range: 1e999 is text
	}
	return cellValue{kind: kindNumber, num: f}, true
}
