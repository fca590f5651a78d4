package dataset

import (
	"bytes"
	"strconv"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// fieldValue reads a cell of a CSV as a kind; false: it is not of that kind.
func fieldValue(kind rows.Kind, cell []byte) (rows.Value, bool) {
	switch {
	case len(cell) == 0:
		return rows.Value{}, true
	case kind == rows.Text:
		return rows.Value{Kind: rows.Text, Data: cell}, true
	}
	cell = trim(cell)
	if v, ok := valueOf(kind, cell); ok {
		return v, true
	}
	return rows.Value{}, cellOf(cell)&(word|empty) != 0
}

// memberValue reads a value of NDJSON as a kind.
func (s *Source) memberValue(kind rows.Kind, value []byte) (rows.Value, bool) {
	switch {
	case value[0] == 'n':
		return rows.Value{}, true
	case kind == rows.JSON:
		return rows.Value{Kind: rows.JSON, Data: value}, true
	case value[0] != '"':
		return valueOf(kind, value)
	}
	value = value[1 : len(value)-1]
	if kind != rows.Text {
		return valueOf(kind, value)
	}
	if bytes.IndexByte(value, '\\') >= 0 {
		start := len(s.scratch)
		s.scratch = table.Unescape(s.scratch, value)
		value = s.scratch[start:]
	}
	return rows.Value{Kind: rows.Text, Data: value}, true
}

// valueOf reads a cell of a kind that is neither Text nor JSON.
func valueOf(kind rows.Kind, cell []byte) (rows.Value, bool) {
	v := rows.Value{Kind: kind}
	if len(cell) == 0 {
		return v, false
	}
	var err error
	switch kind {
	case rows.Int:
		v.Int, err = parseInt(cell)
	case rows.Float:
		v.Float, err = strconv.ParseFloat(view(cell), 64)
	case rows.Decimal:
		v.Data = cell
		return v, numberOf(cell, false)&(integer|decimal) != 0
	case rows.Bool:
		if cell[0]|0x20 == 't' {
			v.Int = 1
		}
		return v, table.Classify(cell).Kind == table.Bool
	case rows.Date:
		t := table.OfString(cell)
		v.Int = t.Whole / 86400
		return v, t.Kind == table.Date
	case rows.Timestamp:
		t := table.OfString(cell)
		v.Int = t.Whole*1_000_000 + int64(t.Detail)/1000
		return v, t.Kind == table.Date || t.Kind == table.Timestamp
	default:
		return v, false
	}
	return v, err == nil
}

// parseInt reads what most integers are without the checks that strconv makes.
func parseInt(cell []byte) (int64, error) {
	if len(cell) > 18 || cell[0]-'0' > 9 {
		return strconv.ParseInt(view(cell), 10, 64)
	}
	n := int64(0)
	for _, c := range cell {
		if c-'0' > 9 {
			return 0, strconv.ErrSyntax
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}
