package table

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
		want Kind
	}{
		{"", Null},
		{"   ", Null},
		{"NULL", Null},
		{`\N`, Null},
		{"N/A", Null},
		{"NA", Placeholder}, // or Namibia
		{" NaN ", Placeholder},
		{"#DIV/0!", Placeholder},
		{"–", Placeholder},
		{"Nantes", Text},
		{"true", Bool},
		{"FALSE", Bool},
		{"truth", Text},
		{"0", Integer},
		{"-17", Integer},
		{"+17", Integer},
		{" 42 ", Integer},
		{"9223372036854775807", Integer},
		{"9223372036854775808", Number},
		{"007", Code},
		{"00000000000000000000000000007", Code},
		{"+4930123456", Code},
		{"+49301234567890123456789", Code},
		{"-07", Text},
		{"0.5", Number},
		{".5", Number},
		{"5.", Number},
		{"1e3", Number},
		{"1E-3", Number},
		{"1e999", Text},
		{"1e", Text},
		{"1e+", Text},
		{"1.2.3", Text},
		{"1,5", Dressed},
		{"-", Placeholder},
		{".", Placeholder},
		{"0x1F", Text},
		{"1_000", Text},
		{"NaN", Placeholder},
		{"Inf", Text},
		{"2024-02-29", Date},
		{"2023-02-29", Text},
		{"2024/12/31", Date},
		{"2024-12/31", Text},
		{"2024-13-01", Text},
		{"2024-12-31T23:59", Timestamp},
		{"2024-12-31 23:59:60.123456789+02:00", Timestamp},
		{"2024-12-31T23:59:59Z", Timestamp},
		{"2024-12-31T23:59:59-0330", Timestamp},
		{"2024-12-31T24:00:00Z", Text},
		{"2024-12-31T", Text},
		{"2024-12-31T10:00:", Text},
		{"2024-12-31T10:00:00.Z", Text},
		{"2024-12-31T10:00+2", Text},
		{"31.12.2024", Text},
		{"Grüße", Text},
	}
	for _, tt := range tests {
		if got := Classify([]byte(tt.cell)); got.Kind != tt.want {
			t.Errorf("Classify(%q) = kind %d, want %d", tt.cell, got.Kind, tt.want)
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
		if ok && math.Float64bits(got.Num) != math.Float64bits(want) && want != 0 {
			t.Fatalf("parseNumber(%q) = %v, want %v", s, got.Num, want)
		}
		if whole, err := strconv.ParseInt(s, 10, 64); err == nil && (got.Kind != Integer || got.Whole != whole) {
			t.Fatalf("parseNumber(%q) = kind %d, %d; want the integer %d", s, got.Kind, got.Whole, whole)
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
		if !ok || got.Whole != want.Unix() || int(got.Detail) != want.Nanosecond() {
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
