package workbook

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestCells(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, rows, want string }{
		{"no rows", ``, ""},
		{"no values", `<row r="1"><c r="A1" s="1"/></row><row r="9"/>`, ""},
		{"shared", `<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v> 1 </v></c><c r="C1" t="s"><v>3</v></c></row>`, "first,rich text,\"a, \"\"b\"\"\"\n"},
		{"an empty text is none", `<row r="1"><c r="A1" t="s"><v>2</v></c><c r="B1" t="inlineStr"><is><t/></is></c><c t="str"><f>A1</f><v></v></c></row>`, ""},
		{"inline", `<row><c t="inlineStr"><is><r><t>a</t></r><r><t xml:space="preserve"> b</t></r><rPh><t>no</t></rPh></is></c></row>`, "a b\n"},
		{"formula", `<row><c t="str"><f>"x"&amp;1</f><v> x1 </v></c><c><f>1+1</f><v>2</v></c></row>`, " x1 ,2\n"},
		{"booleans", `<row><c t="b"><v>1</v></c><c t="b"><v>0</v></c></row>`, "true,false\n"},
		{"error", `<row><c t="e"><v>#DIV/0!</v></c></row>`, "#DIV/0!\n"},
		{"ISO date", `<row><c t="d"><v>2024-02-29T10:00:00Z</v></c></row>`, "2024-02-29T10:00:00Z\n"},
		{"no number", `<row><c><v>n/a,</v></c></row>`, "\"n/a,\"\n"},
		{"no UTF-8", "<row><c><v>\xff,\xff</v></c></row>", "\"\ufffd,\ufffd\"\n"},
		{"numbers", `<row><c><v>0.10</v></c><c><v>1E+21</v></c><c><v>1.5E-2</v></c><c><v>12345678901234567890</v></c></row>`, "0.10,1e+21,0.015,12345678901234567890\n"},
		{"doubles", `<row><c><v>0.30000000000000004</v></c><c><v>1.1000000000000001</v></c><c><v>1.23456789012345678901</v></c></row>`, "0.30000000000000004,1.1,1.23456789012345678901\n"},
		{"dates", `<row><c s="1"><v>45351</v></c><c s="2"><v>45351</v></c><c s="2"><v>45351.5243055556</v></c><c s="3"><v>0.75</v></c><c s="4"><v>1.5</v></c><c s="99"><v>1</v></c></row>`, "2024-02-29,2024-02-29T00:00:00,2024-02-29T12:35:00,18:00:00,36:00:00,1\n"},
		{"references", `<row r="2"><c r="B2"><v>1</v></c><c><v>2</v></c></row><row><c r="C3"><v>3</v></c></row><row r="6"><c r="XFD6"><v>4</v></c></row>`, "\n,1,2\n,,3\n\n\n" + strings.Repeat(",", 16383) + "4\n"},
		{"escapes", `<row><c t="inlineStr"><is><t>a_x000D_` + "\r" + `b &lt;&#x1F30A;_xD83C__xDF0A_ _x005F_x000D_ _xD83C_ _x0000_</t></is></c></row>`, "\"a\r\nb <🌊🌊 _x000D_ \ufffd \ufffd\"\n"},
		{"CDATA and comments", `<row><c t="str"><v>a<!-- > --><![CDATA[<b>]]]]><![CDATA[>]]>c<?pi ?></v></c></row>`, "a<b>]]>c\n"},
		{"prefixes", `<x:row><x:c t="str"><x:v>p</x:v></x:c></x:row>`, "p\n"},
		{"byte-order mark", `<row><c t="str"><v>` + "\ufeffa" + `</v></c></row>`, "\"\ufeffa\"\n"},
		{"elements in a value", `<row><c><v>1<x>2</x></v></c><c t="inlineStr"><is><t>a<b>b</b></t>c</is></c></row>`, "1,a\n"},
		{"not cells", `<row><c><v>1</v><extLst><ext><v>9</v><c><v>8</v></c></ext></extLst></c><d><c><v>7</v></c></d></row><c><v>6</v></c>`, "1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wants(t, bookOf(tt.rows), tt.want)
		})
	}
}

