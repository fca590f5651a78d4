package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// A place is where a record began, and how it was read there.
type place struct {
	dialect Dialect
	offset  int64
	records uint64
	text    string // the record
}

// places reads a file to its end.
func places(r *Reader) (all []place, err error) {
	for {
		at := place{dialect: r.Dialect(), offset: r.Offset(), records: r.Records()}
		var more bool
		if r.Dialect().Format == CSV {
			var fields [][]byte
			fields, more, err = r.Record()
			at.text = fmt.Sprintf("%q %t %t", fields, r.Misquoted(), r.Damaged())
		} else {
			var line []byte
			line, more, err = r.Line()
			at.text = fmt.Sprintf("%q %t", line, r.Damaged())
		}
		if err != nil || !more {
			return all, err
		}
		all = append(all, at)
	}
}

// checkReader holds a Reader to itself: small reads and resumption at any record change nothing,
// and offsets end where the file does.
func checkReader(t fataler, data []byte, o Options) {
	t.Helper()
	r, err := Open(t.Context(), bytes.NewReader(data), o)
	if err != nil {
		if !errors.Is(err, ErrRefused) {
			t.Fatalf("%q: %v", data, err)
		}
		return
	}
	all, err := places(r)
	if err == nil && r.Offset() != int64(len(data)) {
		t.Fatalf("%q: ends at %d of %d", data, r.Offset(), len(data))
	}
	slow := iotest.OneByteReader(bytes.NewReader(data))
	if len(data) > 4<<10 {
		slow = iotest.HalfReader(&chunks{data: data, size: 999})
	}
	byByte, err2 := Open(t.Context(), slow, o)
	if err2 != nil {
		t.Fatalf("%q byte by byte: %v", data, err2)
	}
	again, err2 := places(byByte)
	checkPlaces(t, data, again, all, err2, err)
	for i := 0; i < len(all); i += 1 + len(all)/8 {
		at := all[i]
		encoded, err2 := at.dialect.AppendBinary(nil)
		if err2 != nil || len(encoded) > DialectBytes {
			t.Fatalf("%+v takes %d bytes: %v", at.dialect, len(encoded), err2)
		}
		var d Dialect
		if rest, err := d.Decode(append(encoded, 7)); err != nil || len(rest) != 1 || d != at.dialect {
			t.Fatalf("%+v decodes as %+v: %v", at.dialect, d, err)
		}
		again, err2 := places(Resume(t.Context(), bytes.NewReader(data[at.offset:]), d, at.offset, at.records, o))
		checkPlaces(t, data, again, all[i:], err2, err)
	}
}

// chunks reads at most size bytes at a time.
type chunks struct {
	data []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.data)
	c.data = c.data[n:]
	return n, nil
}

func checkPlaces(t fataler, data []byte, got, want []place, gotErr, wantErr error) {
	t.Helper()
	if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || len(got) != len(want) {
		t.Fatalf("%q:\n%d records, %v\nwant %d, %v", data, len(got), gotErr, len(want), wantErr)
	}
	for i := range got {
		if got[i].text != want[i].text || got[i].offset != want[i].offset || got[i].records != want[i].records {
			t.Fatalf("%q, record %d:\n%+v\nwant\n%+v", data, i, got[i], want[i])
		}
	}
}

// seeds are the smallest of each kind of file that is easily read wrong.
func seeds(tb testing.TB) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob("../../analysis/testdata/cases/*")
	if err != nil || len(paths) < 20 {
		tb.Fatalf("%d cases, %v", len(paths), err)
	}
	all := map[string][]byte{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			tb.Fatal(err)
		}
		all[filepath.Base(p)] = data
	}
	return all
}

func FuzzReader(f *testing.F) {
	for name, data := range seeds(f) {
		f.Add(data, filepath.Ext(name))
	}
	for _, text := range []string{
		"", "\xff\xfe", "\xff\xfea", "\xfe\xff\xd8\x00\x00a", "a,\xc3", "\xef\xbb\xbf", "sep=;", "sep=;\n", "sep=\"\n", "#\n", "# \n# \n",
		"\r", "a\r\r\nb", "a\rb\nc", "[", "[[1]\n[", "{\"a\":", "{\"a\":1}\n{", "a\tb\n\"c\td", ",\n,,\n", "\x81\x8d\n",
	} {
		f.Add([]byte(text), ".csv")
		f.Add([]byte(text), "")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		checkReader(t, data, Options{Name: name})
	})
}

