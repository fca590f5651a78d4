package format

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// maxSheets bounds the state. A thousand sheets have a billion rows.
const maxSheets = 1_000

// xlsxFile writes Office Open XML (ECMA-376) in one pass. What needs to know all sheets comes after them.
type xlsxFile struct {
	core
	sheet sheetXML
	zip   archive
	// block has XML of the open sheet that is not compressed yet.
	block []byte
	// inSheet is how many rows the open sheet has, its header included; 0: none is open.
	inSheet int64
}

func newXLSX(c core) *xlsxFile { return &xlsxFile{core: c, sheet: newSheetXML(c.columns)} }

func (f *xlsxFile) begin() {
	for _, e := range xlsxHead {
		// Memory does not fail, nor does a compression level that is known.
		_ = f.zip.whole(e.name, e.content)
	}
}

// sheets is how many have begun.
func (f *xlsxFile) sheets() int { return len(f.zip.entries) - len(xlsxHead) }

func (f *xlsxFile) Write(row []rows.Value) error {
	if err := f.check(row); err != nil {
		return err
	}
	if f.inSheet == 0 {
		if err := f.open(); err != nil {
			return err
		}
	}
	f.inSheet++
	block, column, what := f.sheet.row(f.block, f.inSheet, row)
	if what != "" {
		return f.wrong(column, what)
	}
	f.block = block
	size := f.zip.entries[len(f.zip.entries)-1].size + uint64(len(block))
	switch {
	case f.inSheet == f.limits.sheetRows || size >= f.limits.sheetBytes:
		if err := f.shut(); err != nil {
			return err
		}
	case len(block) < f.limits.block:
		return nil
	default:
		if err := f.pack(); err != nil {
			return err
		}
	}
	return f.flush()
}

// open begins the next sheet.
func (f *xlsxFile) open() error {
	if f.sheets() == maxSheets {
		return f.fail(fmt.Errorf("an XLSX file of more than %d sheets: %w", maxSheets, ErrTooLarge))
	}
	f.zip.begin(sheetName(f.sheets()))
	f.block = append(f.block, sheetHead...)
	if !f.options.NoHeader {
		f.inSheet = 1
		f.block = f.sheet.header(f.block)
	}
	return nil
}

// shut ends the open sheet.
func (f *xlsxFile) shut() error {
	f.block = append(f.block, sheetTail...)
	if err := f.pack(); err != nil {
		return err
	}
	f.zip.end()
	f.inSheet = 0
	return nil
}

// pack compresses the block.
func (f *xlsxFile) pack() error {
	if err := f.zip.add(f.block); err != nil {
		return f.fail(err)
	}
	f.block = emptied(f.block)
	return nil
}

// flush writes what is compressed.
func (f *xlsxFile) flush() error {
	if err := f.zip.check(); err != nil {
		return f.fail(err)
	}
	if err := f.put(f.zip.out.Bytes()); err != nil {
		return err
	}
	f.zip.flushed += uint64(f.zip.out.Len())
	f.zip.out.Reset()
	return nil
}

func (f *xlsxFile) Boundary() bool {
	return f.zip.flushed > 0 && len(f.block) == 0 && f.zip.out.Len() == 0 && !f.closed && f.err == nil
}

func (f *xlsxFile) State() ([]byte, error) {
	return f.state(f.Boundary(), func(e *encoder) {
		e.uvarint(uint64(f.inSheet))
		e.uvarint(uint64(f.sheet.clipped))
		f.zip.save(e)
	})
}

func (f *xlsxFile) restore(d *decoder) {
	f.rows = d.count()
	f.inSheet = d.count()
	f.sheet.clipped = d.count()
	f.zip.restore(d, uint64(maxSheets+len(xlsxHead)))
	if f.sheets() < 1 || f.zip.flushed == 0 {
		d.fail()
	}
	for i := range f.zip.entries {
		if i < len(xlsxHead) {
			f.zip.entries[i].name = xlsxHead[i].name
		} else {
			f.zip.entries[i].name = sheetName(i - len(xlsxHead))
		}
	}
}

