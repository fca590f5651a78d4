package format

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// What is wrong with a value, for the error that names its row and column.
const (
	notDecimal = "not a decimal number: want digits, with a minus before or a point among them"
	notTime    = "a time more than a million years from now"
)

// maxDays is how many days from 1970 a date may be: a million years.
const maxDays = 365_250_000

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond
)

// appendScalar appends a value that is neither text nor JSON nor null as CSV and XLSX have it. NDJSON has
// the same, within quotes where JSON has no such type.
func appendScalar(dst []byte, v *rows.Value) (_ []byte, what string) {
	switch v.Kind {
	case rows.Int:
		return strconv.AppendInt(dst, v.Int, 10), ""
	case rows.Float:
		return appendFloat(dst, v.Float), ""
	case rows.Decimal:
		if !isDecimal(v.Data) {
			return dst, notDecimal
		}
		return append(dst, v.Data...), ""
	case rows.Bool:
		return strconv.AppendBool(dst, v.Int != 0), ""
	case rows.Date:
		if !inTime(v.Int) {
			return dst, notTime
		}
		return appendDate(dst, v.Int), ""
	case rows.Timestamp:
		day, micros := splitMicros(v.Int)
		if !inTime(day) {
			return dst, notTime
		}
		return appendTimestamp(dst, day, micros), ""
	default: // Bytes
		return hex.AppendEncode(append(dst, `\x`...), v.Data), ""
	}
}

// appendFloat appends the fewest digits that read back as the same double, in the form that JSON's
// numbers have in browsers; NaN and the infinities as PostgreSQL spells them.
func appendFloat(dst []byte, f float64) []byte {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case a > math.MaxFloat64 && f > 0:
		return append(dst, "Infinity"...)
	case a > math.MaxFloat64:
		return append(dst, "-Infinity"...)
	case a != 0 && (a < 1e-6 || a >= 1e21):
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	default:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
}

// isDecimal reports whether b is what rows.Decimal promises.
func isDecimal(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("-"))
	whole, fraction, point := bytes.Cut(b, []byte("."))
	return isDigits(whole) && (!point || isDigits(fraction))
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func inTime(day int64) bool { return day >= -maxDays && day <= maxDays }

// splitMicros tells the day of a moment and the microseconds in it.
func splitMicros(t int64) (day, micros int64) {
	day, micros = t/microsPerDay, t%microsPerDay
	if micros < 0 {
		day, micros = day-1, micros+microsPerDay
	}
	return day, micros
}

// appendDate appends a day as ISO 8601 has it. Years before 1 have a minus, with 0 as the year before 1.
func appendDate(dst []byte, day int64) []byte {
	year, month, dayOfMonth := civil(day)
	if year < 0 {
		dst, year = append(dst, '-'), -year
	}
	if year < 10_000 {
		dst = appendTwo(appendTwo(dst, year/100), year%100)
	} else {
		dst = strconv.AppendInt(dst, year, 10)
	}
	dst = appendTwo(append(dst, '-'), month)
	return appendTwo(append(dst, '-'), dayOfMonth)
}

// civil is the date of a day in the Gregorian calendar, without end in both directions. It counts in eras
// of 400 years from 1 March of year 0, so that the leap day is a year's last: Howard Hinnant,
// "chrono-Compatible Low-Level Date Algorithms".
func civil(day int64) (year, month, dayOfMonth int64) {
	day += 719_468
	era := day / 146_097
	if day < 0 {
		era = (day - 146_096) / 146_097
	}
	doe := day - era*146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	m := (5*doy + 2) / 153
	year, month, dayOfMonth = yoe+era*400, m+3, doy-(153*m+2)/5+1
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, dayOfMonth
}

func appendTimestamp(dst []byte, day, micros int64) []byte {
	dst = appendDate(dst, day)
	seconds := micros / microsPerSecond
	dst = appendTwo(append(dst, 'T'), seconds/3600)
	dst = appendTwo(append(dst, ':'), seconds/60%60)
	dst = appendTwo(append(dst, ':'), seconds%60)
	if fraction := micros % microsPerSecond; fraction != 0 {
		dst = append(dst, '.')
		dst = appendTwo(appendTwo(appendTwo(dst, fraction/10_000), fraction/100%100), fraction%100)
		dst = bytes.TrimRight(dst, "0")
	}
	return append(dst, 'Z')
}

func appendTwo(dst []byte, v int64) []byte { return append(dst, byte('0'+v/10), byte('0'+v%10)) }

// validText returns b with U+FFFD for each byte that is no UTF-8.
func validText(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	valid := make([]byte, 0, len(b)+len(b)/2)
	for len(b) > 0 {
		// DecodeRune returns U+FFFD of one byte for what is no UTF-8.
		r, n := utf8.DecodeRune(b)
		valid, b = utf8.AppendRune(valid, r), b[n:]
	}
	return valid
}

// jsonText returns a JSON value as UTF-8 on one line; what is no JSON becomes a string.
func jsonText(b []byte) []byte {
	b = validText(b)
	if !json.Valid(b) {
		return appendJSONString(nil, b)
	}
	if bytes.ContainsAny(b, "\r\n") {
		// Within strings these are escaped, so the ones that are left mean nothing.
		b = bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return ' '
			}
			return r
		}, b)
	}
	return b
}
