package table

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// split reads all records with a Reader, and checks that each record's offset is where its text
// begins.
func split(src io.Reader, delimiter byte, limit int) (records [][]string, offsets []int64, bad bool, err error) {
	r := Resume(context.Background(), src, Dialect{Format: CSV, Delimiter: delimiter, Quotes: true}, 0, 0, Options{MaxRecordBytes: limit})
	r.in.buf = make([]byte, 7) // so that every record crosses a read
	for {
		at := r.Offset()
		fields, more, err := r.Record()
		if err != nil || !more {
			return records, offsets, bad, err
		}
		bad = bad || r.Misquoted()
		if len(fields) == 0 {
			continue
		}
		var record []string
		for _, f := range fields {
			record = append(record, string(f))
		}
		records, offsets = append(records, record), append(offsets, at)
	}
}

// standard reads what encoding/csv does, whose quoted fields have their line
// endings changed.
func standard(text string, delimiter byte) ([][]string, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comma = rune(delimiter)
	r.FieldsPerRecord = -1
	return r.ReadAll()
}

func sameRecords(got, want [][]string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if len(got[i]) != len(want[i]) {
			return false
		}
		for j := range got[i] {
			if strings.ReplaceAll(got[i][j], "\r\n", "\n") != want[i][j] {
				return false
			}
		}
	}
	return true
}

type fataler interface {
	Context() context.Context
	Helper()
	Fatalf(format string, args ...any)
}

// checkSplit holds the splitter to encoding/csv wherever that accepts the text,
// and to itself wherever it is resumed at the offset of a record.
func checkSplit(t fataler, text string, delimiter byte) {
	t.Helper()
	if strings.Contains(text, "\r\r") {
		return // encoding/csv takes all but the last for text
	}
	got, offsets, bad, err := split(strings.NewReader(text), delimiter, 1<<20)
	want, stdErr := standard(text, delimiter)
	if stdErr == nil {
		if err != nil || bad {
			t.Fatalf("%q: error %v, bad quotes %t, where encoding/csv has none", text, err, bad)
		}
		if !sameRecords(got, want) {
			t.Fatalf("%q:\n got %q\nwant %q", text, got, want)
		}
	} else if err == nil && !bad {
		t.Fatalf("%q: accepted as %q, encoding/csv says: %v", text, got, stdErr)
	}
	for i, at := range offsets {
		again, _, _, errAgain := split(strings.NewReader(text[at:]), delimiter, 1<<20)
		if (errAgain == nil) != (err == nil) || !equalRecords(again, got[i:]) {
			t.Fatalf("%q resumed at %d:\n got %q\nwant %q", text, at, again, got[i:])
		}
	}
}

func equalRecords(a, b [][]string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if strings.Join(a[i], "\x00") != strings.Join(b[i], "\x00") {
			return false
		}
	}
	return true
}

func TestSplitterReadsLikeEncodingCSV(t *testing.T) {
	pieces := []string{"a", "bc", "longer field text", ",", ",", ";", "\n", "\n", "\r\n", "\r", `"`, `""`, `"x,y"`, "\"two\nlines\"", `"say ""hi"""`, " ", "é"}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 40).Draw(t, "pieces"), "")
		checkSplit(t, text, rapid.SampledFrom([]byte(",;")).Draw(t, "delimiter"))
	})
}

func TestSplitterReadsWhatEncodingCSVWrites(t *testing.T) {
	field := rapid.StringOfN(rapid.SampledFrom([]rune("ab\",;\n é\t|'")), 0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		delimiter := rapid.SampledFrom(Delimiters).Draw(t, "delimiter")
		want := rapid.SliceOfN(rapid.SliceOfN(field, 2, 5), 1, 20).Draw(t, "records")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.Comma, w.UseCRLF = rune(delimiter), rapid.Bool().Draw(t, "crlf")
		if err := w.WriteAll(want); err != nil {
			t.Fatal(err)
		}
		got, _, bad, err := split(iotest.OneByteReader(&b), delimiter, 1<<20)
		if err != nil || bad || !sameRecords(got, want) {
			t.Fatalf("got %q (bad %t, error %v), want %q", got, bad, err, want)
		}
	})
}

func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "\"a\"\"b\",c\r\n", "a\"b,c", "\"open", "\"x\"y,z\n", "\r\n\r", ",,\n,,", "\"\"\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return // refused before the splitter sees it
		}
		checkSplit(t, text, ',')
	})
}

func TestSplitterGoesOnAfterBadQuotes(t *testing.T) {
	tests := []struct {
		text string
		want [][]string
	}{
		{"5\" pipe,x\ny,z\n", [][]string{{`5" pipe`, "x"}, {"y", "z"}}},
		{"\"ab\"cd,x\n1,2\n", [][]string{{"abcd", "x"}, {"1", "2"}}},
		{"\"a\"\"b\"c\"d,x\n", [][]string{{`a"bc"d`, "x"}}},
	}
	for _, tt := range tests {
		got, _, bad, err := split(strings.NewReader(tt.text), ',', 1<<20)
		if err != nil || !bad || !equalRecords(got, tt.want) {
			t.Errorf("%q = %q (bad %t, error %v), want %q", tt.text, got, bad, err, tt.want)
		}
	}
}

func TestOpenQuoteIsAnError(t *testing.T) {
	_, _, _, err := split(strings.NewReader("a,b\n1,2\nx,\"open\n1,2\n"), ',', 1<<20)
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("error %v, want one that wraps ErrRefused", err)
	}
	for _, part := range []string{"Record 3", "byte offset 8", "begins at byte offset 10"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestDetectDelimiter(t *testing.T) {
	tests := []struct {
		head string
		want byte
	}{
		{"a,b,c\n1;2;3;4", ','},
		{"a;b;c\n1,2;3,4", ';'},
		{"a\tb\n", '\t'},
		{"a|b|c", '|'},
		{"\"x,y,z\";b\n", ';'},
		{"one\n", ','},
		{"\n\r\na;b\n", ';'},
	}
	for _, tt := range tests {
		if d, _, err := sniff([]byte(tt.head), true, Options{}); err != nil || d.Delimiter != tt.want {
			t.Errorf("the delimiter of %q is %q, %v; want %q", tt.head, d.Delimiter, err, tt.want)
		}
	}
}
