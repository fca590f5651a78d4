package workbook

import (
	"strconv"
	"testing"
)

func TestFormatsOfTime(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]shown{
		"General": 0, "0.00E+00": 0, `#,##0.00 "days"`: 0, `0\d`: 0, "[Red]0;[Blue]-0": 0, "@": 0, "": 0, `0;"d"d`: 0, "_d0*y": 0, "[$-407]0": 0, "0.00e-00": 0,
		"yyyy-mm-dd": day, "m/d/yy": day, "mmm": day, "d-mmm;@": day, "[$-409]mmmm\\ yy": day, "ggge": day, `d "h"`: day, "bbbb": day, "mm": day, "aaa": day, "AAAA": day, "aa": 0, "0 g": 0,
		"hh:mm": clock, "mm:ss": clock, "mm:ss.0": clock, "h AM/PM": clock, "h a/p": clock, "s": clock, "hh:mm:ss": clock, "h\\:m": clock,
		"d/m/yyyy h:mm": day | clock, "hh:mm dd.mm.": day | clock, "m/d h:mm:ss AM/PM": day | clock, "ss m/d": day | clock, "h d m": day | clock,
		"[h]:mm:ss": span | clock, "[mm]:ss": span | clock, "[SS]": span, "[hm]": 0,
	} {
		if got := shows(code); got != want {
			t.Errorf("%q shows %b, want %b", code, got, want)
		}
	}
	for id, want := range map[int]shown{0: 0, 13: 0, 14: day, 17: day, 18: clock, 21: clock, 22: day | clock, 23: 0, 27: day, 32: clock, 36: day, 37: 0, 45: clock, 46: span, 47: clock, 48: 0, 49: 0, 50: day, 58: day, 59: 0} {
		if got := builtIn(id); got != want {
			t.Errorf("format %d shows %b, want %b", id, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value string
		s     shown
		since bool
		want  string
	}{
		{"1", day, false, "1900-01-01"},
		{"59", day, false, "1900-02-28"},
		{"60", day, false, "1900-02-29"}, // Excel's
		{"61", day, false, "1900-03-01"},
		{"2958465", day, false, "9999-12-31"},
		{"2958465.9999999999", day, false, "2958466"},
		{"2958466", day, false, "2958466"},
		{"-1", day, false, "-1"},
		{"0", day, false, "0"},
		{"0", day | clock, false, "0"},
		{"0", clock, false, "00:00:00"},
		{"0.25", day, false, "06:00:00"},
		{"0.25", clock, false, "06:00:00"},
		{"0.25", day | clock, true, "1904-01-01T06:00:00"},
		{"0", day, true, "1904-01-01"},
		{"43889", day, true, "2024-02-29"},
		{"2957004", day, true, "2957004"},
		{"45351.25", day, false, "2024-02-29T06:00:00"},
		{"45351", day | clock, false, "2024-02-29T00:00:00"},
		{"45351.000000012", day | clock, false, "2024-02-29T00:00:00.001"},
		{"45351.00000578704", day | clock, false, "2024-02-29T00:00:00.5"},
		{"45351.99999999999", day | clock, false, "2024-03-01T00:00:00"},
		{"1.5", clock, false, "1900-01-01T12:00:00"},
		{"1.5", span, false, "36:00:00"},
		{"100", span | clock, false, "2400:00:00"},
		{"4.5351E4", day, false, "2024-02-29"},
		{"NaN", day, false, "NaN"},
		{"Inf", day, false, "Inf"},
		{"x", day, false, "x"},
	} {
		if got := string(appendNumber(nil, []byte(tt.value), tt.s, tt.since)); got != tt.want {
			t.Errorf("%s as %b is %s, want %s", tt.value, tt.s, got, tt.want)
		}
	}
}

func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0.1", "1.1000000000000001", "1E+21", "-0", "1e-7", "1e999", "0x1p3", "1_0", "", ".", "123456789.12345678"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := string(appendNumber(nil, []byte(text), 0, false))
		want, err := strconv.ParseFloat(text, 64)
		if n, again := strconv.ParseFloat(got, 64); err == nil && want == want && (again != nil || n != want || len(got) > 400+len(text)) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
