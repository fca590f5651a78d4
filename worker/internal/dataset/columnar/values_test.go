package columnar

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// of is a column of a type with a parameter of its logical type.
func of(physical int32, logical int16, change ...func(e *element)) element {
	e := element{physical: physical, logical: logical, converted: -1}
	for _, f := range change {
		f(&e)
	}
	return e
}

func converted(c int32) func(e *element)       { return func(e *element) { e.converted = c } }
func scaled(n int32) func(e *element)          { return func(e *element) { e.scale = n } }
func long(n int32) func(e *element)            { return func(e *element) { e.length = n } }
func in(unit int16, utc bool) func(e *element) { return func(e *element) { e.unit, e.utc = unit, utc } }
func signed(e *element)                        { e.signed = true }
func num(n int64) value                        { return value{n: uint64(n)} }
func text(s string) value                      { return value{b: []byte(s)} }
func single(f float32) value                   { return num(int64(int32(math.Float32bits(f)))) }
func double(f float64) value                   { return value{n: math.Float64bits(f)} }
func float16(h uint16) value                   { return value{b: binary.LittleEndian.AppendUint16(nil, h)} }

func int96(nanos uint64, day uint32) value {
	return value{b: binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, nanos), day)}
}

func TestValuesAreExact(t *testing.T) {
	t.Parallel()
	year1 := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	deep := strings.Repeat("[", maxJSONDepth+1) + strings.Repeat("]", maxJSONDepth+1)
	brackets := `["` + strings.Repeat("[", maxJSONDepth+1) + `\"["]`
	for _, c := range []struct {
		column element
		value  value
		want   string
	}{
		{of(typeInt32, logicalInteger), num(-1), "4294967295"},
		{of(typeInt32, logicalInteger, signed), num(-1), "-1"},
		{of(typeInt64, logicalInteger), num(-1), "18446744073709551615"},
		{of(typeInt32, 0, converted(13)), num(-1), "4294967295"},
		{of(typeInt64, 0, converted(14)), num(-1), "18446744073709551615"},
		{of(typeInt32, 0, converted(15)), num(-128), "-128"},
		{of(typeFloat, 0), single(0.1), "0.1"},
		{of(typeFloat, 0), single(16777216), "16777216"},
		{of(typeFloat, 0), single(1e-7), "1e-07"},
		{of(typeFloat, 0), single(float32(math.Inf(1))), "null"},
		{of(typeDouble, 0), double(0.1), "0.1"},
		{of(typeDouble, 0), double(math.MaxFloat64), "1.7976931348623157e+308"},
		{of(typeDouble, 0), double(math.Copysign(0, -1)), "-0"},
		{of(typeDouble, 0), double(math.NaN()), "null"},
		{of(typeDouble, 0), double(math.Inf(-1)), "null"},
		{of(typeFixed, logicalFloat16, long(2)), float16(0x3C00), "1"},
		{of(typeFixed, logicalFloat16, long(2)), float16(0xC000), "-2"},
		{of(typeFixed, logicalFloat16, long(2)), float16(0x0001), "5.9604645e-08"},
		{of(typeFixed, logicalFloat16, long(2)), float16(0x7BFF), "65504"},
		{of(typeFixed, logicalFloat16, long(2)), float16(0xFC00), "null"},
		{of(typeFixed, logicalFloat16, long(2)), float16(0x7E00), "null"},

		{of(typeInt32, logicalDecimal, scaled(2)), num(-5), "-0.05"},
		{of(typeInt32, logicalDecimal, scaled(2)), num(0), "0.00"},
		{of(typeInt32, logicalDecimal, scaled(2)), num(100), "1.00"},
		{of(typeInt64, logicalDecimal, scaled(0)), num(math.MinInt64), "-9223372036854775808"},
		{of(typeInt64, 0, converted(convertedDecimal), scaled(18)), num(math.MinInt64), "-9.223372036854775808"},
		{of(typeFixed, logicalDecimal, scaled(1), long(3)), text("\xff\xff\xf6"), "-1.0"},
		{of(typeBytes, logicalDecimal, scaled(3)), text("\x01"), "0.001"},
		{of(typeBytes, logicalDecimal, scaled(3)), text("\x80\x00\x00\x00\x00\x00\x00\x00"), "-9223372036854775.808"},
		{of(typeBytes, logicalDecimal, scaled(3)), text("\xff\x80\x00\x00\x00\x00\x00\x00\x00"), "-9223372036854775.808"},
		{of(typeBytes, logicalDecimal, scaled(5)), text("\x01\x00\x00\x00\x00\x00\x00\x00\x00"), "184467440737095.51616"},
		{of(typeBytes, logicalDecimal), text(""), "null"},
		{of(typeBytes, logicalDecimal), text(strings.Repeat("\x01", 129)), `"\\x` + strings.Repeat("01", 129) + `"`},

		{of(typeInt32, logicalDate), num(0), `"1970-01-01"`},
		{of(typeInt32, logicalDate), num(-1), `"1969-12-31"`},
		{of(typeInt32, 0, converted(convertedDate)), num(11016), `"2000-02-29"`},
		{of(typeInt32, logicalDate), num(math.MaxInt32), `"5881580-07-11"`},
		{of(typeInt32, logicalTime, in(unitMillis, true)), num(86_399_999), `"23:59:59.999"`},
		{of(typeInt64, logicalTime, in(unitMicros, false)), num(1_500_000), `"00:00:01.5"`},
		{of(typeInt64, logicalTime, in(unitNanos, false)), num(1), `"00:00:00.000000001"`},
		{of(typeInt64, logicalTime, in(unitMicros, false)), num(86_400_000_000), `"24:00:00"`},
		{of(typeInt64, logicalTime, in(unitMicros, false)), num(86_400_000_001), "null"},
		{of(typeInt64, logicalTime, in(unitMicros, false)), num(-1), "null"},
		{of(typeInt32, 0, converted(convertedTimeMillis)), num(1), `"00:00:00.001"`},
		{of(typeInt64, 0, converted(convertedTimeMicros)), num(1), `"00:00:00.000001"`},
		{of(typeInt64, logicalTimestamp, in(unitMillis, true)), num(-1), `"1969-12-31T23:59:59.999Z"`},
		{of(typeInt64, logicalTimestamp, in(unitMicros, true)), num(1), `"1970-01-01T00:00:00.000001Z"`},
		{of(typeInt64, logicalTimestamp, in(unitMicros, false)), num(year1 * 1e6), `"0001-01-01T00:00:00"`},
		{of(typeInt64, logicalTimestamp, in(unitMillis, true)), num(math.MaxInt64), `"292278994-08-17T07:12:55.807Z"`},
		{of(typeInt64, logicalTimestamp, in(unitNanos, false)), num(math.MinInt64), `"1677-09-21T00:12:43.145224192"`},
		{of(typeInt64, 0, converted(convertedTimestampMillis)), num(1), `"1970-01-01T00:00:00.001Z"`},
		{of(typeInt64, 0, converted(convertedTimestampMicros)), num(1), `"1970-01-01T00:00:00.000001Z"`},
		{of(typeInt96, 0), int96(45_296_000_000_001, 2_440_589), `"1970-01-02T12:34:56.000000001"`},
		{of(typeInt96, 0), int96(0, 2_440_587), `"1969-12-31T00:00:00"`},
		{of(typeFixed, 0, converted(convertedInterval), long(12)), text("\x0e\x00\x00\x00\x03\x00\x00\x00\xa5\x0f\x00\x00"), `"P14M3DT4.005S"`},

		{of(typeBytes, logicalString), text("a\xff\xc3é\"\\\x00\t\x7f"), "\"a\ufffd\ufffdé\\\"\\\\\\u0000\\t\x7f\""},
		{of(typeBytes, 0, converted(convertedUTF8)), text(`\x00`), `"\\x00"`},
		{of(typeBytes, logicalEnum), text("A"), `"A"`},
		{of(typeBytes, logicalJSON), text(" {\"a\":\r\n 1.0} "), "{\"a\":   1.0}"},
		{of(typeBytes, 0, converted(convertedJSON)), text(`[1]`), `[1]`},
		{of(typeBytes, logicalJSON), text(`{"a"`), `"{\"a\""`},
		{of(typeBytes, logicalJSON), text(""), `""`},
		{of(typeBytes, logicalJSON), text("\"\xff\""), "\"\\\"\ufffd\\\"\""},
		{of(typeBytes, logicalJSON), text(deep), `"` + deep + `"`},
		{of(typeBytes, logicalJSON), text(brackets), brackets},
		{of(typeBytes, 0), text("Zoë\tand\r\n"), `"Zoë\tand\r\n"`},
		{of(typeBytes, 0), text(`\x41`), `"\\x5c783431"`},
		{of(typeBytes, 0), text("a\x00"), `"\\x6100"`},
		{of(typeBytes, 0), text("a\x7f"), `"\\x617f"`},
		{of(typeFixed, 0, long(2)), text("\xff\xfe"), `"\\xfffe"`},
		{of(typeBytes, 13), text("\x05\x00\x00\x00\x00"), `"\\x0500000000"`},
		{of(typeFixed, logicalUUID, long(16)), text("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"), `"01234567-89ab-cdef-0123-456789abcdef"`},
		{of(typeBoolean, 0), num(1), "true"},
	} {
		got := string(writerOf(&c.column)(nil, &c.value))
		if got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("%+v of %x, %q is %.300s, want %.300s", c.column, c.value.n, c.value.b, got, c.want)
		}
	}
	for _, e := range []element{of(8, 0), of(typeInt32, logicalDecimal, scaled(-1)), of(typeInt64, logicalDecimal, scaled(maxScale+1)), of(typeInt64, logicalTimestamp), of(typeDouble, logicalDecimal), of(typeFixed, logicalDecimal, long(129))} {
		if writerOf(&e) != nil {
			t.Errorf("%+v is written", e)
		}
	}
}

func TestPackedBitsAreCut(t *testing.T) {
	t.Parallel()
	b := []byte{0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10, 0xAB, 0xCD}
	for at := range 8 * len(b) {
		for width := uint(1); width <= 64 && at+int(width) <= 8*len(b); width++ {
			want := uint64(0)
			for i := range int(width) {
				want |= uint64(b[(at+i)/8]>>((at+i)%8)&1) << i
			}
			if got := packedBits(b, at, width); got != want {
				t.Fatalf("%d bits from %d are %x, want %x", width, at, got, want)
			}
		}
	}
}
