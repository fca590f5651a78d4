package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// The OIDs of the types that are more than their text.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidOID         = 26
	oidJSON        = 114
	oidFloat4      = 700
	oidFloat8      = 701
	oidDate        = 1082
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidJSONB       = 3802
)

func kind(oid uint32) rows.Kind {
	switch oid {
	case oidBool:
		return rows.Bool
	case oidInt2, oidInt4, oidInt8, oidOID:
		return rows.Int
	case oidFloat4, oidFloat8:
		return rows.Float
	case oidNumeric:
		return rows.Decimal
	case oidDate:
		return rows.Date
	case oidTimestamp, oidTimestamptz:
		return rows.Timestamp
	case oidBytea:
		return rows.Bytes
	case oidJSON, oidJSONB:
		return rows.JSON
	}
	return rows.Text
}

// form is how values of the type are sent: 1 in binary, which the server need not print, else 0.
// A float4 is text, whose digits are those that people read: 0.1, and not 0.10000000149011612.
func form(oid uint32) int16 {
	switch oid {
	case oidBool, oidInt2, oidInt4, oidInt8, oidOID, oidFloat8, oidDate, oidTimestamp, oidTimestamptz, oidBytea:
		return 1
	}
	return 0
}

// keyType is the type of a parameter that is compared with a column: its own where it is sent in binary,
// else what the server finds for a text.
func keyType(oid uint32) uint32 {
	if form(oid) == 1 {
		return oid
	}
	return 0
}

// Postgres counts from 2000-01-01, rows from 1970-01-01.
const (
	epochDays   = 10957
	epochMicros = epochDays * 86_400_000_000
)

// value reads a value of a type; unfit says what it holds where its kind has no such value.
func value(oid uint32, data []byte) (v rows.Value, unfit string) {
	v.Kind = kind(oid)
	var size int
	switch oid {
	case oidBool:
		size = 1
	case oidInt2:
		size = 2
	case oidInt4, oidOID, oidDate:
		size = 4
	case oidInt8, oidFloat8, oidTimestamp, oidTimestamptz:
		size = 8
	}
	if size > 0 && len(data) != size {
		return v, "a value of another length"
	}
	switch oid {
	case oidBool:
		v.Int = int64(data[0])
	case oidInt2:
		v.Int = int64(int16(binary.BigEndian.Uint16(data)))
	case oidInt4:
		v.Int = int64(int32(binary.BigEndian.Uint32(data)))
	case oidOID:
		v.Int = int64(binary.BigEndian.Uint32(data))
	case oidInt8:
		v.Int = int64(binary.BigEndian.Uint64(data))
	case oidFloat8:
		v.Float = math.Float64frombits(binary.BigEndian.Uint64(data))
	case oidFloat4:
		f, err := strconv.ParseFloat(string(data), 64)
		if err != nil {
			return v, "a value that is no number"
		}
		v.Float = f
	case oidDate:
		days := int32(binary.BigEndian.Uint32(data))
		if days == math.MaxInt32 || days == math.MinInt32 {
			return v, "infinity"
		}
		v.Int = int64(days) + epochDays
	case oidTimestamp, oidTimestamptz:
		micros := int64(binary.BigEndian.Uint64(data))
		if micros == math.MaxInt64 || micros == math.MinInt64 {
			return v, "infinity"
		}
		if micros > math.MaxInt64-epochMicros {
			return v, "a time after the year 294246"
		}
		v.Int = micros + epochMicros
	case oidNumeric:
		if len(data) == 0 || data[len(data)-1]-'0' > 9 { // NaN, Infinity
			return v, "NaN or infinity"
		}
		v.Data = data
	default:
		v.Data = data
	}
	return v, ""
}

// text reports whether the kind's data is text, which must be UTF-8.
func text(k rows.Kind) bool { return k == rows.Text || k == rows.JSON }

func validText(v rows.Value) bool { return !text(v.Kind) || utf8.Valid(v.Data) }

// show is a value for people.
func show(oid uint32, data []byte) string {
	v, unfit := value(oid, data)
	switch {
	case unfit != "":
		return unfit
	case v.Kind == rows.Int, v.Kind == rows.Bool:
		return strconv.FormatInt(v.Int, 10)
	case oid == oidFloat8:
		return strconv.FormatFloat(v.Float, 'g', -1, 64)
	case v.Kind == rows.Date:
		return time.Unix(v.Int*86400, 0).UTC().Format(time.DateOnly)
	case v.Kind == rows.Timestamp:
		return time.UnixMicro(v.Int).UTC().Format(time.RFC3339Nano)
	case v.Kind == rows.Bytes:
		return hex.EncodeToString(data)
	}
	return string(data)
}