// rowsOf are rows of texts: | ends one, and a space a cell.
func rowsOf(text string) string {
	var rows strings.Builder
	for row := range strings.SplitSeq(text, "|") {
		rows.WriteString("<row>")
		for cell := range strings.SplitSeq(row, " ") {
			rows.WriteString(`<c t="str"><v>` + cell + `</v></c>`)
		}
		rows.WriteString("</row>")
	}
	return rows.String()
}

func TestRowsHaveTheTablesWidth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, rows, want string }{
		{"titles are left out", `T||a b c|1|2  3`, "\n\na,b,c\n1,,\n2,,3\n"},
		{"titles widen nothing", `      x|      y|a b c|1 2 3|4 5 6|7 8 9`, "\n\na,b,c\n1,2,3\n4,5,6\n7,8,9\n"},
		{"half as many values are a header", `a|1 2|3 4`, "a,\n1,2\n3,4\n"},
		{"half as many apart from the rest are a title", `a||1 2|3 4`, "\n\n1,2\n3,4\n"},
		{"fewer are a title", `a|1 2 3|4 5 6`, "\n1,2,3\n4,5,6\n"},
		{"of four rows one may be the fullest", `a|b|1 2 3|c`, "\n\n1,2,3\nc,,\n"},
		{"of five rows it may not", `a|b|1 2 3|c|d`, "a\nb\n1,2,3\nc\nd\n"},
		{"two rows of 20 are full", `T` + strings.Repeat("|1", 17) + "|1 2 3|1 2 3", strings.Repeat("\n", 18) + "1,2,3\n1,2,3\n"},
		{"two of 21 are not", `T` + strings.Repeat("|1", 18) + "|1 2 3|1 2 3", "T,,\n" + strings.Repeat("1,,\n", 18) + "1,2,3\n1,2,3\n"},
		{"a note beside the table widens nothing", `a b c|1 2 3|4 5 6   note|7`, "a,b,c\n1,2,3\n4,5,6,,,note\n7,,\n"},
		{"a column without a name", `a b|1 2 3|4|5 6 7`, "a,b,\n1,2,3\n4,,\n5,6,7\n"},
		{"a name without values", `a b c d|1 2|3 4`, "a,b,c,d\n1,2,,\n3,4,,\n"},
		{"one column", `a||1`, "a\n\n1\n"},
		{"more than the sample", `a b c` + strings.Repeat("|1", 300) + `|1 2 3 4`, "a,b,c\n" + strings.Repeat("1,,\n", 300) + "1,2,3,4\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wants(t, bookOf(rowsOf(tt.rows)), tt.want)
		})
	}
}

