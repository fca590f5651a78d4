package analysis

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// written is one table as a file: who writes it chooses, and a reader has to find out.
type written struct {
	delimiter rune
	encoding  string
	ending    string
	above     string
	trailing  bool
}

func drawWritten(t *rapid.T) written {
	return written{
		delimiter: rapid.SampledFrom([]rune{',', ';', '\t', '|'}).Draw(t, "delimiter"),
		encoding:  rapid.SampledFrom([]string{"utf-8", "marked utf-8", "windows-1252", "utf-16le", "utf-16be", "marked utf-16le", "marked utf-16be"}).Draw(t, "encoding"),
		ending:    rapid.SampledFrom([]string{"\n", "\r\n", "\r", "\r\r\n"}).Draw(t, "ending"),
		above:     rapid.SampledFrom([]string{"", "", "\n", "Harvest of the year\n", "Harvest\nof the year, and others\n\n", "# made by hand\n## version 2\n", "sep=X\n"}).Draw(t, "above"),
		trailing:  rapid.Bool().Draw(t, "trailing"),
	}
}

// drawTable has an integer in its first column, so that a title is no part of it.
func drawTable(t *rapid.T, quotable bool) [][]string {
	texts := []string{"Ulm", "Graz", "Köln", "Málaga", "so long", "x,y", "a;b", "é|à", "NA", "-", "2.5", "007", "12", "", "2024-02-29", "true", "Zürich"}
	if quotable {
		texts = append(texts, "two\nlines", `he said "so"`)
	}
	all := [][]string{{"row", "name", "more", "other"}}
	width := rapid.IntRange(3, 4).Draw(t, "width")
	for i := range rapid.IntRange(3, 40).Draw(t, "rows") {
		row := []string{fmt.Sprint(i)}
		for len(row) < width {
			row = append(row, rapid.SampledFrom(texts).Draw(t, "cell"))
		}
		all = append(all, row)
	}
	all[0] = all[0][:width]
	return all
}

func (w written) file(t *rapid.T, rows [][]string) []byte {
	var b strings.Builder
	b.WriteString(strings.Replace(w.above, "X", string(w.delimiter), 1))
	quotes := w.delimiter == ',' || w.delimiter == ';'
	for i, row := range rows {
		for j, cell := range row {
			if j > 0 {
				b.WriteRune(w.delimiter)
			}
			if quotes && (strings.ContainsRune(cell, w.delimiter) || strings.ContainsAny(cell, "\"\n")) {
				cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
			}
			b.WriteString(strings.ReplaceAll(cell, "\n", "\x00"))
		}
		if w.trailing && i > 0 {
			b.WriteRune(w.delimiter)
		}
		b.WriteByte('\n')
	}
	text := strings.ReplaceAll(strings.ReplaceAll(b.String(), "\n", w.ending), "\x00", "\n")
	encoding, marked := strings.CutPrefix(w.encoding, "marked ")
	if marked {
		text = "\ufeff" + text
	}
	data := []byte(text)
	var err error
	switch encoding {
	case "windows-1252":
		data, err = western.NewEncoder().Bytes(data)
	case "utf-16le":
		data, err = utf16LE.NewEncoder().Bytes(data)
	case "utf-16be":
		data, err = utf16BE.NewEncoder().Bytes(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A table has the same columns however it is written, wherever its analysis was interrupted.
func TestEveryDialectHasTheSameColumns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWritten(t)
		rows := drawTable(t, w.delimiter == ',' || w.delimiter == ';')
		if w.delimiter == '\t' || w.delimiter == '|' {
			for _, row := range rows {
				for i := range row {
					row[i] = strings.ReplaceAll(row[i], string(w.delimiter), "/")
				}
			}
		}
		var plain bytes.Buffer
		if err := csv.NewWriter(&plain).WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		want, err := Analyze(t.Context(), &plain, Payload{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		data := w.file(t, rows)
		whole, err := analyseInPieces(data, Payload{}, mustOptions(t), nil)
		if err != nil {
			t.Fatalf("%+v: %v\n%q", w, err, data)
		}
		var got Profile
		if err := json.Unmarshal(whole, &got); err != nil {
			t.Fatal(err)
		}
		columns := func(p *Profile) string {
			b, err := json.Marshal(p.Columns)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		if got.Rows != int64(len(rows)-1) || got.Ragged != 0 || got.Malformed != 0 || got.Bytes != int64(len(data)) || columns(&got) != columns(want) {
			t.Fatalf("%+v:\n%s\nwant the columns\n%s\nof %q", w, whole, columns(want), data)
		}
		cuts := rapid.SliceOfN(rapid.IntRange(1, len(data)), 1, 5).Draw(t, "cuts")
		slices.Sort(cuts)
		if pieces, err := analyseInPieces(data, Payload{}, mustOptions(t), cuts); err != nil || !bytes.Equal(pieces, whole) {
			t.Fatalf("%+v, cut at %v: %v\n%s\nwant\n%s", w, cuts, err, pieces, whole)
		}
	})
}

// Text shows late what it is written in: the decision is the same wherever the analysis was
// interrupted, and wherever reads end.
func TestLateEncoding(t *testing.T) {
	plain := "n,city\n" + strings.Repeat("1,Ulm\n", 20_000)
	for name, tt := range map[string]struct {
		tail    string
		want    string
		damaged int64
	}{
		"UTF-8":                   {"2,Köln\n3,Málaga\n", "utf-8", 0},
		"Windows-1252":            {"2,K\xf6ln\n3,M\xe1laga\n", "windows-1252", 0},
		"Windows-1252 by most":    {"2,K\xf6ln\n3,M\xe1laga\n4,\xc3\xa9\n", "windows-1252", 0},
		"UTF-8, damaged at first": {"2,K\xf6ln\n3,Málaga\n4,Zürich\n", "utf-8", 1},
		"UTF-8, cut at the end":   {"2,Köln\n3,M\xc3", "utf-8", 1},
		"far behind":              {"2,K\xf6ln\n" + strings.Repeat("1,Ulm\n", 30_000) + "3,Málaga\n4,Zürich\n", "windows-1252", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := []byte(plain + tt.tail)
			want, err := analyseInPieces(data, Payload{}, mustOptions(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			var p Profile
			if err := json.Unmarshal(want, &p); err != nil {
				t.Fatal(err)
			}
			damaged := int64(0)
			for _, w := range p.Warnings {
				if w.Code == WarnDamaged {
					damaged = w.Count
				}
			}
			if p.Encoding != tt.want || damaged != tt.damaged {
				t.Errorf("%s with %d damaged rows, want %s with %d", p.Encoding, damaged, tt.want, tt.damaged)
			}
			for _, cut := range []int{1, 40_000, len(plain) - 10, len(plain) + 1, len(plain) + 8, len(plain) + 100_000} {
				if got, err := analyseInPieces(data, Payload{}, mustOptions(t), []int{min(cut, len(data))}); err != nil || !bytes.Equal(got, want) {
					t.Errorf("cut at %d: %v\n%s\nwant\n%s", cut, err, got, want)
				}
			}
		})
	}
}
