package format

import (
	"bytes"
	"math"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// ndjsonLines writes an object a line.
type ndjsonLines struct {
	// names is what comes before each value: a comma, the column's name and a colon.
	names [][]byte
}

func newNDJSON(columns []rows.Column) *ndjsonLines {
	l := &ndjsonLines{names: make([][]byte, len(columns))}
	for i, c := range columns {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		l.names[i] = append(appendJSONString([]byte{before}, validText([]byte(c.Name))), ':')
	}
	return l
}

func (*ndjsonLines) header(block []byte) []byte { return block }

func (l *ndjsonLines) line(block []byte, row []rows.Value) (_ []byte, column int, what string) {
	for i := range row {
		block = append(block, l.names[i]...)
		v := &row[i]
		switch v.Kind {
		case rows.Null:
			block = append(block, "null"...)
		case rows.Text:
			block = appendJSONString(block, validText(v.Data))
		case rows.JSON:
			block = append(block, jsonText(v.Data)...)
		case rows.Float:
			if math.IsNaN(v.Float) || math.IsInf(v.Float, 0) {
				block = append(block, "null"...)
			} else {
				block = appendFloat(block, v.Float)
			}
		case rows.Decimal:
			if !isDecimal(v.Data) {
				return block, i, notDecimal
			}
			block = appendJSONDecimal(block, v.Data)
		case rows.Date, rows.Timestamp:
			block = append(block, '"')
			if block, what = appendScalar(block, v); what != "" {
				return block, i, what
			}
			block = append(block, '"')
		case rows.Bytes:
			// The backslash of \x is escaped.
			block, _ = appendScalar(append(block, `"\`...), v)
			block = append(block, '"')
		default:
			block, _ = appendScalar(block, v)
		}
	}
	return append(block, '}', '\n'), 0, ""
}

// appendJSONDecimal appends a decimal as JSON's grammar wants it, without zeros before its first digit.
func appendJSONDecimal(dst, decimal []byte) []byte {
	if decimal[0] == '-' {
		dst, decimal = append(dst, '-'), decimal[1:]
	}
	for len(decimal) > 1 && decimal[0] == '0' && decimal[1] != '.' {
		decimal = decimal[1:]
	}
	return append(dst, decimal...)
}

// appendJSONString appends a text, which is UTF-8, as a JSON string. It escapes what JSON asks for alone.
func appendJSONString(dst, text []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		if at := bytes.IndexByte([]byte("\b\t\n\f\r\"\\"), c); at >= 0 {
			dst = append(dst, '\\', `btnfr"\`[at])
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, text[start:]...), '"')
}

const hexDigits = "0123456789abcdef"
