package format

import (
	"bytes"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// What a byte of a CSV cell asks for.
const (
	asksQuotes uint8 = 1 << iota
	// beyondASCII: the text may be no UTF-8.
	beyondASCII
)

// csvLines writes RFC 4180. Beside what that asks for, cells that begin or end with a space are in quotes,
// since readers trim them.
type csvLines struct {
	columns   []rows.Column
	delimiter byte
	end       string
	noHeader  bool
	guard     bool
	asks      [256]uint8
}

func newCSV(columns []rows.Column, o Options) *csvLines {
	c := &csvLines{columns: columns, delimiter: ',', end: "\n", noHeader: o.NoHeader, guard: !o.RunFormulas}
	if o.Delimiter != 0 {
		c.delimiter = o.Delimiter
	}
	if o.CRLF {
		c.end = "\r\n"
	}
	for b := 0x80; b < len(c.asks); b++ {
		c.asks[b] = beyondASCII
	}
	for _, b := range []byte{c.delimiter, '"', '\r', '\n', '\t'} {
		c.asks[b] = asksQuotes
	}
	return c
}

func (c *csvLines) header(block []byte) []byte {
	if c.noHeader {
		return block
	}
	for i, column := range c.columns {
		if i > 0 {
			block = append(block, c.delimiter)
		}
		block = c.text(block, []byte(column.Name))
	}
	return append(block, c.end...)
}

func (c *csvLines) line(block []byte, row []rows.Value) (_ []byte, column int, what string) {
	for i := range row {
		if i > 0 {
			block = append(block, c.delimiter)
		}
		switch v := &row[i]; v.Kind {
		case rows.Null:
			if len(row) == 1 {
				block = append(block, `""`...)
			}
		case rows.Text, rows.JSON:
			block = c.text(block, v.Data)
		default:
			if block, what = appendScalar(block, v); what != "" {
				return block, i, what
			}
		}
	}
	return append(block, c.end...), 0, ""
}

// text appends a cell.
func (c *csvLines) text(block, text []byte) []byte {
	if len(text) == 0 {
		return append(block, `""`...)
	}
	var asks uint8
	for _, b := range text {
		asks |= c.asks[b]
	}
	if asks&beyondASCII != 0 {
		text = validText(text)
	}
	guarded := c.guard && runs(text)
	// PostgreSQL takes a line of \. for the end of the file.
	if asks&asksQuotes == 0 && text[0] != ' ' && text[len(text)-1] != ' ' && string(text) != `\.` {
		if guarded {
			block = append(block, '\'')
		}
		return append(block, text...)
	}
	block = append(block, '"')
	if guarded {
		block = append(block, '\'')
	}
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			break
		}
		block = append(append(block, text[:i+1]...), '"')
		text = text[i+1:]
	}
	return append(append(block, text...), '"')
}
