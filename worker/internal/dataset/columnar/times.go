package columnar

import (
	"encoding/binary"
	"strconv"
	"time"
)

const secondsPerDay = 86_400

func appendDate(dst []byte, v *value) []byte {
	t := time.Unix(int64(v.n)*secondsPerDay, 0).UTC()
	return append(t.AppendFormat(append(dst, '"'), time.DateOnly), '"')
}

// perSecond is how many of a unit a second has; 0: the unit is none.
func perSecond(unit int16) int64 {
	switch unit {
	case unitMillis:
		return 1_000
	case unitMicros:
		return 1_000_000
	case unitNanos:
		return 1_000_000_000
	}
	return 0
}

// floor divides, so that the rest is not negative.
func floor(n, by int64) (whole, rest int64) {
	whole, rest = n/by, n%by
	if rest < 0 {
		whole, rest = whole-1, rest+by
	}
	return whole, rest
}

func timestampWriter(unit int16, utc bool) writer {
	per := perSecond(unit)
	if per == 0 {
		return nil
	}
	return func(dst []byte, v *value) []byte {
		seconds, rest := floor(int64(v.n), per)
		return appendInstant(dst, time.Unix(seconds, rest*(1e9/per)), utc)
	}
}

// appendInstant appends a time with as many digits behind its second as it needs.
func appendInstant(dst []byte, t time.Time, utc bool) []byte {
	dst = t.UTC().AppendFormat(append(dst, '"'), "2006-01-02T15:04:05.999999999")
	if utc {
		dst = append(dst, 'Z')
	}
	return append(dst, '"')
}

// appendInt96 appends a time as Impala stores it: nanoseconds of a day, and the day's number in Julian days.
func appendInt96(dst []byte, v *value) []byte {
	const julian1970 = 2_440_588
	nanos := int64(binary.LittleEndian.Uint64(v.b))
	day := int64(int32(binary.LittleEndian.Uint32(v.b[8:]))) - julian1970
	return appendInstant(dst, time.Unix(day*secondsPerDay, nanos), false)
}

func timeWriter(unit int16) writer {
	per := perSecond(unit)
	if per == 0 {
		return nil
	}
	return func(dst []byte, v *value) []byte {
		days, seconds := floor(int64(v.n), per*secondsPerDay)
		at := time.Unix(0, seconds*(1e9/per)).UTC()
		if days == 1 && seconds == 0 {
			return append(dst, `"24:00:00"`...)
		}
		if days != 0 {
			return append(dst, "null"...) // no time of a day
		}
		return append(at.AppendFormat(append(dst, '"'), "15:04:05.999999999"), '"')
	}
}

// appendInterval appends months, days and milliseconds as a duration of ISO 8601.
func appendInterval(dst []byte, v *value) []byte {
	part := func(i int) int64 { return int64(binary.LittleEndian.Uint32(v.b[4*i:])) }
	dst = strconv.AppendInt(append(dst, `"P`...), part(0), 10)
	dst = strconv.AppendInt(append(dst, 'M'), part(1), 10)
	dst = append(dst, "DT"...)
	dst = appendPoint(dst, part(2), 3)
	return append(dst, `S"`...)
}
