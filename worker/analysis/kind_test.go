package analysis

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		cell string
		want kind
	}{
		{"", kindNull},
		{"   ", kindNull},
		{"NULL", kindNull},
		{`\N`, kindNull},
		{"N/A", kindNull},
		{"NA", kindText}, // Namibia
		{"true", kindBool},
		{"FALSE", kindBool},
		{"truth", kindText},
		{"0", kindInteger},
		{"-17", kindInteger},
		{"+17", kindInteger},
		{" 42 ", kindInteger},
		{"9223372036854775807", kindInteger},
		{"9223372036854775808", kindNumber},
		{"007", kindText}, // an identifier
		{"-07", kindText},
		{"0.5", kindNumber},
		{".5", kindNumber},
		{"5.", kindNumber},
		{"1e3", kindNumber},
		{"1E-3", kindNumber},
		{"1e999", kindText},
		{"1e", kindText},
		{"1e+", kindText},
		{"1.2.3", kindText},
		{"1,5", kindText},
		{"-", kindText},
		{".", kindText},
		{"0x1F", kindText},
		{"1_000", kindText},
		{"NaN", kindText},
		{"Inf", kindText},
		{"2024-02-29", kindDate},
		{"2023-02-29", kindText},
		{"2024/12/31", kindDate},
		{"2024-12/31", kindText},
		{"2024-13-01", kindText},
		{"2024-12-31T23:59", kindTimestamp},
		{"2024-12-31 23:59:60.123456789+02:00", kindTimestamp},
		{"2024-12-31T23:59:59Z", kindTimestamp},
		{"2024-12-31T23:59:59-0330", kindTimestamp},
		{"2024-12-31T24:00:00Z", kindText},
		{"2024-12-31T", kindText},
		{"2024-12-31T10:00:", kindText},
		{"2024-12-31T10:00:00.Z", kindText},
		{"2024-12-31T10:00+2", kindText},
		{"31.12.2024", kindText},
		{"Grüße", kindText},
	}
	for _, tt := range tests {
		if got := classify([]byte(tt.cell)); got.kind != tt.want {
			t.Errorf("classify(%q) = kind %d, want %d", tt.cell, got.kind, tt.want)
		}
	}
}

func TestNumbersAreReadLikeStrconv(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[+-]?([0-9]{1,22}|[0-9]{0,20}\.[0-9]{1,22})([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		got, ok := parseNumber([]byte(s))
		want, err := strconv.ParseFloat(s, 64)
		if ok != (err == nil) {
			t.Fatalf("parseNumber(%q) ok = %t, strconv says %v", s, ok, err)
		}
		if ok && math.Float64bits(got.num) != math.Float64bits(want) && want != 0 {
			t.Fatalf("parseNumber(%q) = %v, want %v", s, got.num, want)
		}
		if whole, err := strconv.ParseInt(s, 10, 64); err == nil && (got.kind != kindInteger || got.whole != whole) {
			t.Fatalf("parseNumber(%q) = kind %d, %d; want the integer %d", s, got.kind, got.whole, whole)
		}
	})
}

func TestTimesAreReadLikeTimeParse(t *testing.T) {
	layouts := []string{
		time.DateOnly, "2006/01/02", time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04",
		"2006-01-02 15:04:05.999999999 -0700", "2006-01-02T15:04:05Z07",
	}
	first := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "zone"))
		sec := rapid.Int64Range(first+86400, last-86400).Draw(t, "sec")
		at := time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, "nano")).In(zone)
		layout := rapid.SampledFrom(layouts).Draw(t, "layout")
		text := at.Format(layout)
		want, err := time.Parse(layout, text)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := parseTime([]byte(text))
		if !ok || got.whole != want.Unix() || int(got.nano) != want.Nanosecond() {
			t.Fatalf("parseTime(%q) = %+v, %t; want %d s and %d ns", text, got, ok, want.Unix(), want.Nanosecond())
		}
	})
}

func TestEveryDayHasItsNumber(t *testing.T) {
	day := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	want := day.Unix() / 86400
	for ; day.Year() < 2400; day = day.AddDate(0, 0, 1) {
		y, m, d := day.Date()
		if got := daysSince1970(y, int(m), d); got != want {
			t.Fatalf("daysSince1970(%s) = %d, want %d", fmt.Sprint(y, m, d), got, want)
		}
		want++
	}
}