func (f *xlsxFile) Clipped() int64 { return f.sheet.clipped }

func (f *xlsxFile) Close() error {
	if err := f.finish(); err != nil {
		return err
	}
	if f.sheets() == 0 {
		if err := f.open(); err != nil {
			return err
		}
	}
	if len(f.block) > 0 || f.inSheet > 0 {
		if err := f.shut(); err != nil {
			return err
		}
	}
	for _, e := range xlsxTail(f.sheets()) {
		if err := f.zip.whole(e.name, e.content); err != nil {
			return f.fail(err)
		}
	}
	f.zip.directory()
	return f.flush()
}

// A part is an entry of the package whose content is known.
type part struct{ name, content string }

const (
	xmlHead       = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	xmlMain       = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
	xmlRelations  = "http://schemas.openxmlformats.org/package/2006/relationships"
	xmlOffice     = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	xmlTypes      = "http://schemas.openxmlformats.org/package/2006/content-types"
	contentPrefix = "application/vnd.openxmlformats-officedocument.spreadsheetml."

	sheetHead = xmlHead + `<worksheet xmlns="` + xmlMain + `"><sheetData>`
	sheetTail = `</sheetData></worksheet>`
)

// The styles of cells, by their place in xlsxHead's cellXfs.
const (
	styleDate      = "1"
	styleTimestamp = "2"
)

// xlsxHead comes before the sheets.
var xlsxHead = []part{
	{"_rels/.rels", xmlHead + `<Relationships xmlns="` + xmlRelations + `"><Relationship Id="rId1" Type="` + xmlOffice + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
	{"xl/styles.xml", xmlHead + `<styleSheet xmlns="` + xmlMain + `">` +
		`<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/><numFmt numFmtId="165" formatCode="yyyy\-mm\-dd\ hh:mm:ss.000"/></numFmts>` +
		`<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>` +
		`<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
		`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
		`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
		`<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>` +
		`<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
		`<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>` +
		`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`},
}

func sheetName(i int) string { return "xl/worksheets/sheet" + strconv.Itoa(i+1) + ".xml" }

// xlsxTail comes after the sheets: the workbook, and what is what.
func xlsxTail(sheets int) []part {
	var book, relations, types strings.Builder
	book.WriteString(xmlHead + `<workbook xmlns="` + xmlMain + `" xmlns:r="` + xmlOffice + `"><sheets>`)
	relations.WriteString(xmlHead + `<Relationships xmlns="` + xmlRelations + `">`)
	types.WriteString(xmlHead + `<Types xmlns="` + xmlTypes + `"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="` + contentPrefix + `sheet.main+xml"/>` +
		`<Override PartName="/xl/styles.xml" ContentType="` + contentPrefix + `styles+xml"/>`)
	for i := range sheets {
		n := strconv.Itoa(i + 1)
		book.WriteString(`<sheet name="Sheet` + n + `" sheetId="` + n + `" r:id="rId` + n + `"/>`)
		relations.WriteString(`<Relationship Id="rId` + n + `" Type="` + xmlOffice + `/worksheet" Target="worksheets/sheet` + n + `.xml"/>`)
		types.WriteString(`<Override PartName="/` + sheetName(i) + `" ContentType="` + contentPrefix + `worksheet+xml"/>`)
	}
	book.WriteString(`</sheets></workbook>`)
	relations.WriteString(`<Relationship Id="rId` + strconv.Itoa(sheets+1) + `" Type="` + xmlOffice + `/styles" Target="styles.xml"/></Relationships>`)
	types.WriteString(`</Types>`)
	return []part{{"xl/workbook.xml", book.String()}, {"xl/_rels/workbook.xml.rels", relations.String()}, {"[Content_Types].xml", types.String()}}
}

// Excel's limits of a sheet; maxSheetBytes is ours, so that no entry of the archive reaches 4 GiB.
const (
	maxSheetRows  = 1_048_576
	maxSheetBytes = math.MaxUint32 / 2
)
