package format

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

const (
	// maxCellUnits is how many UTF-16 code units a cell has in Excel. What is longer is cut off there.
	maxCellUnits = 32_767
	// maxDigits is how many significant digits a number keeps in Excel. Integers and decimals with more are
	// texts.
	maxDigits = 15
	// maxPlaces keeps decimals within the exponents of a double.
	maxPlaces = 300
	// excelEpoch is the day 1970-01-01 in Excel's count.
	excelEpoch = 25_569
	// Days before excelFirst, 1900-03-01, are others in Excel's count, which has a 29 February 1900; the
	// last one is 9999-12-31. Dates beyond are texts.
	excelFirst = 61
	excelLast  = 2_958_465
)

// sheetXML makes rows the XML of a sheet.
type sheetXML struct {
	columns []rows.Column
	// letters are the columns' names in the addresses of cells.
	letters []string
	clipped int64
	scratch []byte
}

func newSheetXML(columns []rows.Column) sheetXML {
	s := sheetXML{columns: columns, letters: make([]string, len(columns))}
	for i := range columns {
		for n := i + 1; n > 0; n = (n - 1) / 26 {
			s.letters[i] = string(rune('A'+(n-1)%26)) + s.letters[i]
		}
	}
	return s
}

func (s *sheetXML) header(block []byte) []byte {
	block = append(block, `<row r="1">`...)
	for i, c := range s.columns {
		block = s.text(s.cell(block, i, 1), []byte(c.Name))
	}
	return append(block, `</row>`...)
}

// row appends a row; the meaning of column and what is that of lines.line.
func (s *sheetXML) row(block []byte, n int64, row []rows.Value) (_ []byte, column int, what string) {
	block = append(block, `<row r="`...)
	block = append(strconv.AppendInt(block, n, 10), `">`...)
	for i := range row {
		v := &row[i]
		if v.Kind == rows.Null {
			continue
		}
		block = s.cell(block, i, n)
		switch v.Kind {
		case rows.Text, rows.JSON:
			block = s.text(block, v.Data)
			continue
		case rows.Bool:
			block = append(append(block, `" t="b"><v>`...), byte('0'+v.Int&1))
			block = append(block, `</v></c>`...)
			continue
		case rows.Date, rows.Timestamp:
			if serial, style, ok := excelTime(v); ok {
				block = append(append(append(block, `" s="`...), style...), `"><v>`...)
				block = append(strconv.AppendFloat(block, serial, 'f', -1, 64), `</v></c>`...)
				continue
			}
		}
		if s.scratch, what = appendScalar(s.scratch[:0], v); what != "" {
			return block, i, what
		}
		if isExcelNumber(v) {
			block = append(append(append(block, `"><v>`...), s.scratch...), `</v></c>`...)
		} else {
			block = s.text(block, s.scratch)
		}
	}
	return append(block, `</row>`...), 0, ""
}

// cell begins a cell, up to its address.
func (s *sheetXML) cell(block []byte, column int, n int64) []byte {
	block = append(append(block, `<c r="`...), s.letters[column]...)
	return strconv.AppendInt(block, n, 10)
}

// text ends a cell that is a string.
func (s *sheetXML) text(block, text []byte) []byte {
	block = append(block, `" t="inlineStr"><is><t`...)
	if n := len(text); n > 0 && (text[0] <= ' ' || text[n-1] <= ' ') {
		block = append(block, ` xml:space="preserve"`...)
	}
	block = append(block, '>')
	block, clipped := appendXML(block, text)
	if clipped {
		s.clipped++
	}
	return append(block, `</t></is></c>`...)
}

// appendXML appends a text, or as much of it as a cell takes. XML has no form for most control characters;
// Excel's for them is _x0000_, and so an underscore that looks like its beginning is one as well.
func appendXML(dst, text []byte) (_ []byte, clipped bool) {
	units := 0
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
		}
		if units++; r > math.MaxUint16 {
			units++
		}
		if units > maxCellUnits {
			return dst, true
		}
		switch {
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff, r == '_' && isExcelEscape(text[i:]):
			dst = append(dst, "_x"...)
			for shift := 12; shift >= 0; shift -= 4 {
				dst = append(dst, "0123456789ABCDEF"[r>>shift&15])
			}
			dst = append(dst, '_')
		default:
			// A byte that is no UTF-8 is the rune U+FFFD here.
			dst = utf8.AppendRune(dst, r)
		}
		i += n
	}
	return dst, false
}

// isExcelEscape reports whether text begins like _x0000_.
func isExcelEscape(text []byte) bool {
	if len(text) < 7 || text[1] != 'x' || text[6] != '_' {
		return false
	}
	for _, c := range text[2:6] {
		if bytes.IndexByte([]byte("0123456789abcdefABCDEF"), c) < 0 {
			return false
		}
	}
	return true
}

// isExcelNumber reports whether Excel keeps all of a value as a number.
func isExcelNumber(v *rows.Value) bool {
	switch v.Kind {
	case rows.Int:
		return v.Int > -1e15 && v.Int < 1e15
	case rows.Float:
		return !math.IsNaN(v.Float) && !math.IsInf(v.Float, 0)
	case rows.Decimal:
		if len(v.Data) > maxPlaces {
			return false
		}
		whole, fraction, _ := bytes.Cut(bytes.TrimPrefix(v.Data, []byte("-")), []byte("."))
		whole, fraction = bytes.TrimLeft(whole, "0"), bytes.TrimRight(fraction, "0")
		if len(whole) == 0 {
			fraction = bytes.TrimLeft(fraction, "0")
		}
		return len(whole)+len(fraction) <= maxDigits
	default:
		return false
	}
}

// excelTime is a date or timestamp in days, as Excel counts them, unless it is out of Excel's range. A
// double holds today's times to the microsecond, nearly.
func excelTime(v *rows.Value) (serial float64, style string, ok bool) {
	day, micros, style := v.Int, int64(0), styleDate
	if v.Kind == rows.Timestamp {
		day, micros = splitMicros(v.Int)
		style = styleTimestamp
	}
	if day < excelFirst-excelEpoch || day > excelLast-excelEpoch {
		return 0, "", false
	}
	return float64(day+excelEpoch) + float64(micros)/microsPerDay, style, true
}
