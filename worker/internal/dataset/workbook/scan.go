package workbook

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	scanBytes = 64 << 10
	// maxTagBytes bounds a tag with its attributes: a list of ranges in one can be long.
	maxTagBytes = 2 << 20
	maxAttrs    = 1024
	maxDepth    = 64
)

// A token is what next has come upon.
type token uint8

const (
	end   token = iota // of the part
	open               // an element begins: name and attrs are its own
	shut               // an element ends
	chars              // a piece of text
)

// A scanner cuts XML 1.0 in UTF-8 into tokens, several times as fast as encoding/xml and in bounded memory: a
// text comes in pieces, and a tag has at most maxTagBytes and maxAttrs. It passes over comments and processing instructions,
// and refuses document types, and so entities but XML's own five. It does not compare the names of end tags,
// which change no cell. What it returns is valid until the next call.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int
	// depth counts the elements that are open after the token: 1 is within the root.
	depth  int
	name   []byte // without its prefix
	attrs  []attr
	text   []byte
	single bool // the element is <a/>, and ends with the next token
	cdata  bool
	rooted bool
	room   []byte // for text with references
}

type attr struct{ name, value []byte }

func newScanner(r io.Reader) *scanner { return &scanner{r: r, buf: make([]byte, scanBytes)} }

var (
	errXML = table.Refuse("The workbook is damaged: a part of it is no XML as workbooks have it. Open it in a spreadsheet program and save it again.")
	errCut = table.Refuse("The workbook is damaged: a part of it ends too early. Open it in a spreadsheet program and save it again.")
)

// more reads on. Its error is io.EOF only at the end of the part.
func (s *scanner) more() error {
	s.end = copy(s.buf, s.buf[s.pos:s.end])
	s.pos = 0
	if s.end == len(s.buf) {
		if s.end >= maxTagBytes {
			return table.Refuse("A tag in the workbook is longer than %d MiB, the most that is read. Copy the cells into a new workbook.", maxTagBytes>>20)
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	// At least an eighth: a tag that comes byte by byte is not parsed for each of them.
	n, err := io.ReadAtLeast(s.r, s.buf[s.end:], min(len(s.buf)-s.end, len(s.buf)/8))
	s.end += n
	if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// need reads on where a token goes on beyond the buffer.
func (s *scanner) need() error {
	if err := s.more(); !errors.Is(err, io.EOF) {
		return err
	}
	return errCut
}

// next reads up to the end of a token.
func (s *scanner) next() (token, error) {
	if s.single {
		s.single = false
		s.depth--
		return shut, nil
	}
	for {
		if s.pos == s.end {
			switch err := s.more(); {
			case errors.Is(err, io.EOF) && s.rooted && s.depth == 0 && !s.cdata:
				return end, nil
			case errors.Is(err, io.EOF):
				return end, errCut
			case err != nil:
				return end, err
			}
		}
		var t token
		var err error
		switch {
		case s.cdata:
			t, err = s.section()
		case s.buf[s.pos] != '<':
			t, err = s.piece()
		default:
			t, err = s.markup()
		}
		if t != end || err != nil {
			return t, err
		}
	}
}

// markup takes what begins with <; end: nothing that matters.
func (s *scanner) markup() (token, error) {
	for s.end-s.pos < 2 {
		if err := s.need(); err != nil {
			return end, err
		}
	}
	switch s.buf[s.pos+1] {
	case '?':
		if !s.rooted && s.depth == 0 {
			if err := s.declaration(); err != nil {
				return end, err
			}
		}
		return end, s.pass(2, "?>")
	case '!':
		for _, mark := range []string{"<!--", "<![CDATA["} {
			for s.end-s.pos < len(mark) {
				if err := s.need(); err != nil {
					return end, err
				}
			}
			if string(s.buf[s.pos:][:len(mark)]) != mark {
				continue
			}
			if mark == "<!--" {
				return end, s.pass(len(mark), "-->")
			}
			s.pos += len(mark)
			s.cdata = true
			return end, nil
		}
		return end, errXML // a document type, which no workbook has
	case '/':
		return s.shut()
	}
	return s.open()
}

// pass skips n bytes and what follows, up to and with mark.
func (s *scanner) pass(n int, mark string) error {
	s.pos += n
	for {
		if i := bytes.Index(s.buf[s.pos:s.end], []byte(mark)); i >= 0 {
			s.pos += i + len(mark)
			return nil
		}
		s.pos = max(s.pos, s.end-len(mark)+1)
		if err := s.need(); err != nil {
			return err
		}
	}
}

// declaration refuses encodings but UTF-8.
func (s *scanner) declaration() error {
	for s.end-s.pos < 200 && bytes.IndexByte(s.buf[s.pos:s.end], '>') < 0 {
		if err := s.need(); err != nil {
			return err
		}
	}
	head, _, _ := strings.Cut(strings.ToLower(string(s.buf[s.pos:min(s.end, s.pos+200)])), "?>")
	_, encoding, found := strings.Cut(head, "encoding")
	if encoding = strings.TrimLeft(encoding, " \t\r\n='\""); found && !strings.HasPrefix(encoding, "utf-8") {
		return table.Refuse("A part of the workbook is no text in UTF-8. Open it in a spreadsheet program and save it again.")
	}
	return nil
}

func (s *scanner) shut() (token, error) {
	i := 0
	for i = bytes.IndexByte(s.buf[s.pos:s.end], '>'); i < 0; i = bytes.IndexByte(s.buf[s.pos:s.end], '>') {
		if err := s.need(); err != nil {
			return end, err
		}
	}
	s.name = local(bytes.TrimRight(s.buf[s.pos+2:s.pos+i], " \t\r\n"))
	s.pos += i + 1
	if s.depth--; s.depth < 0 {
		return end, errXML
	}
	return shut, nil
}
