package workbook

import (
	"net/url"
	"path"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxPartBytes bounds the parts beside sheets and shared texts, unpacked.
	maxPartBytes = 32 << 20
	// maxSheets and maxNameBytes bound the list of sheets.
	maxSheets    = 4096
	maxNameBytes = 1 << 10
)

// A book is what is where in a workbook.
type book struct {
	sheet, shared, styles string // names of parts, "" where there is none
	since1904             bool
	alike                 int // worksheets that are visible, or hidden, as the chosen one
}

// A listed sheet is one in the order of the workbook.
type listed struct {
	id     string // of the relationship
	hidden bool
	other  bool // a chart sheet and the like
	part   string
}

// readBook finds the parts that matter, by the relationships of the package and of the workbook.
func readBook(a *archive) (book, error) {
	var b book
	main := ""
	err := a.relations("", func(_, kind, target string) {
		if kind == "officeDocument" && main == "" {
			main = target
		}
	})
	switch {
	case err != nil:
		return b, err
	case strings.HasSuffix(strings.ToLower(main), ".bin"):
		return b, table.Refuse("This is a binary workbook (XLSB), which cannot be read. Save it as an Excel workbook (XLSX), or the sheet as CSV.")
	case !a.has(main):
		return b, notWorkbook()
	}
	s, err := a.scan(main, maxPartBytes)
	if err != nil {
		return b, err
	}
	sheets, err := b.sheets(s)
	if err != nil {
		return b, err
	}
	at := make(map[string]int, len(sheets))
	for i := range sheets {
		at[sheets[i].id] = i
	}
	err = a.relations(main, func(id, kind, target string) {
		switch i, found := at[id]; {
		case found:
			sheets[i].other, sheets[i].part = kind != "worksheet", target
		case kind == "sharedStrings":
			b.shared = target
		case kind == "styles":
			b.styles = target
		}
	})
	if err != nil {
		return b, err
	}
	return b, b.choose(a, sheets)
}

func notWorkbook() error {
	return table.Refuse("This file is no Excel workbook (XLSX), though it is packed like one. Save the sheet as an Excel workbook or as CSV.")
}

// sheets reads the list of sheets, and from when days are counted (ECMA-376 part 1, 18.2.27 and 18.2.28).
func (b *book) sheets(s *scanner) ([]listed, error) {
	if err := s.root("workbook"); err != nil {
		return nil, notOf(err)
	}
	var sheets []listed
	within := ""
	for {
		t, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case t == end:
			return sheets, nil
		case t != open:
		case s.depth == 2:
			within = string(s.name)
			if within == "workbookPr" {
				since := string(s.attr("date1904"))
				b.since1904 = since == "1" || since == "true"
			}
		case s.depth == 3 && within == "sheets" && string(s.name) == "sheet":
			sheet := listed{}
			for _, a := range s.attrs {
				switch name := string(a.name); {
				case name == "state":
					sheet.hidden = string(a.value) != "visible"
				case strings.HasSuffix(name, ":id"):
					sheet.id = string(s.value(a.value))
				}
			}
			if len(sheets) == maxSheets || len(sheet.id) > maxNameBytes {
				return nil, table.Refuse("This workbook has more than %d sheets, the most that are read, or names of more than %d bytes. Copy the cells into a new workbook.", maxSheets, maxNameBytes)
			}
			sheets = append(sheets, sheet)
		}
	}
}

// notOf is err, or that the root of a part was another.
func notOf(err error) error {
	if err == errXML { //nolint:errorlint // the very one that root returns
		return notWorkbook()
	}
	return err
}

// choose takes the first worksheet that is visible, or the first where none is.
func (b *book) choose(a *archive, sheets []listed) error {
	chosen := -1
	for i, s := range sheets {
		// A sheet that is nowhere is not passed over: another would be read in its place.
		if !s.other && (chosen < 0 || sheets[chosen].hidden && !s.hidden) {
			chosen = i
		}
	}
	for _, s := range sheets {
		if !s.other && s.hidden == sheets[max(chosen, 0)].hidden {
			b.alike++
		}
	}
	if chosen < 0 {
		return table.Refuse("This workbook has no worksheet: there are no cells to be read. Copy them into a worksheet.")
	}
	if b.sheet = sheets[chosen].part; !a.has(b.sheet) {
		return table.Refuse("The workbook is damaged: its first sheet is not in it. %s", saveAgain)
	}
	for _, name := range []string{b.shared, b.styles} {
		if name != "" && !a.has(name) {
			return table.Refuse("The workbook is damaged: it names a part that is not in it. %s", saveAgain)
		}
	}
	return nil
}

// scan opens a part as XML.
func (a *archive) scan(name string, most int64) (*scanner, error) {
	p, err := a.open(name, most)
	if err != nil {
		return nil, err
	}
	return newScanner(p), nil
}

// relations reads the relationships of a part, or of the package where it is "" (ECMA-376 part 2, 6.5). kind is
// the end of a type, which the strict and the transitional form of the standard have in common; target is the
// name of a part, or "" where it is outside of the workbook.
func (a *archive) relations(of string, each func(id, kind, target string)) error {
	dir, base := path.Split(of)
	name := dir + "_rels/" + base + ".rels"
	if !a.has(name) {
		return notWorkbook()
	}
	s, err := a.scan(name, maxPartBytes)
	if err != nil {
		return err
	}
	if err := s.root("Relationships"); err != nil {
		return notOf(err)
	}
	short := func(attr string) string {
		if v := s.attr(attr); len(v) <= maxNameBytes {
			return string(v)
		}
		return "" // it can name nothing that is there
	}
	for {
		t, err := s.next()
		if err != nil || t == end {
			return err
		}
		if t != open || s.depth != 2 || string(s.name) != "Relationship" {
			continue
		}
		target := short("Target")
		if string(s.attr("TargetMode")) == "External" {
			target = ""
		}
		if target != "" {
			if plain, err := url.PathUnescape(target); err == nil {
				target = plain
			}
			if !strings.HasPrefix(target, "/") {
				target = "/" + dir + target
			}
			target = strings.TrimPrefix(path.Clean(target), "/")
		}
		each(short("Id"), path.Base(short("Type")), target)
	}
}