// Without a header the first row is data, whatever it has.
func TestNoRowIsATitleWithoutAHeader(t *testing.T) {
	t.Parallel()
	file := bookOf(rowsOf(`|x|1 2 3|4 5 6`)).zip(t)
	r, err := Open(t.Context(), bytes.NewReader(file), int64(len(file)), true)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "\nx,,\n1,2,3\n4,5,6\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A sample ends within a row that is longer.
func TestALongRowIsWhole(t *testing.T) {
	t.Parallel()
	cell, rows, want := strings.Repeat("x", 30_000), "", ""
	for range 3 {
		rows += "<row>" + strings.Repeat(`<c t="str"><v>`+cell+`</v></c>`, 5) + "</row>"
		want += strings.Repeat(cell+",", 4) + cell + "\n"
	}
	wants(t, bookOf(rows), want)
}

func TestSheets(t *testing.T) {
	t.Parallel()
	sheets := func(b parts, list string, rels ...string) parts {
		rels = append(rels, relation("rId2", "sharedStrings", "sharedStrings.xml"), relation("rId3", "styles", "/xl/styles.xml"))
		return b.with(bookPart, `<workbook `+mainSpace+`><workbookPr date1904="1"/><sheets>`+list+`</sheets></workbook>`).with(bookRels, relations(rels...))
	}
	one := relation("a", "worksheet", "worksheets/sheet1.xml")
	rows := `<row><c s="1"><v>0</v></c><c s="3"><v>0.5</v></c></row>`
	const want = "1904-01-01,12:00:00\n"
	two := relation("b", "worksheet", "worksheets/sheet2.xml")
	wants(t, sheets(bookOf(rows), `<sheet r:id="b" state="hidden"/><sheet r:id="c"/><sheet r:id="a" state="visible"/>`, two, one, relation("c", "chartsheet", "x.xml")), want)
	wants(t, sheets(bookOf(rows), `<sheet r:id="a" state="hidden"/><sheet r:id="b" state="veryHidden"/>`, two, one), want)
	for list, want := range map[string]int{
		`<sheet r:id="a"/><sheet r:id="b"/><sheet r:id="c"/>`: 2, `<sheet r:id="b" state="hidden"/><sheet r:id="a"/>`: 1, `<sheet r:id="a" state="hidden"/><sheet r:id="b" state="hidden"/>`: 2,
	} {
		file := sheets(bookOf(rows), list, two, one, relation("c", "chartsheet", "x.xml")).zip(t)
		r, err := Open(t.Context(), bytes.NewReader(file), int64(len(file)), false)
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Sheets(); n != want {
			t.Errorf("%s shows %d sheets, want %d", list, n, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	strict := strings.NewReplacer(relType, "http://purl.oclc.org/ooxml/officeDocument/relationships/", mainSpace, `xmlns="http://purl.oclc.org/ooxml/spreadsheetml/main" xmlns:r="http://purl.oclc.org/ooxml/officeDocument/relationships"`)
	b := sheets(bookOf(rows), `<sheet r:id="a"/>`, one)
	for name, content := range b {
		b[name] = strict.Replace(content)
	}
	wants(t, b, want)
	wants(t, sheets(bookOf(rows), `<sheet r:id="a"/>`, relation("a", "worksheet", "../xl/worksheets/SHEET1.xml")), want)
	refused(t, sheets(bookOf(rows), `<sheet r:id="c"/>`, relation("c", "chartsheet", "x.xml")).zip(t), "no worksheet")
	refused(t, sheets(bookOf(rows), ``).zip(t), "no worksheet")
	refused(t, sheets(bookOf(rows), `<sheet r:id="c"/>`, relation("c", strings.Repeat("x", maxNameBytes)+"/worksheet", "worksheets/sheet1.xml")).zip(t), "no worksheet")
	refused(t, sheets(bookOf(rows), `<sheet r:id="b"/><sheet r:id="a"/>`, one).zip(t), "first sheet is not in it")
	refused(t, sheets(bookOf(rows), `<sheet r:id="b"/><sheet r:id="a"/>`, one, two).zip(t), "first sheet is not in it")
	refused(t, sheets(bookOf(rows), `<sheet r:id="a"/>`, `<Relationship Id="a" TargetMode="External" Type="`+relType+`worksheet" Target="worksheets/sheet1.xml"/>`).zip(t), "first sheet is not in it")
	refused(t, sheets(bookOf(rows), strings.Repeat(`<sheet r:id="a"/>`, maxSheets+1), one).zip(t), "more than 4096 sheets")
	refused(t, bookOf(rows).with("xl/styles.xml", "").zip(t), "names a part that is not in it")
	// The two parts that a workbook may lack.
	wants(t, bookOf(`<row><c s="1"><v>7</v></c></row>`).with(bookRels, relations(relation("rId1", "worksheet", "worksheets/sheet1.xml"))), "7\n")
}
