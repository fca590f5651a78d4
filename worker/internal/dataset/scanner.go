package dataset

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// MaxColumns is the widest table that is read.
	MaxColumns = 2000
	// MaxNameBytes is the most that the names of its columns take together.
	MaxNameBytes = 64 << 10
)

// A Found is what Next has come upon.
type Found uint8

// What Next finds. Nothing is a blank line, or a part of a long one: go on.
const (
	Nothing Found = iota
	Row
	Rejected
)

// A Scanner cuts the text of a file into rows. What it returns is valid until the next Next, and it is not
// safe for concurrent use.
type Scanner struct {
	r       *table.Reader
	csv     bool
	columns int
	lines   uint64 // before r's first
	passing bool   // a rejected record goes on until its line ends

	// Line is the number of the line at which the last row begins, from 1.
	Line int64
	// Fields are those of a CSV's row, Members the members of NDJSON's.
	Fields  [][]byte
	Members table.Walk
	// Reason says why a row is rejected, Text is what it looks like in the file, or how it begins.
	Reason string
	Text   []byte
}

// Start finds out how a file is written and returns a Scanner before its first row, and the names of a CSV's
// columns. Its errors about the file wrap table.ErrRefused.
func Start(ctx context.Context, src io.Reader, o table.Options) (*Scanner, []string, error) {
	r, err := table.Open(ctx, src, o)
	if err != nil {
		return nil, nil, err
	}
	s := &Scanner{r: r, csv: r.Dialect().Format == table.CSV}
	if !s.csv {
		return s, nil, nil
	}
	names, err := r.Names(MaxColumns, MaxNameBytes)
	if err != nil {
		return nil, nil, err
	}
	s.columns = len(names.Names)
	return s, names.Names, nil
}

// Dialect is how the file is written, as far as that is settled.
func (s *Scanner) Dialect() table.Dialect { return s.r.Dialect() }

// Mark reports whether the file begins with a byte-order mark; of a Scanner that Start has made.
func (s *Scanner) Mark() bool { return s.r.Mark() }

// Offset is how far the text was read.
func (s *Scanner) Offset() int64 { return s.r.Offset() }

// Next reads up to the end of a row, or of what is none. Its error is io.EOF at the end of the file; one
// that lies in the file wraps table.ErrRefused.
func (s *Scanner) Next() (Found, error) {
	if s.passing {
		past, err := s.r.Pass()
		s.passing = !past
		return Nothing, err
	}
	s.Line = int64(s.lines + s.r.Lines() + 1)
	if s.csv {
		return s.record()
	}
	return s.object()
}

func (s *Scanner) record() (Found, error) {
	fields, more, err := s.r.Record()
	switch {
	case err != nil:
		return s.unread(err)
	case !more:
		return Nothing, io.EOF
	case len(fields) == 0:
		return Nothing, nil
	case s.r.Misquoted():
		return s.reject("its quotes are misplaced: a quoted field begins and ends with one, and has quotes in it doubled")
	case s.r.Damaged() && s.noText():
		return s.reject(noText)
	case len(fields) != s.columns && !s.fit(&fields):
		return s.reject("it has " + strconv.Itoa(len(fields)) + " fields, and the table has " + strconv.Itoa(s.columns) + " columns")
	}
	s.Fields = fields
	return Row, nil
}

// fit drops fields behind the last column if they are empty.
func (s *Scanner) fit(fields *[][]byte) bool {
	f := *fields
	if len(f) < s.columns {
		return false
	}
	for _, over := range f[s.columns:] {
		if len(bytes.TrimSpace(over)) > 0 {
			return false
		}
	}
	*fields = f[:s.columns]
	return true
}

func (s *Scanner) object() (Found, error) {
	line, more, err := s.r.Line()
	switch {
	case err != nil:
		return s.unread(err)
	case !more:
		return Nothing, io.EOF
	case len(bytes.TrimSpace(line)) == 0:
		return Nothing, nil
	case s.r.Damaged() && s.noText():
		return s.reject(noText)
	}
	members, ok := table.NewWalk(line)
	if !ok {
		return s.reject("it is no JSON object")
	}
	s.Members = members
	return Row, nil
}

const noText = "it has bytes that are no text in the file's encoding"

// noText tells bytes that are no text from U+FFFD, which a file may have. UTF-16 does not tell.
func (s *Scanner) noText() bool {
	e := s.r.Encoding()
	return e == table.UTF16LE || e == table.UTF16BE || !utf8.Valid(s.r.Text())
}

// unread rejects a record that cannot be read, if its line can be passed.
func (s *Scanner) unread(err error) (Found, error) {
	reason := ""
	switch {
	case errors.Is(err, table.ErrTooLong):
		reason = "it is longer than what is read, perhaps since a quote is not closed"
	case errors.Is(err, table.ErrUnclosed):
		reason = "a quote in it is not closed"
	default:
		return Nothing, err
	}
	s.passing = true
	s.Reason, s.Text = reason, s.r.Ahead()
	return Rejected, nil
}

func (s *Scanner) reject(reason string) (Found, error) {
	s.Reason, s.Text = reason, s.r.Text()
	return Rejected, nil
}

const positionVersion = 1

// MaxPositionBytes bounds what AppendPosition appends.
const MaxPositionBytes = 2 + table.DialectBytes + 4*binary.MaxVarintLen64

// AppendPosition appends where the Scanner stands, from where Resume goes on.
func (s *Scanner) AppendPosition(b []byte) []byte {
	b = append(b, positionVersion, 0)
	if s.passing {
		b[len(b)-1] = 1
	}
	b, _ = s.r.Dialect().AppendBinary(b) // has no error
	b = binary.AppendUvarint(b, uint64(s.r.Offset()))
	b = binary.AppendUvarint(b, s.r.Records())
	b = binary.AppendUvarint(b, s.lines+s.r.Lines())
	return binary.AppendUvarint(b, uint64(s.columns))
}

// ErrPosition says that a position was made by another version or is damaged.
var ErrPosition = errors.New("the position in a table is of another version, or damaged")

// A Position is where a Scanner stood.
type Position struct {
	// Offset in the text.
	Offset  int64
	passing bool
	dialect table.Dialect
	records uint64
	lines   uint64
	columns uint64
}

// ParsePosition reads what AppendPosition wrote at the start of b, and returns what follows.
func ParsePosition(b []byte) (Position, []byte, error) {
	var p Position
	if len(b) < 2 || b[0] != positionVersion || b[1] > 1 {
		return p, nil, ErrPosition
	}
	p.passing = b[1] == 1
	b, err := p.dialect.Decode(b[2:])
	if err != nil {
		return p, nil, ErrPosition
	}
	var offset uint64
	for _, v := range []*uint64{&offset, &p.records, &p.lines, &p.columns} {
		n := 0
		if *v, n = binary.Uvarint(b); n <= 0 {
			return p, nil, ErrPosition
		}
		b = b[n:]
	}
	if p.Offset = int64(offset); p.Offset < 0 || p.columns > MaxColumns {
		return p, nil, ErrPosition
	}
	return p, b, nil
}

// Resume returns a Scanner that goes on at a position, where src begins.
func Resume(ctx context.Context, src io.Reader, p Position, o table.Options) *Scanner {
	return &Scanner{
		r:   table.Resume(ctx, src, p.dialect, p.Offset, p.records, o),
		csv: p.dialect.Format == table.CSV, columns: int(p.columns), lines: p.lines, passing: p.passing,
	}
}