// Reads end anywhere, also within what is decided from 64 KiB, and within characters.
func TestReaderOfLongFiles(t *testing.T) {
	for name, data := range seeds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header, rest, _ := bytes.Cut(data, []byte{'\n'})
			if strings.HasPrefix(name, "utf16") || len(rest) == 0 || name == "returns.csv" {
				checkReader(t, data, Options{Name: name})
				return
			}
			long := append(bytes.Clone(header), '\n')
			for len(long) < 100<<10 {
				long = append(long, rest...)
			}
			checkReader(t, long, Options{Name: name})
		})
	}
}

func TestReturnsAloneEndLines(t *testing.T) {
	for text, want := range map[string]bool{
		"a,b\r1,2\r":             true,
		"a,b\r\n1,2\r\n":         false,
		"a,b\n1,2\r\n":           false,
		"a,\"b\nc\"\r1,2\r":      true,
		"a,\"b\rc\"\n1,2\n":      false,
		"a,b\r":                  false, // it may be followed by a line feed
		"a,b\r\r\n1,2\r\r\n":     false,
		"{\"a\":1}\r{\"a\":2}\r": true,
	} {
		if got := endsInReturns([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// A file whose lines end in carriage returns alone, and that is longer than a record may be.
func TestReturnsInALongFile(t *testing.T) {
	text := "a,b\r" + strings.Repeat("1,2\r", 500_000)
	r, err := Open(t.Context(), strings.NewReader(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := places(r)
	if err != nil || len(all) != 500_001 {
		t.Errorf("%d records, %v", len(all), err)
	}
}

// entry begins a file in a zip archive, with what follows its name.
func entry(name, content string) string {
	return "PK\x03\x04" + strings.Repeat("\x00", 22) + string([]byte{byte(len(name)), 0, 0, 0}) + name + content
}

// sized is an entry that says how long its content is.
func sized(name, content string) string {
	b := []byte(entry(name, content))
	b[18] = byte(len(content))
	return string(b)
}

func TestLook(t *testing.T) {
	for _, tt := range []struct{ name, head, want string }{
		{"", "", "This file is empty."},
		{"", "BMI,age\n21,30\n", ""},
		{"", "BM\x36\x00\x00\x00", "an image"},
		{"", "ID3,artist\n", ""},
		{"", "MZ,b\n1,2\n", ""},
		{"", "MZ\x90\x00\x03\x00", "a program"},
		{"", "ORC,elf\n1,2\n", ""},
		{"", "PAR1,PAR2\n1,2\n", ""},
		{"", "PAR1\x15\x00", "a Parquet file"},
		{"x.xlsx", "PK\x03\x04\x14\x00", "an Excel workbook"},
		{"x.zip", "PK\x03\x04\x14\x00", "a zip archive"},
		{"", entry("docProps/app.xml", "\x01") + entry("xl/workbook.xml", ""), "an Excel workbook"},
		{"", entry("[Content_Types].xml", "\x01") + entry("word/document.xml", ""), "a Word document"},
		{"", entry("[Content_Types].xml", "\x01") + entry("ppt/presentation.xml", ""), "a PowerPoint presentation"},
		{"", entry("mimetype", "application/vnd.oasis.opendocument.spreadsheet") + entry("content.xml", ""), "an OpenDocument sheet"},
		{"", entry("a.csv", "xl/word/ppt/opendocument.spreadsheet"), "a zip archive"},
		{"", entry("password/list.csv", ""), "a zip archive"},
		{"", sized("book.xlsx", entry("xl/workbook.xml", "")), "a zip archive"},
		{"", strings.Replace(sized("docProps/app.xml", "\x01"), "\x01\x00\x00\x00", "\xff\xff\xff\xff", 1) + entry("xl/workbook.xml", ""), "an Excel workbook"},
		{"", "\x1f\x8b\x08", "gzip"},
		{"", "\x1f\x8b\x08\x00\x00", "gzip"},
		{"", "a,b\n<html>,2\n", ""},
		{"", "\ufeff<!doctype HTML>", "an HTML page"},
		{"", strings.Repeat("x", 257) + "ustar\x00", "a tar archive"},
		{"", "M\xfcller,1\n", ""},
		{"", "caf\xc3", ""},
	} {
		err := Look(tt.name, []byte(tt.head))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q %q: %v, want %q", tt.name, tt.head, err, tt.want)
		}
	}
}
