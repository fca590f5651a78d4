package workbook

import (
	"bytes"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

func (s *scanner) open() (token, error) {
	n := s.tag(s.buf[s.pos:s.end])
	for ; n == 0; n = s.tag(s.buf[s.pos:s.end]) {
		if err := s.need(); err != nil {
			return end, err
		}
	}
	switch {
	case len(s.attrs) > maxAttrs:
		return end, table.Refuse("A tag in the workbook has more than %d attributes, the most that are read. Copy the cells into a new workbook.", maxAttrs)
	case n < 0:
		return end, errXML
	}
	s.pos += n
	s.rooted = true
	if s.depth++; s.depth > maxDepth {
		return end, table.Refuse("A part of the workbook has elements nested more than %d deep, the most that is read. Copy the cells into a new workbook.", maxDepth)
	}
	return open, nil
}

// tag takes a start tag and returns its length: 0, it goes on beyond b; -1, it is none.
func (s *scanner) tag(b []byte) int {
	i := word(b, 1)
	if i == 1 {
		return -1
	}
	s.name, s.attrs = local(b[1:i]), s.attrs[:0]
	for {
		if i = spaces(b, i); i+1 >= len(b) {
			if i < len(b) && b[i] == '>' {
				return i + 1
			}
			return 0
		}
		switch {
		case b[i] == '>':
			return i + 1
		case b[i] == '/' && b[i+1] == '>':
			s.single = true
			return i + 2
		}
		from := i
		if i = word(b, i); i == from {
			return -1
		}
		name := b[from:i]
		if i = spaces(b, i); i == len(b) {
			return 0
		} else if b[i] != '=' {
			return -1
		}
		if i = spaces(b, i+1); i == len(b) {
			return 0
		} else if b[i] != '"' && b[i] != '\'' {
			return -1
		}
		n := bytes.IndexByte(b[i+1:], b[i])
		if n < 0 {
			return 0
		}
		if s.attrs = append(s.attrs, attr{name, b[i+1 : i+1+n]}); len(s.attrs) > maxAttrs {
			return -1
		}
		i += n + 2
	}
}

func spaces(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// word is where the name that begins at i ends.
func word(b []byte, i int) int {
	for i < len(b) && b[i] > ' ' && b[i] != '>' && b[i] != '=' && b[i] != '/' && b[i] != '<' && b[i] != '"' && b[i] != '\'' {
		i++
	}
	return i
}

func local(name []byte) []byte { return name[bytes.IndexByte(name, ':')+1:] }

// attr is the value of an attribute of the element that opens, or nil.
func (s *scanner) attr(name string) []byte {
	for i := range s.attrs {
		if string(s.attrs[i].name) == name {
			return s.value(s.attrs[i].value)
		}
	}
	return nil
}

// value undoes references. One that is none is taken as it is.
func (s *scanner) value(b []byte) []byte {
	if bytes.IndexByte(b, '&') < 0 {
		return b
	}
	if t, err := s.plain(b, true); t != chars || err != nil {
		return b
	}
	return bytes.Clone(s.text)
}
