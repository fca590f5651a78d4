package table

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// splitter cuts a window of CSV text into records. It reads RFC 4180 with either
// line ending, or several carriage returns before a line feed. Where a file breaks the rules it
// goes on and says so: a quote within an unquoted field is itself, and what follows a closing quote
// belongs to the field. A quoted field keeps its line endings. A literal splitter takes quotes for
// characters.
type splitter struct {
	delimiter byte
	literal   bool
	fields    [][]byte // of the last record; they share memory with the window or scratch
	badQuotes bool     // the last record broke the quoting rules
	scratch   []byte   // fields whose doubled quotes were undone
	openQuote int      // where an unfinished quoted field begins in the window, or -1
	lineEnd   int      // where the record's first line ends in the window, or -1
}

// record takes the first record of data and returns its length with its line
// ending; 0 means that the record goes on beyond data, which never happens at
// the end of the file unless a quoted field is open (openQuote). A blank line
// is a record of no fields.
func (s *splitter) record(data []byte, eof bool) int {
	s.fields, s.badQuotes, s.openQuote = s.fields[:0], false, -1
	line, n := data, len(data)
	if s.lineEnd = bytes.IndexByte(data, '\n'); s.lineEnd >= 0 {
		line, n = data[:s.lineEnd], s.lineEnd+1
	}
	if !s.literal {
		if quote := bytes.IndexByte(line, '"'); quote >= 0 {
			return s.quoted(data, quote, eof)
		}
	}
	if s.lineEnd < 0 && !eof {
		return 0
	}
	if line = withoutReturns(line); len(line) > 0 {
		s.plain(line)
	}
	return n
}

// withoutReturns cuts carriage returns off the end of a line.
func withoutReturns(line []byte) []byte {
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line
}

const (
	ones  = 0x0101010101010101
	lows  = 0x7f7f7f7f7f7f7f7f
	highs = 0x8080808080808080
)

// plain splits a line without quotes, eight bytes at a time: a byte of x is zero
// where the line has a delimiter, and the sum below sets the top bit of every
// byte that is not zero, exactly.
func (s *splitter) plain(line []byte) {
	pattern := ones * uint64(s.delimiter)
	fields := s.fields
	start, i := 0, 0
	for ; i+8 <= len(line); i += 8 {
		x := binary.LittleEndian.Uint64(line[i:]) ^ pattern
		found := ^((x&lows + lows) | x) & highs
		for found != 0 {
			at := i + bits.TrailingZeros64(found)>>3
			fields = append(fields, line[start:at:at])
			start = at + 1
			found &= found - 1
		}
	}
	for ; i < len(line); i++ {
		if line[i] == s.delimiter {
			fields = append(fields, line[start:i:i])
			start = i + 1
		}
	}
	s.fields = append(fields, line[start:])
}

// quoted takes a record with its first quote at an offset, which is in its first line: the fields before the one with the
// quote as plain ones, the others one by one.
func (s *splitter) quoted(data []byte, quote int, eof bool) int {
	s.scratch = s.scratch[:0]
	pos := 0
	if i := bytes.LastIndexByte(data[:quote], s.delimiter); i >= 0 {
		s.plain(data[:i])
		pos = i + 1
	}
	for {
		var field []byte
		next := pos
		if pos < len(data) && data[pos] == '"' {
			var ok bool
			if field, next, ok = s.quotedField(data, pos); !ok {
				s.openQuote = pos
				return 0
			}
		}
		// The rest of the field: all of it when no quote opened it.
		i := next
		for i < len(data) && data[i] != s.delimiter && data[i] != '\n' {
			i++
		}
		if i == len(data) && !eof {
			return 0
		}
		last := i == len(data) || data[i] == '\n'
		rest := data[next:i]
		if last {
			rest = withoutReturns(rest)
		}
		switch {
		case next == pos:
			field = rest
			s.badQuotes = s.badQuotes || bytes.IndexByte(rest, '"') >= 0
		case len(rest) > 0:
			s.badQuotes = true
			field = s.joined(field, rest)
		}
		s.fields = append(s.fields, field)
		if last {
			return min(i+1, len(data))
		}
		pos = i + 1
	}
}

// quotedField takes the field whose opening quote is at pos and returns it with
// the position after its closing quote; false if data ends first. A quote that
// ends data may yet be doubled: the caller, who finds no end of the field after
// it, starts over with more.
func (s *splitter) quotedField(data []byte, pos int) ([]byte, int, bool) {
	from, i, mark := pos+1, pos+1, -1
	for {
		j := bytes.IndexByte(data[i:], '"')
		if j < 0 {
			return nil, 0, false
		}
		j += i
		if j+1 < len(data) && data[j+1] == '"' {
			if mark < 0 {
				mark = len(s.scratch)
			}
			s.scratch = append(s.scratch, data[from:j+1]...)
			from, i = j+2, j+2
			continue
		}
		if mark < 0 {
			return data[from:j], j + 1, true
		}
		s.scratch = append(s.scratch, data[from:j]...)
		return s.scratch[mark:len(s.scratch):len(s.scratch)], j + 1, true
	}
}

func (s *splitter) joined(field, rest []byte) []byte {
	mark := len(s.scratch)
	s.scratch = append(append(s.scratch, field...), rest...)
	return s.scratch[mark:len(s.scratch):len(s.scratch)]
}
