package workbook

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

const (
	// epoch is the day 1970-01-01 in Excel's count from 1900.
	epoch = 25_569
	// leap is the 29 February 1900, which Excel has and the calendar has not.
	leap = 60
	// from1904 is what the count from 1904 lacks.
	from1904 = 1462
	// lastDay is 9999-12-31.
	lastDay = 2_958_465

	millisPerDay = 86_400_000
)

// appendNumber appends the number that a cell has as text, as its format shows it.
func appendNumber(dst, text []byte, s shown, since1904 bool) []byte {
	if s != 0 {
		if f, err := strconv.ParseFloat(string(text), 64); err == nil {
			if out, ok := appendTime(dst, f, s, since1904); ok {
				return out
			}
		}
	}
	if exact(text) {
		return append(dst, text...)
	}
	f, err := strconv.ParseFloat(string(text), 64)
	switch a := math.Abs(f); {
	case err != nil || math.IsInf(f, 0) || math.IsNaN(f):
		return appendField(dst, bytes.ToValidUTF8(text, []byte("\ufffd")))
	case a != 0 && (a < 1e-6 || a >= 1e21):
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// exact reports whether a number's text stays what it is: decimal digits without an exponent, and not the 16 or 17
// digits with a point by which programs write out a double.
func exact(text []byte) bool {
	digits, point := 0, false
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9':
			if digits > 0 || c != '0' {
				digits++
			}
		case c == '.' && !point:
			point = true
		case c == '-' && i == 0:
		default:
			return false
		}
	}
	return len(text) > 0 && (!point || digits < 16 || digits > 17)
}

// appendTime appends a count of days as a date, a moment, or a time of day, to the millisecond, which is what
// Excel keeps. false: it is none of them in Excel either.
func appendTime(dst []byte, f float64, s shown, since1904 bool) (_ []byte, ok bool) {
	if !(f >= 0) || f >= lastDay+1 {
		return dst, false
	}
	days := math.Floor(f)
	millis := int64(math.Round((f - days) * millisPerDay))
	n := int64(days)
	if millis == millisPerDay {
		n, millis = n+1, 0
	}
	switch {
	case s&day == 0 && s&span != 0:
		return appendClock(dst, n*24, millis), true
	case n == 0 && (s&day == 0 || millis != 0 && !since1904):
		return appendClock(dst, 0, millis), true
	case since1904:
		n += from1904
	case n == 0:
		return dst, false // the 0 January 1900
	}
	if n > lastDay {
		return dst, false
	}
	if n == leap {
		dst = append(dst, "1900-02-29"...)
	} else {
		if n < leap {
			n++
		}
		dst = time.Unix((n-epoch)*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
	}
	if s&clock != 0 || s&span != 0 || millis != 0 {
		dst = appendClock(append(dst, 'T'), 0, millis)
	}
	return dst, true
}

// appendClock appends hours and milliseconds as 15:04:05.000, without the zeros at the end.
func appendClock(dst []byte, hours, millis int64) []byte {
	hours += millis / 3_600_000
	if hours < 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendInt(dst, hours, 10)
	for _, n := range []int64{millis / 60_000 % 60, millis / 1000 % 60} {
		dst = append(dst, ':', byte('0'+n/10), byte('0'+n%10))
	}
	if n := millis % 1000; n != 0 {
		dst = append(dst, '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
		dst = bytes.TrimRight(dst, "0")
	}
	return dst
}
