package workbook

import (
	"bytes"
	"encoding/csv"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/filetest"
	"github.com/tidemark-dev/tidemark/worker/internal/format"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// records are those of a CSV, without empty fields at their ends, and without blank lines.
func records(tb testing.TB, text []byte) [][]string {
	tb.Helper()
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1
	all, err := r.ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	for i, record := range all {
		for len(record) > 0 && record[len(record)-1] == "" {
			record = record[:len(record)-1]
		}
		all[i] = record
	}
	return slices.DeleteFunc(all, func(record []string) bool { return len(record) == 0 })
}

func same(a, b [][]string) bool { return slices.EqualFunc(a, b, slices.Equal[[]string]) }

var kinds = []rows.Kind{rows.Text, rows.Int, rows.Float, rows.Decimal, rows.Bool, rows.Date, rows.Timestamp, rows.JSON}

// randomRow has values that a sheet keeps, and what they are in a CSV.
func randomRow(r *rand.Rand) (row []rows.Value, want []string) {
	texts := []string{"plain", " spaces ", "comma, \"quote\"", "line\nand\r\nline", "Zoë 東京 🌊", "\x01\x1f", "_x0041_", "<&>]]>", "=1+1", "\ufeffx", "true", "0"}
	for _, k := range kinds {
		v, text := rows.Value{Kind: k}, ""
		switch k {
		case rows.Text:
			text = texts[r.IntN(len(texts))]
			v.Data = []byte(text)
		case rows.Int:
			v.Int = r.Int64() >> r.IntN(64) * (1 - 2*r.Int64N(2))
			text = strconv.FormatInt(v.Int, 10)
		case rows.Float:
			v.Float = r.NormFloat64() * 1000
			text = strconv.FormatFloat(v.Float, 'f', -1, 64)
		case rows.Decimal:
			text = strconv.FormatInt(r.Int64(), 10) + "." + strconv.Itoa(r.IntN(100))
			v.Data = []byte(text)
		case rows.Bool:
			v.Int = r.Int64N(2)
			text = strconv.FormatBool(v.Int == 1)
		case rows.Date:
			v.Int = r.Int64N(2_900_000) - 25_508
			text = time.Unix(v.Int*86400, 0).UTC().Format(time.DateOnly)
		case rows.Timestamp:
			v.Int = r.Int64N(100_000_000_000) * 1000
			text = time.UnixMicro(v.Int).UTC().Format("2006-01-02T15:04:05.999")
		default:
			text = `{"a":[1,"x"]}`
			v.Data = []byte(text)
		}
		if r.IntN(8) == 0 {
			v, text = rows.Value{}, ""
		}
		row, want = append(row, v), append(want, text)
	}
	return row, want
}

// What package format writes reads back as the same cells.
func TestOwnWorkbooksReadBack(t *testing.T) {
	t.Parallel()
	columns, names := []rows.Column{}, []string{}
	for _, k := range kinds {
		columns, names = append(columns, rows.Column{Name: "a " + k.String(), Kind: k}), append(names, "a "+k.String())
	}
	r := rand.New(rand.NewPCG(1, 2))
	var file bytes.Buffer
	w, err := format.New(&file, columns, format.Options{Format: format.XLSX})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{names}
	for range 1000 {
		row, text := randomRow(r)
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
		want = append(want, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := read(t, file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := read(t, file.Bytes())
	if err != nil || again != text {
		t.Errorf("read again, the text is another: %v", err)
	}
	var expected bytes.Buffer
	c := csv.NewWriter(&expected)
	if err := c.WriteAll(want); err != nil {
		t.Fatal(err)
	}
	got, all := records(t, []byte(text)), records(t, expected.Bytes())
	for i := range min(len(got), len(all)) {
		if !slices.Equal(got[i], all[i]) {
			t.Fatalf("row %d is\n%q, want\n%q", i, got[i], all[i])
		}
	}
	if len(got) != len(all) {
		t.Errorf("%d rows, want %d", len(got), len(all))
	}
}

// What SheetJS writes reads as what SheetJS saves as CSV, but for the title.
func TestSheetJSWorkbooksAreRead(t *testing.T) {
	t.Parallel()
	at := func(days float64, format string) any { return map[string]any{"t": "n", "v": days, "z": format} }
	data := [][]any{
		{"Report, of \"2024\"", nil, nil, nil, nil},
		{},
		{"id", "name", "due", "at", "paid", "rate"},
		{1, "Zoë 東京 🌊", at(45351, "yyyy-mm-dd"), at(45351.5243055556, `yyyy-mm-dd"T"hh:mm:ss`), true, 0.1},
		{2, "line\nand \"quotes\"", at(61, "yyyy-mm-dd"), at(73050.25, `yyyy-mm-dd"T"hh:mm:ss`), false, nil},
		{nil, " spaces ", nil, nil, nil, -1234.5},
		{3, "Zoë 東京 🌊", at(2958465, "yyyy-mm-dd"), nil, nil, 123456789},
		{nil, map[string]any{"t": "e", "v": 7, "w": "#DIV/0!"}, at(45000, "yyyy\\-mm\\-dd;@"), at(0.5, "hh:mm:ss")},
	}
	for i := range 300 {
		data = append(data, []any{i, "name " + strconv.Itoa(i%70), at(float64(40_000+i), "yyyy-mm-dd"), nil, i%2 == 0, float64(i) / 8})
	}
	file := filepath.Join(t.TempDir(), "book.xlsx")
	want := filetest.WriteXLSX(t, file, filetest.Book{Print: 1, Sheets: []filetest.BookSheet{
		{Name: "hidden", Hidden: true, Rows: [][]any{{"secret"}}}, {Name: "Data & more", Rows: data}, {Name: "last", Rows: [][]any{{1}}},
	}})
	book, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := read(t, book)
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.ReplaceAll(bytes.ReplaceAll(want, []byte("TRUE"), []byte("true")), []byte("FALSE"), []byte("false"))
	got, all := records(t, []byte(text)), records(t, want)[1:]
	for i := range min(len(got), len(all)) {
		if !slices.Equal(got[i], all[i]) {
			t.Fatalf("row %d is\n%q, want\n%q", i, got[i], all[i])
		}
	}
	if !same(got, all) {
		t.Errorf("%d rows, want %d", len(got), len(all))
	}
}

// FuzzWorkbooks reads what is no workbook, or a damaged one. It ends, without a panic, and its errors are refusals.
func FuzzWorkbooks(f *testing.F) {
	f.Add([]byte(nil), "")
	good := bookOf(`<row r="2"><c r="B2" t="s"><v>1</v></c><c s="1"><v>45000</v></c></row>`).zip(f)
	f.Add(good, "")
	f.Add(good[:len(good)-1], "")
	f.Add([]byte(nil), `<row r="2"><c r="B2" t="s"><v>1</v></c><c s="2"><v>45000.5</v></c></row><row><c t="inlineStr"><is><t>_x000D_</t></is></c></row>`)
	f.Add([]byte(nil), `<row r="1048576"><c r="XFD1048576" t="str"><v>"</v></c></row>`)
	f.Add([]byte(nil), `</sheetData></worksheet><a>`)
	f.Fuzz(func(t *testing.T, file []byte, cells string) {
		if cells != "" {
			file = bookOf(cells).zip(t)
		}
		text, err := read(t, file)
		again, errAgain := read(t, file)
		if err != nil && !errors.Is(err, table.ErrRefused) || text != again || (err == nil) != (errAgain == nil) {
			t.Errorf("%v, and again %v", err, errAgain)
		}
	})
}
