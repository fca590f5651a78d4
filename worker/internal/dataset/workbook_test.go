package dataset_test

import (
	"archive/zip"
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
)

// sheet is a workbook whose rows end in | and cells in a comma.
func sheet(t *testing.T, text string) []byte {
	t.Helper()
	var cells strings.Builder
	for row := range strings.SplitSeq(text, "|") {
		cells.WriteString("<row>")
		for cell := range strings.SplitSeq(row, ",") {
			kind := ""
			if _, err := strconv.Atoi(cell); err != nil {
				kind = ` t="str"`
			}
			cells.WriteString("<c" + kind + "><v>" + cell + "</v></c>")
		}
		cells.WriteString("</row>")
	}
	const office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, p := range [][2]string{
		{"_rels/.rels", `<Relationships><Relationship Id="a" Type="` + office + `officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		{"xl/workbook.xml", `<workbook><sheets><sheet r:id="b"/></sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="b" Type="` + office + `worksheet" Target="sheet.xml"/></Relationships>`},
		{"xl/sheet.xml", `<worksheet><sheetData>` + cells.String() + `</sheetData></worksheet>`},
	} {
		f, err := w.Create(p[0])
		if err == nil {
			_, err = io.WriteString(f, p[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The workbook alone decides what its header is, and a dataset of one is read again as it was read first.
func TestWorkbooksHaveTheHeaderOfTheirSheet(t *testing.T) {
	t.Parallel()
	rows := func(n int) string { return strings.Repeat("|1,2,3", n) }
	for name, c := range map[string]struct {
		rows     string
		noHeader bool
		names    string
		first    string
		n        int
		rejected []int64
	}{
		"years below a title":    {"Sales report||Region,2021,2022,2023|North,1,2,3|South,4,5,6", false, "Region 2021 2022 2023", "text North | integer 1 | integer 2 | integer 3", 2, nil},
		"years alone":            {"2021,2022|1,2|3,4", false, "2021 2022", "integer 1 | integer 2", 2, nil},
		"gaps below a title":     {"Sales report|Region,,Total|N,1,2,3|S,4,5,6|E,7,8,9", false, "Region column_2 Total column_4", "text N | integer 1 | integer 2 | integer 3", 3, nil},
		"a name twice":           {"Report|a,a,b|1,2,3|4,5,6", false, "a a_2 b", "integer 1 | integer 2 | integer 3", 2, nil},
		"a wide row":             {"a,b,c" + rows(19) + "|1,2,3,4,5,6,7,8,9,10,11,12" + rows(20), false, "a b c", "integer 1 | integer 2 | integer 3", 39, []int64{21}},
		"half a header":          {"name|a,1|b,2", false, "name column_2", "text a | integer 1", 2, nil},
		"merged names":           {"Name,,Score|x,y,1,2|z,w,3,4", false, "Name column_2 Score column_4", "text x | text y | integer 1 | integer 2", 2, nil},
		"no header":              {"x|a,b,c|d,e,f", true, "column_1 column_2 column_3", "text x | null | null", 3, nil},
		"no header, and years":   {"2021,2022|1,2|3,4", true, "column_1 column_2", "integer 2021 | integer 2022", 3, nil},
		"cells beside the table": {",,,,,,made|,,,,,,today|a,b,c,d|1,2,3,4|5,6,7,8|9,1,2,3", false, "a b c d", "integer 1 | integer 2 | integer 3 | integer 4", 3, nil},
		"a number sign":          {"# of orders,amount|1,2|3,4", false, "# of orders amount", "integer 1 | integer 2", 2, nil},
		"two number signs":       {"##,amount|1,2|3,4", false, "## amount", "integer 1 | integer 2", 2, nil},
		"a delimiter":            {"sep=;|1|2", false, "sep=;", "integer 1", 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := memory(t)
			m, no, err := makeTable(t, bucket, "book.xlsx", sheet(t, c.rows), c.noHeader)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, col := range m.Columns {
				names = append(names, col.Name)
			}
			all, positions := read(t, bucket, m, nil)
			if got := strings.Join(names, " "); got != c.names || len(all) != c.n || m.Rows != int64(c.n) || all[0] != c.first {
				t.Fatalf("names %s, %d rows and %d again, from %s; want %s, %d, from %s", got, m.Rows, len(all), all[0], c.names, c.n, c.first)
			}
			if len(no) != len(c.rejected) || len(no) > 0 && no[0].line != c.rejected[0] {
				t.Errorf("rejected are %v, want lines %d", no, c.rejected)
			}
			if rest, _ := read(t, bucket, m, positions[len(all)-1]); len(rest) != 1 || rest[0] != all[len(all)-1] {
				t.Errorf("the last row is %q, want %s", rest, all[len(all)-1])
			}
		})
	}
}
