package format

import (
	"archive/zip"
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/filetest"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// unzipped are the sheets of a workbook, by a reader that compares checksums.
func unzipped(t *testing.T, file []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	sheets := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if strings.HasPrefix(f.Name, "xl/worksheets/") {
			sheets[f.Name] = string(content)
		}
	}
	return sheets
}

func TestXLSXReadsBackEqual(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	for _, o := range []Options{{Format: XLSX}, {Format: XLSX, NoHeader: true}} {
		p := plan{columns: columns, options: o, limits: small, table: randomTable(9, columns, 500)}
		p.limits.sheetRows, p.limits.sheetBytes = 101, maxSheetBytes
		file := p.mustWrite(t)
		unzipped(t, file)
		head := 1
		if o.NoHeader {
			head = 0
		}
		left := p.table
		for i, sheet := range filetest.XLSX(t, store(t, "a.xlsx", file)) {
			if want := "Sheet" + strconv.Itoa(i+1); sheet.Name != want {
				t.Errorf("a sheet is named %q, want %q", sheet.Name, want)
			}
			if want := min(101, len(left)+head); len(sheet.Rows) != want {
				t.Fatalf("sheet %d has %d rows, want %d", i, len(sheet.Rows), want)
			}
			if head == 1 {
				for j, cell := range sheet.Rows[0] {
					if cell.Value != columns[j].Name {
						t.Errorf("sheet %d names a column %q, want %q", i, cell.Value, columns[j].Name)
					}
				}
			}
			for n, row := range sheet.Rows[head:] {
				for j, v := range left[n] {
					var got filetest.Cell
					if j < len(row) {
						got = row[j]
					}
					if !sameCell(got, v) {
						t.Errorf("sheet %d, row %d, %s: %q, want %q", i, n, columns[j].Name, got, asText(v))
					}
				}
			}
			left = left[len(sheet.Rows)-head:]
		}
		if len(left) > 0 {
			t.Errorf("%d rows are in no sheet", len(left))
		}
	}
}

// sameCell reports whether a cell is what stands for v.
func sameCell(got filetest.Cell, v rows.Value) bool {
	number, err := strconv.ParseFloat(got.Value, 64)
	isNumber := got.Type == "n" && err == nil
	isText := got.Type == "s" && got.Value == asText(v)
	switch v.Kind {
	case rows.Null:
		return got.Type == ""
	case rows.Bool:
		return got.Type == "b" && got.Value == asText(v)
	case rows.Int:
		if v.Int > 999_999_999_999_999 || v.Int < -999_999_999_999_999 {
			return isText
		}
		return isNumber && got.Value == asText(v)
	case rows.Float:
		if math.IsNaN(v.Float) || math.IsInf(v.Float, 0) {
			return isText
		}
		return isNumber && number == v.Float
	case rows.Decimal:
		digits := strings.TrimLeft(strings.Replace(string(v.Data), ".", "", 1), "-0")
		if strings.Contains(string(v.Data), ".") {
			digits = strings.TrimRight(digits, "0")
		}
		if len(digits) > 15 {
			return isText
		}
		want, err := strconv.ParseFloat(string(v.Data), 64)
		return isNumber && err == nil && number == want
	case rows.Date:
		if text := asText(v); text < "1900-03-01" || text > "9999-12-31" {
			return isText
		}
		return isNumber && got.Shown == asText(v)
	case rows.Timestamp:
		if text := asText(v); text < "1900-03-01" || text > "9999-12-32" {
			return isText
		}
		micros := (number - 25_569) * 86_400_000_000
		// SheetJS shows nothing for a time of the last day.
		shown := strings.HasPrefix(got.Shown, asText(v)[:10]+" ") || asText(v) > "9999-12-31" && got.Shown == ""
		return isNumber && math.Abs(micros-float64(v.Int)) < 40 && shown
	default:
		return isText
	}
}

func TestXLSXCutsLongTexts(t *testing.T) {
	t.Parallel()
	columns := []rows.Column{{Name: "x", Kind: rows.Text}}
	p := plan{columns: columns, options: Options{Format: XLSX}, limits: theLimits}
	texts := map[string]string{
		strings.Repeat("a", 32_767):          strings.Repeat("a", 32_767),
		strings.Repeat("b", 32_768):          strings.Repeat("b", 32_767),
		"c" + strings.Repeat("🌊", 16_383):    "c" + strings.Repeat("🌊", 16_383),
		strings.Repeat("🌊", 16_384):          strings.Repeat("🌊", 16_383),
		strings.Repeat("é", 40_000) + "_x00": strings.Repeat("é", 32_767),
	}
	var want []string
	var file bytes.Buffer
	w, err := begin(&file, p.columns, p.options, p.limits)
	if err != nil {
		t.Fatal(err)
	}
	for text, cut := range texts {
		want = append(want, cut)
		if err := w.Write([]rows.Value{{Kind: rows.Text, Data: []byte(text)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := w.Clipped(); n != 3 {
		t.Errorf("%d texts are cut, want 3", n)
	}
	for i, row := range filetest.XLSX(t, store(t, "a.xlsx", file.Bytes()))[0].Rows[1:] {
		if row[0].Value != want[i] {
			t.Errorf("%.5q has %d bytes, want %d", row[0].Value, len(row[0].Value), len(want[i]))
		}
	}
}

func TestXLSXHasItsBounds(t *testing.T) {
	t.Parallel()
	columns := make([]rows.Column, MaxColumns)
	for i := range columns {
		columns[i] = rows.Column{Name: "c", Kind: rows.Int}
	}
	row := make([]rows.Value, MaxColumns)
	row[MaxColumns-1] = rows.Value{Kind: rows.Int, Int: 7}
	p := plan{columns: columns, options: Options{Format: XLSX}, limits: theLimits, table: [][]rows.Value{row}}
	for _, sheet := range unzipped(t, p.mustWrite(t)) {
		if !strings.Contains(sheet, `<c r="XFD2"><v>7</v></c>`) {
			t.Error("the last column is not XFD")
		}
	}
	p = plan{columns: columns[:1], options: Options{Format: XLSX}, limits: limits{block: 1, sheetRows: 2, sheetBytes: 1 << 20}, table: make([][]rows.Value, maxSheets+1)}
	for i := range p.table {
		p.table[i] = row[:1]
	}
	if _, _, _, err := p.write(); err == nil || !strings.Contains(err.Error(), "more than 1000 sheets") {
		t.Errorf("a sheet too many: %v", err)
	}
	p.table = p.table[1:]
	p.cut = func() bool { return true }
	if n := len(unzipped(t, p.mustWrite(t))); n != maxSheets {
		t.Errorf("%d sheets, want %d", n, maxSheets)
	}
	w := &xlsxFile{core: core{w: io.Discard}}
	w.zip.flushed = maxArchive
	w.zip.out.WriteByte(0)
	if err := w.flush(); err == nil || !strings.Contains(err.Error(), "4 GiB") {
		t.Errorf("a file too long: %v", err)
	}
}
