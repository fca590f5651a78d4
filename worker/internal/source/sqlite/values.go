package sqlite

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// kindOf is the kind of a column by its declared type, as SQLite finds the column's affinity
// (https://www.sqlite.org/datatype3.html, 3.1), and known: ok is false for an expression, which declares none.
// SQLite has no dates: a column that is called one holds texts or numbers, and is given as their text.
func kindOf(declared string) (k rows.Kind, ok bool) {
	d := strings.ToUpper(declared)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(d, w) {
				return true
			}
		}
		return false
	}
	switch {
	case d == "":
		return rows.Text, false
	case has("INT"):
		return rows.Int, true
	case has("CHAR", "CLOB", "TEXT"):
		return rows.Text, true
	case has("BLOB"):
		return rows.Bytes, true
	case has("REAL", "FLOA", "DOUB"): //nolint:misspell // SQLite looks for these letters
		return rows.Float, true
	case has("BOOL"):
		return rows.Bool, true
	case has("DEC", "NUM"):
		return rows.Decimal, true
	}
	return rows.Text, true
}

// kindOfAll is the kind of an expression of whose values least and most are the first and the last
// typeof by the alphabet: theirs if all have one.
func kindOfAll(least, most driver.Value) rows.Kind {
	if least != most {
		return rows.Text
	}
	switch least {
	case "integer":
		return rows.Int
	case "real":
		return rows.Float
	case "blob":
		return rows.Bytes
	}
	return rows.Text
}

// value reads a value of a column's kind into buf; unfit says what it holds where its kind has no such
// value.
func value(k rows.Kind, from driver.Value, buf []byte) (v rows.Value, rest []byte, unfit string) {
	v.Kind = k
	switch x := from.(type) {
	case nil:
		return rows.Value{}, buf, ""
	case int64:
		switch k {
		case rows.Int:
			v.Int = x
		case rows.Bool:
			if x != 0 && x != 1 {
				return v, buf, "a number other than 0 and 1"
			}
			v.Int = x
		case rows.Float:
			v.Float = float64(x)
			if x > 1<<53 || x < -1<<53 {
				return v, buf, "an integer that a float does not hold"
			}
		case rows.Decimal:
			start := len(buf)
			buf = strconv.AppendInt(buf, x, 10)
			v.Data = buf[start:]
		default:
			return v, buf, "an integer"
		}
	case float64:
		switch {
		case k == rows.Float:
			v.Float = x
		case k == rows.Decimal && !math.IsInf(x, 0):
			start := len(buf)
			buf = strconv.AppendFloat(buf, x, 'f', -1, 64)
			v.Data = buf[start:]
		default:
			return v, buf, "a number with a fraction, or infinity"
		}
	case string:
		start := len(buf)
		buf = append(buf, x...)
		v.Data = buf[start:]
		switch {
		case k == rows.Text && !utf8.Valid(v.Data):
			return v, buf, "what is not UTF-8"
		case k == rows.Decimal && !decimal(v.Data):
			return v, buf, "a text that is no number"
		case k != rows.Text && k != rows.Decimal && k != rows.Bytes:
			return v, buf, "a text"
		}
	case []byte:
		if k != rows.Bytes {
			return v, buf, "a blob"
		}
		v.Data = x
	default:
		return v, buf, "a value of an unknown type"
	}
	return v, buf, ""
}

// decimal reports whether b is [-]digits[.digits].
func decimal(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("-"))
	whole, fraction, dotted := bytes.Cut(b, []byte("."))
	return digits(whole) && (!dotted || digits(fraction))
}

func digits(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 {
			return false
		}
	}
	return len(b) > 0
}

// A key's column in a position is a letter for its type in SQLite and its value: a comparison with a
// value of another type would answer something else.
func encode(from driver.Value) ([]byte, bool) {
	switch x := from.(type) {
	case int64:
		return binary.BigEndian.AppendUint64([]byte("i"), uint64(x)), true
	case float64:
		return binary.BigEndian.AppendUint64([]byte("r"), math.Float64bits(x)), true
	case string:
		return append([]byte("t"), x...), true
	case []byte:
		return append([]byte("b"), x...), true
	}
	return nil, false // NULL
}

func decode(b []byte) (driver.Value, bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch kind, b := b[0], b[1:]; {
	case kind == 'i' && len(b) == 8:
		return int64(binary.BigEndian.Uint64(b)), true
	case kind == 'r' && len(b) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), true
	case kind == 't':
		return string(b), true
	case kind == 'b':
		return b, true
	}
	return nil, false
}

// show is a part of a key for people.
func show(part []byte) string {
	switch v, _ := decode(part); v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return v
	case []byte:
		return hex.EncodeToString(v)
	}
	return ""
}
