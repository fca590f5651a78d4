package table

import (
	"strings"
	"testing"
)

// What is above the header, and what only looks so.
func TestLinesAboveTheHeader(t *testing.T) {
	for _, tt := range []struct {
		name, text, header string
		skipped            int
	}{
		{"none", "a,b,c\n1,2,3\n4,5,6\n", "a b c", 0},
		{"a title", "Harvest\na,b,c\n1,2,3\n4,5,6\n", "a b c", 1},
		{"a title above text alone", "Harvest\na,b,c\nx,y,z\nq,r,s\n", "a b c", 1},
		{"a title above two columns of text", "Harvest\na,b\nx,y\nq,r\n", "Harvest", 0},
		{"that and a blank line", "Harvest\n\na,b\nx,y\nq,r\n", "a b", 1},
		{"a title above two columns with numbers", "Harvest\na,b\nx,1\nq,2\n", "a b", 1},
		{"a title above data without a header", "Harvest\n1,2,3\n4,5,6\n", "Harvest", 0},
		{"names and values", "Station,Ulm\nYear,2024\n\na,b,c,d\n1,2,3,4\n5,6,7,8\n", "a b c d", 2},
		{"padded titles", "Harvest,,\n,,\na,b,c\nx,1,2\ny,3,4\n", "a b c", 2},
		{"names that are missing, above text", "a,b,,\nx,y,z,w\nq,r,s,t\n", "a b", 0},
		{"names that are missing, above numbers", "a,b,,\nx,1,2,3\ny,4,5,6\n", "a b", 0},
		{"an index without a name", "Harvest\n,b,c\n0,1,2\n1,3,4\n", " b c", 1},
		{"a delimiter at the end of rows", "Harvest\na,b,c\n1,2,3,\n4,5,6,\n", "a b c", 1},
		{"comments", "# one\n# two, three\na,b\n1,2\n", "a b", 2},
		{"comments with as many fields", "##a,b\n#a,b\n1,2\n", "#a b", 1},
		{"a header with a number sign", "#a,b\n1,2\n", "#a b", 0},
		{"comments alone", "# a\n# b\n", "# a", 0},
		{"one column below a comment", "# made by hand\nv\n1\n2\n", "v", 1},
		{"a header twice", "Harvest\na,a,b\n1,2,3\n4,5,6\n", "Harvest", 0},
		{"rows that are all ragged", "Harvest\na,b,c\n1,2\n4,5,6,7\n1\n2,3\n", "Harvest", 0},
		{"a title behind a mark", "\ufeffHarvest\na,b,c\n1,2,3\n", "a b c", 1},
		{"sep and a title", "sep=,\nHarvest\na,b,c\n1,2,3\n", "a b c", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := Open(t.Context(), strings.NewReader(tt.text), Options{Delimiter: ','})
			if err != nil {
				t.Fatal(err)
			}
			fields, _, err := r.Record()
			var header []string
			for ; err == nil && len(fields) == 0; fields, _, err = r.Record() {
				continue
			}
			for _, f := range fields {
				header = append(header, string(f))
			}
			if got := strings.TrimRight(strings.Join(header, " "), " "); err != nil || got != tt.header || r.Dialect().Skipped != tt.skipped {
				t.Errorf("header %q below %d lines, %v; want %q below %d", got, r.Dialect().Skipped, err, tt.header, tt.skipped)
			}
		})
	}
}

// Without a header lines above the data are left out where they can be told.
func TestLinesAboveDataWithoutAHeader(t *testing.T) {
	for text, want := range map[string]string{
		"Harvest\n1,2,3\n4,5,6\n": "1,2,3",
		"# by hand\n1,2\n4,5\n":   "1,2",
		"Harvest\n1,2\n4,5\n":     "Harvest",
	} {
		r, err := Open(t.Context(), strings.NewReader(text), Options{NoHeader: true})
		if err != nil {
			t.Fatal(err)
		}
		names, err := r.Names(10, 1000)
		if err != nil {
			t.Fatal(err)
		}
		fields, _, err := r.Record()
		var record []string
		for _, f := range fields {
			record = append(record, string(f))
		}
		if got := strings.Join(record, ","); err != nil || got != want || len(names.Names) != len(record) || names.Names[0] != "column_1" {
			t.Errorf("%q begins with %q below %q, %v; want %q", text, got, names.Names, err, want)
		}
	}
}

// Where nothing is above the header, or the data, the first record is what it is, whatever it looks like.
func TestUntitledTables(t *testing.T) {
	for _, text := range []string{"Harvest\n\na,b,c\nx,1,2\n", "# a,b\n1,2\n3,4\n", "##a\n1,2\n3,4\n", "sep=;,b\n1,2\n", "sep=;\n1\n", "a,b,,\nx,1,2,3\ny,4,5,6\n"} {
		for _, noHeader := range []bool{false, true} {
			r, err := Open(t.Context(), strings.NewReader(text), Options{Format: CSV, Delimiter: ',', Untitled: true, NoHeader: noHeader})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = r.Record()
			if want, _, _ := strings.Cut(text, "\n"); err != nil || string(r.Text()) != want+"\n" || r.Dialect().Skipped != 0 || r.Dialect().Header == noHeader {
				t.Errorf("%q begins with %q, %+v, %v", text, r.Text(), r.Dialect(), err)
			}
		}
	}
}

func TestEncodings(t *testing.T) {
	for text, want := range map[string]Encoding{
		"a,b\n1,2\n":                       ASCII,
		"Köln\n":                           UTF8,
		"\ufeffa\n":                        UTF8,
		"K\xf6ln\n":                        Windows1252,
		"\xfc\n":                           Windows1252,
		"\xff\xfea\x00\n\x00":              UTF16LE,
		"\xfe\xff\x00a\x00\n":              UTF16BE,
		"a\x00,\x00b\x00\n\x00":            UTF16LE,
		"\x00a\x00,\x00b\x00\n":            UTF16BE,
		"\x2d\x4e,\x00\x87\x65\n\x00":      UTF16LE,
		"K\xf6ln, M\xfcnchen, caf\xc3\xa9": Windows1252,
	} {
		r, err := Open(t.Context(), strings.NewReader(text), Options{})
		if err != nil || r.Dialect().Encoding != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{"\xe7\xe8\xf1\xeb\xee;\xe8\xec\xff\n\xf4\xe0\xea\xf2\n", strings.Repeat("\x80\x81\x02", 50)} {
		if _, err := Open(t.Context(), strings.NewReader(text), Options{}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// The decision needs 64 KiB, however few bytes a read brings.
func TestEncodingIsDecidedFromTheSameBytes(t *testing.T) {
	plain := "n,city\n" + strings.Repeat("1,Ulm\n", 20_000)
	for _, tail := range []string{"2,K\xf6ln\n" + strings.Repeat("1,Ulm\n", 9_000) + "3,Málaga\n4,Zürich\n", "2,K\xf6ln\n3,Málaga\n4,Zürich\n"} {
		checkReader(t, []byte(plain+tail), Options{})
	}
}

func TestHalfACharacterAtTheEndIsDamage(t *testing.T) {
	r, err := Open(t.Context(), strings.NewReader("\xff\xfea\x00\n\x00b\x00c"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := places(r)
	if err != nil || len(all) != 2 || all[1].text != "[\"b\ufffd\"] false true" || r.Offset() != 9 {
		t.Errorf("%+v, %v, at %d", all, err, r.Offset())
	}
}
