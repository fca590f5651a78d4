package analysis

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/internal/option"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it anew); got:\n%s", path, got)
	}
}

func analyze(t *testing.T, text string, p Payload) *Profile {
	t.Helper()
	got, err := Analyze(t.Context(), strings.NewReader(text), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestProfileAndTableOfSmallFiles(t *testing.T) {
	for _, name := range []string{"orders.csv", "events.ndjson"} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			p, err := Analyze(t.Context(), iotest.HalfReader(f), Payload{}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			text, err := p.encode()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", text)
			var table bytes.Buffer
			if err := p.WriteText(&table); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", table.Bytes())
		})
	}
}

func TestColumnTypes(t *testing.T) {
	tests := []struct {
		name, cells, want string
	}{
		{"integers", "1 2 -3", "integer"},
		{"integers among numbers", "1 2.5", "number"},
		{"dates among timestamps", "2025-01-01 2025-01-01T10:00Z", "timestamp"},
		{"dates", "2025-01-01 2025-01-02", "date"},
		{"numbers and text", "1 x", "mixed"},
		{"integers and dates", "1 2025-01-01", "mixed"},
		{"booleans", "true False", "boolean"},
		{"nothing", "NULL NULL", "null"},
		{"nulls among integers", "NULL 7", "integer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := analyze(t, "c\n"+strings.ReplaceAll(tt.cells, " ", "\n")+"\n", Payload{})
			if got := p.Columns[0].Type; got != tt.want {
				t.Errorf("type %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRaggedRowsAreCountedNotRefused(t *testing.T) {
	p := analyze(t, "a,b,c\n1,2,3\n1,2\n\n1,2,3,4\n1,2,3\n", Payload{})
	if p.Rows != 4 || p.Ragged != 2 || len(p.Columns) != 3 || p.Columns[2].Nulls != 1 {
		t.Errorf("rows %d, ragged %d, columns %d, nulls of c %d; want 4, 2, 3, 1", p.Rows, p.Ragged, len(p.Columns), p.Columns[2].Nulls)
	}
}

func TestColumnNames(t *testing.T) {
	tests := []struct {
		text string
		p    Payload
		want string
		rows int64
	}{
		{"\xef\xbb\xbfa, b ,,a,a_2\n", Payload{}, "a b column_3 a_2 a_2_2", 0},
		{"\xef\xbb\xbf\n1,2\n3,4\n", Payload{NoHeader: true}, "column_1 column_2", 2},
		{"a;b\n1,5;2\n", Payload{}, "a b", 1},
		{"a,b;c\n", Payload{Delimiter: ";"}, "a,b c", 0},
		{"{\"a\":1}\n{\"b\":2,\"\\u0061\":3}\n", Payload{}, "a b", 2},
		{"{\"a\":1}\n", Payload{Name: "x.csv"}, `{"a":1}`, 0},
	}
	for _, tt := range tests {
		p := analyze(t, tt.text, tt.p)
		var names []string
		for _, c := range p.Columns {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); got != tt.want || p.Rows != tt.rows {
			t.Errorf("%q: columns %q, %d rows; want %q, %d", tt.text, got, p.Rows, tt.want, tt.rows)
		}
	}
}

func TestNDJSONValues(t *testing.T) {
	p := analyze(t, `{"v": 5, "s": "5", "n": null, "t": "2025-01-01T00:00:00Z", "o": {"v": [1]}, "a": [{}], "b": true, "e": ""}
{"v": 5.5, "s": "\u00e9\ud83d\ude00\n", "v": "twice"}
[1]
{"v": 5}
{"v":`, Payload{})
	want := map[string]struct {
		kind  string
		nulls int64
	}{
		"v": {"number", 0}, "s": {"string", 1}, "n": {"null", 3}, "t": {"timestamp", 2},
		"o": {"object", 2}, "a": {"array", 2}, "b": {"boolean", 2}, "e": {"string", 2},
	}
	if p.Rows != 3 || p.Malformed != 2 || len(p.Columns) != len(want) {
		t.Errorf("rows %d, malformed %d, columns %d; want 3, 2, %d", p.Rows, p.Malformed, len(p.Columns), len(want))
	}
	for _, c := range p.Columns {
		if w := want[c.Name]; c.Type != w.kind || c.Nulls != w.nulls {
			t.Errorf("column %s: %s, %d nulls; want %s, %d", c.Name, c.Type, c.Nulls, w.kind, w.nulls)
		}
	}
	if s := p.Columns[1].Text; s.Max != "é😀\n" {
		t.Errorf("unescaped text %q", s.Max)
	}
}

func TestIntegersBeyondFloatPrecisionKeepTheirRange(t *testing.T) {
	p := analyze(t, "id\n9007199254740993\n-9223372036854775808\n", Payload{})
	if n := p.Columns[0].Number; n.Min != "-9223372036854775808" || n.Max != "9007199254740993" {
		t.Errorf("range %s to %s", n.Min, n.Max)
	}
}

// 1e9 apart from the mean, the naive sum of squares has lost every digit.
func TestStddevIsStable(t *testing.T) {
	p := analyze(t, "v\n"+strings.Repeat("1000000004\n1000000007\n1000000013\n1000000016\n", 1000), Payload{})
	n := p.Columns[0].Number
	if math.Abs(n.Mean-1000000010) > 1e-5 || math.Abs(n.Stddev-math.Sqrt(22.5)) > 1e-6 {
		t.Errorf("mean %v, stddev %v; want 1000000010 and √22.5", n.Mean, n.Stddev)
	}
}

func TestHugeNumbersStayJSON(t *testing.T) {
	p := analyze(t, "v\n1e308\n-1e308\n1.7e308\n-0.0\n", Payload{})
	if _, err := p.encode(); err != nil {
		t.Fatal(err)
	}
}

func zipped(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(orders(100 << 10)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestErrorsAreSentencesAboutTheFile(t *testing.T) {
	entry := func(name string) string { // of a zip archive
		return "PK\x03\x04" + strings.Repeat("\x00", 22) + string([]byte{byte(len(name)), 0, 0, 0}) + name
	}
	tests := []struct {
		name, text string
		payload    Payload
		want       []string
	}{
		{"empty", "", Payload{}, []string{"This file is empty."}},
		{"blank lines", "\n\r\n\n", Payload{}, []string{"only blank lines"}},
		{"blank lines behind a mark", "\xef\xbb\xbf\n", Payload{}, []string{"only blank lines"}},
		{"PNG", "\x89PNG\x0D\x0A\x1A\x0A\x00\x00\x00\rIHDR", Payload{}, []string{"This is an image.", "CSV, NDJSON"}},
		{"zip", "PK\x03\x04\x14\x00\x08\x00data", Payload{}, []string{"This is a zip archive. Unpack it"}},
		{"xlsx", entry("[Content_Types].xml"), Payload{Name: "a.csv"}, []string{"This is an Excel workbook. Save the sheet as CSV"}},
		{"xls", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", Payload{}, []string{"Excel workbook", "Save the sheet as CSV"}},
		{"Word", entry("word/document.xml"), Payload{}, []string{"This is a Word document."}},
		{"ODS", entry("mimetype") + "application/vnd.oasis.opendocument.spreadsheet", Payload{}, []string{"OpenDocument sheet"}},
		{"gzip", zipped(t), Payload{}, []string{"gzip", "Unpack it"}},
		{"Parquet", "PAR1\x15\x04\x15\x10", Payload{}, []string{"This is a Parquet file. Export"}},
		{"SQLite", "SQLite format 3\x00\x10\x00", Payload{}, []string{"SQLite database"}},
		{"PDF", "%PDF-1.7\nsome text\n", Payload{}, []string{"This is a PDF document."}},
		{"RTF", "{\\rtf1\\ansi text}", Payload{}, []string{"RTF"}},
		{"UTF-32", "\xff\xfe\x00\x00a\x00\x00\x00", Payload{}, []string{"UTF-32", "Save it as UTF-8"}},
		{"HTML", "<!DOCTYPE html><html>", Payload{}, []string{"This is an HTML page."}},
		{"HTML named CSV", "\n<HTML><body>sign in</body>", Payload{Name: "report.csv"}, []string{"This is an HTML page."}},
		{"XML", "<?xml version=\"1.0\"?><rows/>", Payload{}, []string{"This is XML."}},
		{"JSON array", "[\n {\"a\": 1}\n]", Payload{}, []string{"This is a JSON array.", "jq -c '.[]' FILE"}},
		{"JSON array on a line", "[{\"a\": 1},{\"a\": 2}]", Payload{Name: "x.jsonl"}, []string{"This is a JSON array.", "jq -c '.[]' FILE"}},
		{"a long JSON array", "[{\"a\": \"" + strings.Repeat("x", 2<<20) + "\"}]", Payload{}, []string{"This is a JSON array."}},
		{"lines of JSON arrays", "[1,2]\n[3,4]\n", Payload{Name: "x.jsonl"}, []string{"Each line of this file is a JSON array."}},
		{"pretty JSON", "{\n  \"a\": 1,\n  \"b\": [1, 2]\n}\n", Payload{Name: "x.jsonl"}, []string{"not one object a line", "jq -c . FILE"}},
		{"pretty JSON objects", "{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", Payload{}, []string{"jq -c . FILE"}},
		{"long pretty JSON", "{\"rows\": [\n" + strings.Repeat(" {\"a\": 1},\n", 20_000) + "{}]}\n", Payload{}, []string{"jq -c . FILE"}},
		{"objects on one line", "{\"a\": 1}{\"a\": 2}\n", Payload{}, []string{"jq -c . FILE"}},
		{"noise", strings.Repeat("\xfe\xb1\xa7\x80,", 50), Payload{}, []string{"no text in UTF-8", "From byte offset 0"}},
		{"late noise", "a,b\n" + strings.Repeat("1,2\n", 100_000) + strings.Repeat("\xfe\xb1\x01\x80,", 50), Payload{}, []string{"From byte offset 400004"}},
		{"late NUL", "a,b\n" + strings.Repeat("1,2\n", 100_000) + "\x00", Payload{}, []string{"zero byte at offset 400004"}},
		{"open quote", "a,b\n1,\"2\n3,4\n", Payload{}, []string{"Record 2", "offset 4", "byte offset 6", "not closed"}},
		{"no objects", "1\n2\n", Payload{Format: "ndjson"}, []string{"None of the 2 lines"}},
		{"bad lines", "{}\n" + strings.Repeat("x\n", 101), Payload{}, []string{"Line 102", "byte offset 203", "100", "MaxMalformed", "the setting analysis.max_malformed"}},
		{"long record", "a,b\n1,2\n" + strings.Repeat("x", 2<<20), Payload{}, []string{"Record 3", "offset 8", "1048576 bytes", "MaxRecordBytes", "the setting analysis.max_record_bytes"}},
		{"long quoted", "a,b\n\"" + strings.Repeat("1\n", 1<<20), Payload{}, []string{"Record 2", "1048576 bytes", "begins at byte offset 4 is not closed"}},
		{"long line", "{}\n{\"a\":\"" + strings.Repeat("x", 2<<20), Payload{}, []string{"Record 2", "offset 3", "1048576 bytes"}},
		{"format", "a\n", Payload{Format: "xml"}, []string{"payload", "csv, ndjson"}},
		{"delimiter", "a\n", Payload{Delimiter: "::"}, []string{"payload", "pipe"}},
		{"size", "a\n1\n", Payload{Size: 5}, []string{"has 4 bytes", "5 were announced"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Analyze(t.Context(), strings.NewReader(tt.text), tt.payload, Options{})
			if !errors.Is(err, ErrInput) {
				t.Fatalf("error %v, want one that wraps ErrInput", err)
			}
			text := err.Error()
			for _, part := range tt.want {
				if !strings.Contains(text, part) {
					t.Errorf("error %q does not say %q", text, part)
				}
			}
			if first := text[0]; first < 'A' || first > 'Z' || !strings.HasSuffix(text, ".") || strings.Contains(text, "analysis:") {
				t.Errorf("error %q is no sentence", text)
			}
		})
	}
}

// counter reads n bytes of x without end of line, and tells how many were taken.
type counter struct{ n, taken int }

func (c *counter) Read(p []byte) (int, error) {
	n := min(len(p), c.n-c.taken)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'x'
	}
	c.taken += n
	return n, nil
}

func TestTenMegabyteLineIsRefusedInBoundedMemory(t *testing.T) {
	src := &counter{n: 10 << 20}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Analyze(t.Context(), src, Payload{}, Options{})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "1048576 bytes") {
		t.Fatalf("error %v", err)
	}
	if src.taken > 3<<20 {
		t.Errorf("took %d bytes before it gave up", src.taken)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("allocated %d bytes", used)
	}
}

func TestOptionsNameFieldAndBound(t *testing.T) {
	for _, o := range []Options{{MaxRecordBytes: 1}, {MaxRecordBytes: 1 << 40}, {MaxMalformed: -2}, {MaxMalformed: 1 << 30}} {
		_, err := Analyze(t.Context(), strings.NewReader("a\n"), Payload{}, o)
		var about *option.Error
		if !errors.As(err, &about) || errors.Is(err, ErrInput) || about.Field == "" || about.Least == nil {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}

func TestCancelReturnsTheCause(t *testing.T) {
	cause := errors.New("drained")
	ctx, cancel := context.WithCancelCause(t.Context())
	src := &repeat{block: []byte("1,2,3\n"), left: 1 << 40}
	reads := readerFunc(func(p []byte) (int, error) {
		if src.left < 1<<40-10_000 {
			cancel(cause)
		}
		return src.Read(p)
	})
	_, err := Analyze(ctx, reads, Payload{}, Options{})
	if !errors.Is(err, cause) {
		t.Fatalf("error %v, want the cause", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReadErrorIsNotTheFilesFault(t *testing.T) {
	broken := errors.New("connection reset")
	src := io.MultiReader(strings.NewReader("a,b\n1,2\n"), iotest.ErrReader(broken))
	_, err := Analyze(t.Context(), src, Payload{}, Options{})
	if !errors.Is(err, broken) || errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "byte offset 8") {
		t.Fatalf("error %v", err)
	}
}

func TestTextIsSafeForATerminalAndBounded(t *testing.T) {
	p := analyze(t, strings.Repeat("name,", 149)+"name\n\x1b[31mred,"+strings.Repeat("w", 500)+strings.Repeat(",", 148)+"\n", Payload{})
	var b bytes.Buffer
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(b.String(), 0x1b) {
		t.Error("an escape sequence of the file reaches the terminal")
	}
	if !strings.Contains(b.String(), "… and 50 more columns") {
		t.Errorf("table:\n%s", b.String())
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(line); n > 170 {
			t.Errorf("%d characters: %q", n, line)
		}
	}
}

func TestClip(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"abcde", "abcde"},
		{"abcdef", "abcd…"},
		{"ÄÖÜäöü", "ÄÖÜä…"},
		{"a\tb\x00", "a·b·"},
	}
	for _, tt := range tests {
		if got := clip(tt.in, 5); got != tt.want {
			t.Errorf("clip(%q, 5) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
