package format

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemark-dev/tidemark/internal/filetest"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// unpacked is a file without its compression, by readers that are not ours.
func unpacked(t *testing.T, o Options, file []byte) []byte {
	t.Helper()
	var plain []byte
	switch o.Compression {
	case Gzip:
		// One member: a reader that stops after the first is at the file's end.
		rest := bufio.NewReader(bytes.NewReader(file))
		z, err := gzip.NewReader(rest)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		if plain, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
		if _, err := rest.ReadByte(); !errors.Is(err, io.EOF) {
			t.Fatalf("behind the first member: %v", err)
		}
		if again := filetest.Gunzip(t, store(t, "a.gz", file)); !bytes.Equal(again, plain) {
			t.Fatal("DecompressionStream reads something else")
		}
	case Zstd:
		z, err := zstd.NewReader(bytes.NewReader(file), zstd.WithDecoderMaxWindow(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		if plain, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
		if again := filetest.Unzstd(t, store(t, "a.zst", file)); !bytes.Equal(again, plain) {
			t.Fatal("zstd reads something else")
		}
	default:
		plain = file
	}
	return plain
}

func TestCSVReadsBackEqual(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	table := randomTable(7, columns, 2_000)
	for _, o := range []Options{
		{Format: CSV, RunFormulas: true},
		{Format: CSV, RunFormulas: true, Delimiter: ';', CRLF: true, Compression: Gzip},
		{Format: CSV, RunFormulas: true, Delimiter: '\t', NoHeader: true, Compression: Zstd},
		{Format: CSV, RunFormulas: true, Delimiter: '|'},
	} {
		file := plan{columns: columns, options: o, limits: small, table: table}.mustWrite(t)
		plain := unpacked(t, o, file)
		if o.CRLF && !bytes.Contains(plain, []byte("\r\n")) {
			t.Error("no line ends with CR LF")
		}
		r := csv.NewReader(bytes.NewReader(plain))
		if o.Delimiter != 0 {
			r.Comma = rune(o.Delimiter)
		}
		records, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if !o.NoHeader {
			for i, c := range columns {
				if records[0][i] != c.Name {
					t.Errorf("the header names %q, want %q", records[0][i], c.Name)
				}
			}
			records = records[1:]
		}
		if len(records) != len(table) {
			t.Fatalf("%d rows, want %d", len(records), len(table))
		}
		for i, record := range records {
			for j, got := range record {
				// The reader makes LF of CR LF in a cell, too.
				v, want := table[i][j], strings.ReplaceAll(asText(table[i][j]), "\r\n", "\n")
				if v.Kind == rows.Float && !math.IsNaN(v.Float) {
					if f, err := strconv.ParseFloat(got, 64); err != nil || f != v.Float {
						t.Fatalf("row %d has %q, want the float %v", i, got, v.Float)
					}
				} else if got != want {
					t.Fatalf("row %d, %s: %q, want %q", i, columns[j].Name, got, want)
				}
			}
		}
	}
}

func TestCSVTellsNullFromEmpty(t *testing.T) {
	t.Parallel()
	text := func(s string) rows.Value { return rows.Value{Kind: rows.Text, Data: []byte(s)} }
	two := []rows.Column{{Name: "a", Kind: rows.Text}, {Name: "b", Kind: rows.Text}}
	for want, p := range map[string]plan{
		"a,b\n,\"\"\nx,\n": {columns: two, table: [][]rows.Value{{{}, text("")}, {text("x"), {}}}},
		"a\n\"\"\n\"\"\n":  {columns: two[:1], table: [][]rows.Value{{{}}, {text("")}}},
		"a\n\"\\.\"\n":     {columns: two[:1], table: [][]rows.Value{{text(`\.`)}}},
	} {
		p.options, p.limits = Options{Format: CSV}, theLimits
		if got := string(p.mustWrite(t)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNDJSONReadsBackEqual(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	table := randomTable(8, columns, 2_000)
	for _, o := range each {
		if o.Format != NDJSON {
			continue
		}
		plain := unpacked(t, o, plan{columns: columns, options: o, limits: small, table: table}.mustWrite(t))
		lines := bytes.Split(bytes.TrimSuffix(plain, []byte("\n")), []byte("\n"))
		if len(lines) != len(table) {
			t.Fatalf("%d lines, want %d", len(lines), len(table))
		}
		for i, line := range lines {
			var object map[string]json.RawMessage
			if err := json.Unmarshal(line, &object); err != nil || len(object) != len(columns) {
				t.Fatalf("line %d: %v, %d names", i, err, len(object))
			}
			for j, c := range columns {
				if got, v := object[c.Name], table[i][j]; !sameJSON(got, v) {
					t.Fatalf("line %d, %s: %s, want %s", i, c.Name, got, asText(v))
				}
			}
		}
	}
}

// sameJSON reports whether a JSON value is the one that stands for v.
func sameJSON(got json.RawMessage, v rows.Value) bool {
	switch v.Kind {
	case rows.Null:
		return string(got) == "null"
	case rows.Int, rows.Bool:
		return string(got) == asText(v)
	case rows.Float:
		if math.IsNaN(v.Float) || math.IsInf(v.Float, 0) {
			return string(got) == "null"
		}
		var f float64
		return json.Unmarshal(got, &f) == nil && math.Float64bits(f) == math.Float64bits(v.Float)
	case rows.Decimal:
		a, one := new(big.Rat).SetString(string(got))
		b, two := new(big.Rat).SetString(string(v.Data))
		return one && two && a.Cmp(b) == 0 && got[0] != '"' && strings.HasSuffix(string(v.Data), string(bytes.TrimPrefix(got, []byte("-"))))
	case rows.JSON:
		var a, b bytes.Buffer
		if json.Compact(&b, v.Data) != nil {
			var s string
			return json.Unmarshal(got, &s) == nil && s == utf8Of(v.Data)
		}
		return json.Compact(&a, got) == nil && bytes.Equal(a.Bytes(), b.Bytes())
	default:
		var s string
		return json.Unmarshal(got, &s) == nil && s == asText(v)
	}
}

func TestFormulasAreNeutralised(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)", "+1+cmd|'/C calc'!A0": "'+1+cmd|'/C calc'!A0", "-2+3": "'-2+3",
		"\t=1": "'\t=1", "\tx": "'\tx", "\rx": "'\rx", "\nx": "'\nx",
		" =1": "' =1", "  +a": "'  +a", "\u00a0=1": "'\u00a0=1", "\ufeff=1": "'\ufeff=1", "\x00=1": "'\x00=1",
		`"=1`: `'"=1`, "'=1": "''=1", `" =1`: `'" =1`,
		"＝1+1": "'＝1+1", "＠x": "'＠x", "＋x": "'＋x", "－x": "'－x",
		"-": "-", "+": "+", "--1": "'--1", "-a": "'-a", "- item": "'- item",
		"-5": "-5", "+49170123": "+49170123", "-1.234,56": "-1.234,56", "+1e5": "+1e5", "-1.5E-7": "-1.5E-7", "+5%": "+5%", "-5%5": "'-5%5", "-1e": "'-1e", "-1e+a": "'-1e+a", "-.": "'-.",
		"": "", "a=b": "a=b", "1-1": "1-1", "é": "é", " x": " x", "'": "'",
	} {
		for _, kind := range []rows.Kind{rows.Text, rows.JSON} {
			p := plan{columns: []rows.Column{{Name: text, Kind: kind}}, table: [][]rows.Value{{{Kind: kind, Data: []byte(text)}}}, limits: theLimits}
			for _, run := range []bool{false, true} {
				expect := want
				if run {
					expect = text
				}
				p.options = Options{Format: CSV, RunFormulas: run}
				records, err := csv.NewReader(bytes.NewReader(p.mustWrite(t))).ReadAll()
				if err != nil || len(records) != 2 {
					t.Fatalf("%q: %v", text, err)
				}
				if records[0][0] != expect || records[1][0] != expect {
					t.Errorf("%q became %q, want %q", text, records, expect)
				}
			}
		}
	}
}
