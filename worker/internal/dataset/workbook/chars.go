package workbook

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxTextBytes bounds the text of a cell, which in Excel has 32,767 characters.
	maxTextBytes = 1 << 20
	// maxReference is the longest reference to a character, such as &#x1F30A;.
	maxReference = 16
)

// piece takes text up to the next tag, or as much of it as is read.
func (s *scanner) piece() (token, error) {
	for {
		b := s.buf[s.pos:s.end]
		n := bytes.IndexByte(b, '<')
		if n < 0 {
			// A reference, or a carriage return and its line feed, is not cut in two.
			n = len(b)
			if i := bytes.LastIndexByte(b, '&'); i >= 0 && n-i < maxReference && bytes.IndexByte(b[i:], ';') < 0 {
				n = i
			} else if b[n-1] == '\r' {
				n--
			}
		}
		if n > 0 {
			s.pos += n
			return s.plain(b[:n], true)
		}
		switch err := s.need(); {
		case s.depth == 0 && errors.Is(err, errCut) && string(b) == "\r":
			s.pos = s.end
			return s.plain(b, false)
		case err != nil:
			return end, err
		}
	}
}

// section takes a piece of a CDATA section; end: it had none.
func (s *scanner) section() (token, error) {
	for {
		b := s.buf[s.pos:s.end]
		n := bytes.Index(b, []byte("]]>"))
		if n >= 0 {
			s.pos += n + 3
			s.cdata = false
			if n == 0 {
				return end, nil
			}
			return s.plain(b[:n], false)
		}
		if n = len(b) - 2; n > 0 && b[n-1] == '\r' {
			n--
		}
		if n > 0 {
			s.pos += n
			return s.plain(b[:n], false)
		}
		if err := s.need(); err != nil {
			return end, err
		}
	}
}

// plain sets text to b with line ends as XML has them (XML 1.0, 2.11), and with references undone.
func (s *scanner) plain(b []byte, references bool) (token, error) {
	s.text = b
	if bytes.IndexByte(b, '\r') < 0 && (!references || bytes.IndexByte(b, '&') < 0) {
		return chars, nil
	}
	s.room = s.room[:0]
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\r':
			if i+1 == len(b) || b[i+1] != '\n' {
				s.room = append(s.room, '\n')
			}
		case b[i] == '&' && references:
			n := 0
			if s.room, n = appendReference(s.room, b[i:]); n == 0 {
				return end, errXML
			}
			i += n - 1
		default:
			s.room = append(s.room, b[i])
		}
	}
	s.text = s.room
	return chars, nil
}

// appendReference appends the character that the reference at the start of b means, and returns how long the
// reference is; 0: it is none.
func appendReference(dst, b []byte) ([]byte, int) {
	n := bytes.IndexByte(b[:min(len(b), maxReference)], ';')
	if n < 2 {
		return dst, 0
	}
	switch name := string(b[1:n]); name {
	case "amp":
		return append(dst, '&'), n + 1
	case "lt":
		return append(dst, '<'), n + 1
	case "gt":
		return append(dst, '>'), n + 1
	case "quot":
		return append(dst, '"'), n + 1
	case "apos":
		return append(dst, '\''), n + 1
	default:
		if name[0] != '#' {
			return dst, 0
		}
		digits, base := name[1:], 10
		if digits != "" && digits[0] == 'x' {
			digits, base = digits[1:], 16
		}
		r, err := strconv.ParseUint(digits, base, 32)
		if err != nil || r == 0 || r > unicode.MaxRune {
			return dst, 0
		}
		return utf8.AppendRune(dst, rune(r)), n + 1
	}
}

// content appends the text in the element that has just opened, up to its end; of a rich one that of its t
// elements, without those that say how it is read aloud (rPh; ECMA-376 part 1, 18.4.6).
func (s *scanner) content(dst []byte, rich bool) ([]byte, error) {
	outer, from := s.depth-1, len(dst)
	at, aloud := s.depth, 0 // the depths of text that counts, and of rPh
	if rich {
		at = 0
	}
	for {
		t, err := s.next()
		switch {
		case err != nil:
			return dst, err
		case t == end:
			return dst, io.ErrUnexpectedEOF
		case t == shut && s.depth == outer:
			return dst, nil
		case t == shut && s.depth < aloud:
			aloud = 0
		case t == shut && rich && s.depth < at:
			at = 0
		case t == open && aloud == 0 && string(s.name) == "rPh":
			aloud = s.depth
		case t == open && rich && aloud == 0 && string(s.name) == "t":
			at = s.depth
		case t == chars && s.depth == at:
			if len(dst)-from+len(s.text) > maxTextBytes {
				return dst, errTooLong
			}
			dst = append(dst, s.text...)
		}
	}
}

var errTooLong = table.Refuse("A cell of the workbook has a text of more than %d MiB, the most that is read. Shorten it.", maxTextBytes>>20)

// root takes what precedes the root element, and its start tag.
func (s *scanner) root(name string) error {
	t, err := s.next()
	for ; err == nil && t == chars; t, err = s.next() {
		if s.depth == 0 && len(bytes.TrimPrefix(bytes.TrimSpace(s.text), []byte(mark))) > 0 {
			return errXML
		}
	}
	if err == nil && (t != open || string(s.name) != name) {
		err = errXML
	}
	if errors.Is(err, errCut) {
		return errXML
	}
	return err
}

// mark is the byte-order mark.
const mark = "\ufeff"
