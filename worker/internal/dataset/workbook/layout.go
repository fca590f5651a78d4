package workbook

import (
	"errors"
	"io"
	"slices"
)

const (
	// sampleRows and sampleBytes are how much of a sheet is looked at before the first row is written.
	sampleRows  = 200
	sampleBytes = 64 << 10
	// fewRows is how many rows are too few for a wide one among them to be told.
	fewRows = 5
	// chunkBytes is how much is written at once, give or take a cell.
	chunkBytes = 32 << 10
)

// A layout writes cells as a CSV, and decides how many fields rows have: see the package's comment.
type layout struct {
	sheet    *sheet
	noHeader bool
	sample   []sampled
	text     []byte // the fields of sample, one after the other
	used     int    // how many of sample were taken, or are in titles

	width int // rows have at least so many fields

	row, col int // the row that is being written, and how many fields it has
	next     sampled
	field    []byte // of next
	waiting  bool   // next is not written yet
}

// A sampled cell has its field between that of the cell before it and until.
type sampled struct{ row, col, until int32 }

func newLayout(t *sheet, noHeader bool) *layout { return &layout{sheet: t, noHeader: noHeader, row: 1} }

// look takes the sample.
func (l *layout) look() error {
	rows, last := 0, 0
	for rows <= sampleRows && len(l.text) < sampleBytes {
		found, err := l.sheet.next()
		if err != nil {
			return err
		}
		if !found {
			break
		}
		if l.sheet.row != last {
			rows++
			last = l.sheet.row
		}
		l.text = append(l.text, l.sheet.field...)
		l.sample = append(l.sample, sampled{int32(l.sheet.row), int32(l.sheet.col), int32(len(l.text))})
	}
	l.measure()
	return nil
}

// measure finds the header, passes over what is above, and sets width.
func (l *layout) measure() {
	least := l.fullest()
	if l.noHeader {
		least = 0
	}
	l.eachRow(func(row []sampled) bool {
		below := l.sample[l.used+len(row):]
		apart := len(below) > 0 && below[0].row > row[0].row+1 // as titles are
		if 2*len(row) < least || 2*len(row) == least && apart {
			l.used += len(row)
			return true
		}
		l.width = int(row[len(row)-1].col)
		return false
	})
	var seen [maxColumns + 1]bool
	for _, c := range l.sample[l.used:] {
		if seen[c.col] {
			l.width = max(l.width, int(c.col))
		}
		seen[c.col] = true
	}
}

// fullest is how many values a full row has: as many as a tenth of the rows have, and at least two, so that no row
// decides alone but in a short sheet.
func (l *layout) fullest() int {
	var counts []int
	l.eachRow(func(row []sampled) bool {
		counts = append(counts, len(row))
		return true
	})
	slices.Sort(counts)
	switch n := len(counts); {
	case n == 0:
		return 0
	case n < fewRows:
		return counts[n-1]
	default:
		return counts[n-max(2, (n+9)/10)]
	}
}

// eachRow goes through the rows of the sample until do returns false.
func (l *layout) eachRow(do func(row []sampled) bool) {
	for from, i := 0, 1; i <= len(l.sample); i++ {
		if i == len(l.sample) || l.sample[i].row != l.sample[from].row {
			if !do(l.sample[from:i]) {
				return
			}
			from = i
		}
	}
}

// take gets the next cell, of the sample or behind it. Its error is io.EOF at the end.
func (l *layout) take() error {
	if l.used < len(l.sample) {
		from := int32(0)
		if l.used > 0 {
			from = l.sample[l.used-1].until
		}
		l.next = l.sample[l.used]
		l.field = l.text[from:l.next.until]
		l.used++
		return nil
	}
	l.sample, l.text, l.used = nil, nil, 0
	found, err := l.sheet.next()
	if err == nil && !found {
		err = io.EOF
	}
	l.next, l.field = sampled{row: int32(l.sheet.row), col: int32(l.sheet.col)}, l.sheet.field
	return err
}

// append appends the next chunk. Its error is io.EOF with the last one.
func (l *layout) append(dst []byte) ([]byte, error) {
	for len(dst) < chunkBytes {
		if !l.waiting {
			err := l.take()
			if errors.Is(err, io.EOF) && l.col > 0 {
				dst = l.end(dst)
			}
			if err != nil {
				return dst, err
			}
			l.waiting = true
		}
		if l.row < int(l.next.row) {
			dst = l.end(dst) // also a row that has nothing
			continue
		}
		dst = l.commas(dst, int(l.next.col)-max(l.col, 1))
		dst = append(dst, l.field...)
		l.col = int(l.next.col)
		l.waiting = false
	}
	return dst, nil
}

// end ends a row. One without a value is an empty line.
func (l *layout) end(dst []byte) []byte {
	if l.col > 0 {
		dst = l.commas(dst, l.width-l.col)
	}
	l.row++
	l.col = 0
	return append(dst, '\n')
}

func (l *layout) commas(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, ',')
	}
	return dst
}
