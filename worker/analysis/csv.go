package analysis

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// splitter cuts a window of CSV text into records. It reads RFC 4180 with either
// line ending. Where a file breaks its rules it goes on and says so: a quote
// within an unquoted field is itself, and what follows a closing quote belongs
// to the field. A quoted field keeps its line endings as they stand.
type splitter struct {
	delimiter byte
	fields    [][]byte // of the last record; they share memory with the window or scratch
	badQuotes bool     // the last record broke the quoting rules
	scratch   []byte   // fields whose doubled quotes were undone
	openQuote int      // where an unfinished quoted field begins in the window, or -1
}

// record takes the first record of data and returns its length with its line
// ending; 0 means that the record goes on beyond data, which never happens at
// the end of the file unless a quoted field is open (openQuote). A blank line
// is a record of no fields.
func (s *splitter) record(data []byte, eof bool) int {
	s.fields, s.badQuotes, s.openQuote = s.fields[:0], false, -1
	line, n := data, len(data)
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		line, n = data[:i], i+1
	} else if !eof {
		if bytes.IndexByte(data, '"') >= 0 {
			return s.quoted(data, false)
		}
		return 0
	}
	if bytes.IndexByte(line, '"') >= 0 {
		return s.quoted(data, eof)
	}
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	if len(line) > 0 {
		s.plain(line)
	}
	return n
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

// quoted takes a record that has a quote in it somewhere, field by field.
func (s *splitter) quoted(data []byte, eof bool) int {
	s.scratch = s.scratch[:0]
	pos := 0
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
		if last && len(rest) > 0 && rest[len(rest)-1] == '\r' {
			rest = rest[:len(rest)-1]
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

// csvRecord slides the window past the next record, whose fields stand in
// sp.fields until the next call. It returns false at the end of the file.
func (in *input) csvRecord(sp *splitter, number uint64) (bool, error) {
	for {
		data := in.window()
		if len(data) == 0 && in.eof {
			return false, nil
		}
		n := sp.record(data, in.eof)
		if n > in.limit || n == 0 && len(data) > in.limit {
			return false, in.tooLong(number, in.quoteOffset(sp))
		}
		if n > 0 {
			in.start += n
			return true, nil
		}
		if in.eof {
			return false, fmt.Errorf("%w: record %d at byte offset %d: the quoted field that begins at byte offset %d "+
				"is not closed at the end of the file; the file may be cut off", ErrInput, number, in.offset(), in.quoteOffset(sp))
		}
		if err := in.more(); err != nil {
			return false, err
		}
	}
}

func (in *input) quoteOffset(sp *splitter) int64 {
	if sp.openQuote < 0 {
		return -1
	}
	return in.offset() + int64(sp.openQuote)
}

var delimiters = []byte{',', ';', '\t', '|'}

// detectDelimiter picks the candidate that is most frequent outside quotes in
// the first line, the earlier one in a tie, a comma if there is none.
func detectDelimiter(head []byte) byte {
	var seen [256]int
	inQuotes := false
	for _, c := range bytes.TrimLeft(head, "\r\n") {
		if c == '"' {
			inQuotes = !inQuotes
		}
		if inQuotes {
			continue
		}
		if c == '\n' {
			break
		}
		seen[c]++
	}
	best := delimiters[0]
	for _, d := range delimiters[1:] {
		if seen[d] > seen[best] {
			best = d
		}
	}
	return best
}
