package columnar

import (
	"encoding/binary"
	"math"
	"strconv"
)

// The fields of LogicalType in parquet.thrift, and of TimeUnit.
const (
	logicalString    = 1
	logicalEnum      = 4
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTime      = 7
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalJSON      = 12
	logicalUUID      = 14
	logicalFloat16   = 15

	unitMillis = 1
	unitMicros = 2
	unitNanos  = 3
)

// ConvertedType of parquet.thrift, in files of older writers.
const (
	convertedUTF8            = 0
	convertedEnum            = 4
	convertedDecimal         = 5
	convertedDate            = 6
	convertedTimeMillis      = 7
	convertedTimeMicros      = 8
	convertedTimestampMillis = 9
	convertedTimestampMicros = 10
	convertedUint8           = 11
	convertedUint64          = 14
	convertedJSON            = 19
	convertedInterval        = 21
)

// A writer appends a value as JSON.
type writer func(dst []byte, v *value) []byte

// writerOf is how the values of a column are written; nil: its type is none that is known, or does not go
// together with how values are stored.
func writerOf(e *element) writer {
	logical, unit, utc, signed := e.logical, e.unit, e.utc, e.signed
	if logical == 0 {
		logical, unit, utc = e.convert()
	}
	bytes := e.physical == typeBytes || e.physical == typeFixed
	switch {
	case logical == logicalDecimal:
		return decimalWriter(e)
	case logical == logicalDate && e.physical == typeInt32:
		return appendDate
	case logical == logicalTime && (e.physical == typeInt32 || e.physical == typeInt64):
		return timeWriter(unit)
	case logical == logicalTimestamp && e.physical == typeInt64:
		return timestampWriter(unit, utc)
	case logical == logicalInteger && !signed && e.physical == typeInt32:
		return func(dst []byte, v *value) []byte { return strconv.AppendUint(dst, uint64(uint32(v.n)), 10) }
	case logical == logicalInteger && !signed && e.physical == typeInt64:
		return func(dst []byte, v *value) []byte { return strconv.AppendUint(dst, v.n, 10) }
	case (logical == logicalString || logical == logicalEnum) && bytes:
		return func(dst []byte, v *value) []byte { return appendString(dst, v.b) }
	case logical == logicalJSON && bytes:
		return func(dst []byte, v *value) []byte { return appendJSON(dst, v.b) }
	case logical == logicalUUID && e.physical == typeFixed && e.length == 16:
		return appendUUID
	case logical == logicalFloat16 && e.physical == typeFixed && e.length == 2:
		return func(dst []byte, v *value) []byte { return appendFloat(dst, half(binary.LittleEndian.Uint16(v.b)), 32) }
	case e.logical == 0 && e.converted == convertedInterval && e.physical == typeFixed && e.length == 12:
		return appendInterval
	}
	return plainWriter(e.physical)
}

// plainWriter is for columns that have no type but how they are stored, or one that changes nothing.
func plainWriter(physical int32) writer {
	switch physical {
	case typeBoolean:
		return func(dst []byte, v *value) []byte { return strconv.AppendBool(dst, v.n != 0) }
	case typeInt32, typeInt64:
		return func(dst []byte, v *value) []byte { return strconv.AppendInt(dst, int64(v.n), 10) }
	case typeInt96:
		return appendInt96
	case typeFloat:
		return func(dst []byte, v *value) []byte {
			return appendFloat(dst, float64(math.Float32frombits(uint32(v.n))), 32)
		}
	case typeDouble:
		return func(dst []byte, v *value) []byte { return appendFloat(dst, math.Float64frombits(v.n), 64) }
	case typeBytes, typeFixed:
		return func(dst []byte, v *value) []byte { return appendBytes(dst, v.b) }
	}
	return nil
}

// convert is the logical type of a converted one.
func (e *element) convert() (logical, unit int16, utc bool) {
	switch c := e.converted; c {
	case convertedUTF8:
		return logicalString, 0, false
	case convertedEnum:
		return logicalEnum, 0, false
	case convertedDecimal:
		return logicalDecimal, 0, false
	case convertedDate:
		return logicalDate, 0, false
	case convertedTimeMillis, convertedTimeMicros:
		return logicalTime, int16(c-convertedTimeMillis) + unitMillis, true
	case convertedTimestampMillis, convertedTimestampMicros:
		return logicalTimestamp, int16(c-convertedTimestampMillis) + unitMillis, true
	case convertedJSON:
		return logicalJSON, 0, false
	default:
		if c >= convertedUint8 && c <= convertedUint64 {
			return logicalInteger, 0, false
		}
		return 0, 0, false
	}
}
