package workbook

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
	"go.uber.org/goleak"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parts are those of a workbook, by name.
type parts map[string]string

const (
	head      = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	mainSpace = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`
	relSpace  = `xmlns="http://schemas.openxmlformats.org/package/2006/relationships"`
	relType   = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	sheet1    = "xl/worksheets/sheet1.xml"
	bookPart  = "xl/workbook.xml"
	bookRels  = "xl/_rels/workbook.xml.rels"
)

func relation(id, kind, target string) string {
	return `<Relationship Id="` + id + `" Type="` + relType + kind + `" Target="` + target + `"/>`
}

func relations(all ...string) string {
	return head + `<Relationships ` + relSpace + `>` + strings.Join(all, "") + `</Relationships>`
}

// bookOf is a workbook of one sheet with such rows.
func bookOf(rows string) parts {
	return parts{
		"_rels/.rels": relations(relation("rId1", "officeDocument", "xl/workbook.xml")),
		bookPart:      head + `<workbook ` + mainSpace + `><sheets><sheet name="One" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		bookRels: relations(relation("rId1", "worksheet", "worksheets/sheet1.xml"),
			relation("rId2", "sharedStrings", "/xl/sharedStrings.xml"), relation("rId3", "styles", "styles.xml")),
		sheet1: head + `<worksheet ` + mainSpace + `><sheetData>` + rows + `</sheetData></worksheet>`,
		"xl/sharedStrings.xml": head + `<sst ` + mainSpace + `><si><t>first</t></si><si><r><rPr><b/></rPr><t xml:space="preserve">rich </t></r><r><t>text</t></r>` +
			`<rPh sb="0" eb="1"><t>aloud</t></rPh></si><si><t/></si><si><t>a, "b"</t></si></sst>`,
		"xl/styles.xml": head + `<styleSheet ` + mainSpace + `><numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd\ hh:mm:ss"/></numFmts>` +
			`<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="21"/><xf numFmtId="46"/></cellXfs>` +
			`<dxfs><dxf><numFmt numFmtId="165" formatCode="d"/></dxf></dxfs></styleSheet>`,
	}
}

// with is the workbook with parts in place of others; an empty one is left out.
func (p parts) with(name, content string) parts {
	p[name] = content
	if content == "" {
		delete(p, name)
	}
	return p
}

func (p parts) zip(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for name, content := range p {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		if content == "" {
			h.Method = zip.Store
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// read is the text of a workbook.
func read(tb testing.TB, file []byte) (string, error) {
	tb.Helper()
	r, err := Open(tb.Context(), bytes.NewReader(file), int64(len(file)), false)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	if n := r.Consumed(); err == nil && n != int64(len(file)) {
		tb.Errorf("at the end %d bytes of %d are consumed", n, len(file))
	}
	return string(text), errors.Join(err, r.Close())
}

// wants reads a workbook that is fine.
func wants(t *testing.T, p parts, want string) {
	t.Helper()
	if got, err := read(t, p.zip(t)); err != nil || got != want {
		t.Errorf("the text is\n%q, %v, want\n%q", got, err, want)
	}
}

// refused reads a workbook that is not.
func refused(t *testing.T, file []byte, want string) {
	t.Helper()
	_, err := read(t, file)
	if !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want a refusal with %q", err, want)
	}
}
