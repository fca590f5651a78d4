package table

import (
	"bytes"
	"time"
)

// Instant is a point in time, in UTC.
type Instant struct {
	Sec  int64 // since 1970
	Nano int32
}

// Before reports whether a is earlier than b.
func (a Instant) Before(b Instant) bool {
	return a.Sec < b.Sec || a.Sec == b.Sec && a.Nano < b.Nano
}

// Text writes a date alone where every cell of its column is one.
func (a Instant) Text(dateOnly bool) string {
	t := time.Unix(a.Sec, int64(a.Nano)).UTC()
	if dateOnly {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339Nano)
}

// parseTime reads 2006-01-02 (or with slashes), alone or followed by T or a
// space, 15:04, seconds, a fraction of up to nine digits and a zone; without a
// zone it is taken as UTC. Orders that begin with the day or the month are
// ambiguous, so they stay text.
func parseTime(cell []byte) (Value, bool) {
	if len(cell) < 10 || len(cell) > 40 {
		return Value{}, false
	}
	sep := cell[4]
	if sep != '-' && sep != '/' || cell[7] != sep {
		return Value{}, false
	}
	year, ok1 := twoDigits(cell, 0)
	rest, ok2 := twoDigits(cell, 2)
	month, ok3 := twoDigits(cell, 5)
	day, ok4 := twoDigits(cell, 8)
	year = year*100 + rest
	if !ok1 || !ok2 || !ok3 || !ok4 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return Value{}, false
	}
	midnight := daysSince1970(year, month, day) * 86400
	if len(cell) == 10 {
		return Value{Kind: Date, Whole: midnight}, true
	}
	if c := cell[10]; c != 'T' && c != 't' && c != ' ' {
		return Value{}, false
	}
	sec, nano, ok := parseClock(cell[11:])
	if !ok {
		return Value{}, false
	}
	return Value{Kind: Timestamp, Whole: midnight + sec, Detail: nano}, true
}

// parseClock reads a time of day with its optional zone as seconds from UTC midnight.
func parseClock(b []byte) (sec int64, nano int32, ok bool) {
	if len(b) < 5 || b[2] != ':' {
		return 0, 0, false
	}
	hour, ok1 := twoDigits(b, 0)
	minute, ok2 := twoDigits(b, 3)
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, 0, false
	}
	sec = int64(hour)*3600 + int64(minute)*60
	b = b[5:]
	if len(b) > 0 && b[0] == ':' {
		if len(b) < 3 {
			return 0, 0, false
		}
		second, ok := twoDigits(b, 1)
		if !ok || second > 60 { // 60 is a leap second
			return 0, 0, false
		}
		sec += int64(second)
		b = b[3:]
		if len(b) > 0 && b[0] == '.' {
			i, scale := 1, int32(100_000_000)
			for ; i < len(b) && b[i]-'0' <= 9; i++ {
				nano += int32(b[i]-'0') * scale
				scale /= 10
			}
			if i == 1 || i > 10 {
				return 0, 0, false
			}
			b = b[i:]
		}
	}
	zone, ok := parseZone(bytes.TrimPrefix(b, []byte(" ")))
	return sec - zone, nano, ok
}

// parseZone reads Z, +02, +0200 or +02:00 as seconds east of UTC.
func parseZone(b []byte) (int64, bool) {
	if len(b) == 0 || string(b) == "Z" || string(b) == "z" || string(b) == "UTC" {
		return 0, true
	}
	if b[0] != '+' && b[0] != '-' || len(b) < 3 {
		return 0, false
	}
	hours, ok := twoDigits(b, 1)
	minutes := 0
	if rest := bytes.TrimPrefix(b[3:], []byte(":")); ok && len(b) > 3 {
		if len(rest) != 2 {
			return 0, false
		}
		minutes, ok = twoDigits(rest, 0)
	}
	if !ok || hours > 15 || minutes > 59 {
		return 0, false
	}
	east := int64(hours)*3600 + int64(minutes)*60
	if b[0] == '-' {
		east = -east
	}
	return east, true
}

func twoDigits(b []byte, i int) (int, bool) {
	hi, lo := b[i]-'0', b[i+1]-'0'
	return int(hi)*10 + int(lo), hi <= 9 && lo <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts in the proleptic Gregorian calendar. Years begin in
// March here, so that the leap day is a year's last.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	y, m := int64(year), int64(month)
	// Year 0 is a leap year whose January belongs to the year before: shifting
	// by one whole 400-year cycle keeps every division on positive numbers.
	y += 400
	days := y*365 + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + int64(day) - 1
	return days - 719468 - 146097
}
