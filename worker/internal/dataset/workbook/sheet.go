package workbook

import (
	"bytes"
	"strconv"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// Excel's bounds of a sheet.
const (
	maxRows    = 1_048_576
	maxColumns = 16_384
)

// A sheet reads the cells of a worksheet that have a value, row by row (ECMA-376 part 1, 18.3.1.99).
type sheet struct {
	s         *scanner
	styles    styles
	since1904 bool
	texts     *shared

	row, col int    // of the last cell, from 1
	field    []byte // what it has, as a field of a CSV

	cells, inRow bool
	raw, room    []byte
}

// next finds the next cell that has a value; false: there is none, and the part was verified to its end.
func (t *sheet) next() (bool, error) {
	for {
		token, err := t.s.next()
		switch {
		case err != nil || token == end:
			return false, err
		case token != open:
		case t.s.depth == 2:
			t.cells, t.inRow = string(t.s.name) == "sheetData", false
		case t.s.depth == 3:
			if t.inRow = t.cells && string(t.s.name) == "row"; t.inRow {
				if err := t.begin(); err != nil {
					return false, err
				}
			}
		case t.s.depth == 4 && t.inRow && string(t.s.name) == "c":
			if err := t.cell(); err != nil {
				return false, err
			}
			if len(t.field) > 0 {
				return true, nil
			}
		}
	}
}

// begin takes the number of a row.
func (t *sheet) begin() error {
	row := t.row + 1
	if r := t.s.attr("r"); r != nil {
		n, err := strconv.Atoi(string(r))
		if err != nil || n < row {
			return errOrder
		}
		row = n
	}
	if row > maxRows {
		return table.Refuse("The sheet has a row beyond number %d, the last that Excel has. Split it.", maxRows)
	}
	t.row, t.col = row, 0
	return nil
}

var errOrder = table.Refuse("The workbook is damaged: rows or cells of the sheet are out of order, or a reference to a cell is none. " + saveAgain)

// cell reads a cell.
func (t *sheet) cell() error {
	kind, style := byte('n'), shown(0)
	col := t.col + 1
	for i := range t.s.attrs {
		value := t.s.attrs[i].value
		switch string(t.s.attrs[i].name) {
		case "r":
			if col = t.column(value); col <= t.col {
				return errOrder
			}
		case "s":
			if n, err := strconv.Atoi(string(value)); err == nil && n >= 0 && n < len(t.styles) {
				style = t.styles[n]
			}
		case "t":
			if kind = kindOf(value); kind == 0 {
				return table.Refuse("The workbook is damaged: a cell is of a type that no workbook has. %s", saveAgain)
			}
		}
	}
	if col > maxColumns {
		return table.Refuse("The sheet has a column beyond number %d, the last that Excel has. Split it.", maxColumns)
	}
	t.col = col
	if err := t.read(kind); err != nil {
		return err
	}
	return t.set(kind, style)
}

// column reads a reference such as C7; 0: it is none, or of another row.
func (t *sheet) column(ref []byte) int {
	col, i := 0, 0
	for ; i < len(ref) && i < 4 && ref[i] >= 'A' && ref[i] <= 'Z'; i++ {
		col = col*26 + int(ref[i]-'A') + 1
	}
	row := 0
	for _, c := range ref[i:] {
		if c < '0' || c > '9' || row > maxRows {
			return 0
		}
		row = row*10 + int(c-'0')
	}
	if row != t.row {
		return 0
	}
	return col
}

// kindOf is a letter for a cell's type (ECMA-376 part 1, 18.18.11); 0: it is none.
func kindOf(name []byte) byte {
	switch string(name) {
	case "n", "s", "b", "e", "d":
		return name[0]
	case "str":
		return 't'
	case "inlineStr":
		return 'i'
	}
	return 0
}

// read reads what is in a cell up to its end.
func (t *sheet) read(kind byte) error {
	t.raw = t.raw[:0]
	for {
		token, err := t.s.next()
		switch {
		case err != nil:
			return err
		case token == shut && t.s.depth == 3:
			return nil
		case token != open || t.s.depth != 5:
			continue
		}
		if rich := kind == 'i'; rich && string(t.s.name) == "is" || !rich && string(t.s.name) == "v" {
			if t.raw, err = t.s.content(t.raw[:0], rich); err != nil {
				return err
			}
		}
	}
}

// set makes the field.
func (t *sheet) set(kind byte, style shown) (err error) {
	t.field = t.field[:0]
	value := t.raw
	if kind != 't' && kind != 'i' {
		value = bytes.TrimSpace(value)
	}
	if len(value) == 0 {
		return nil
	}
	switch kind {
	case 's':
		i, err := strconv.Atoi(string(value))
		if err != nil {
			i = -1
		}
		t.field, err = t.texts.append(t.field, int64(i))
		return err
	case 'b':
		if b, err := strconv.ParseBool(string(value)); err == nil {
			t.field = strconv.AppendBool(t.field, b)
			return nil
		}
	case 'n':
		t.field = appendNumber(t.field, value, style, t.since1904)
		return nil
	case 'e', 'd':
	default:
		t.field, t.room, err = appendText(t.field, value, t.room)
		return err
	}
	t.field = appendField(t.field, bytes.ToValidUTF8(value, []byte("\ufffd")))
	return nil
}
