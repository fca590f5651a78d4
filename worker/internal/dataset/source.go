package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// ErrChanged says that a dataset's bytes are not those that its manifest describes.
var ErrChanged = errors.New("the dataset's bytes are not those that its manifest describes; upload the file again")

// A Source gives a dataset's rows in the order of its file. It implements rows.Source; its progress is in
// bytes as they were uploaded.
type Source struct {
	m       *datasets.Manifest
	stream  *packed.Stream
	scan    *Scanner
	columns []rows.Column
	at      map[string]int // of NDJSON: columns by name
	scratch []byte         // texts of the row that have no bytes of their own in the file
	key     []byte
	calls   uint
}

// Open opens a dataset's rows, at a Position of an earlier Source or, where position is nil, before the
// first row. bucket must stay open until Close. Its errors to branch on: table.ErrRefused where the bytes are
// gone, ErrPosition.
func Open(ctx context.Context, bucket *blob.Bucket, m *datasets.Manifest, position []byte) (_ *Source, err error) {
	if position == nil {
		position = m.Start
	}
	p, rest, err := ParsePosition(position)
	if err != nil || len(rest) > 0 || p.columns > 0 && int(p.columns) != len(m.Columns) {
		return nil, fmt.Errorf("open dataset %s: %w", m.ID, ErrPosition)
	}
	s := &Source{m: m, at: make(map[string]int, len(m.Columns))}
	for i, c := range m.Columns {
		kind, known := kindOf(c.Kind)
		if !known {
			return nil, fmt.Errorf("open dataset %s: its manifest has a column of an unknown kind", m.ID)
		}
		s.columns = append(s.columns, rows.Column{Name: c.Name, Kind: kind})
		s.at[c.Name] = i
	}
	s.stream, err = packed.Open(ctx, bucket, blobs.Dataset(m.Topic, m.ID, blobs.DatasetBytes), m.Size, packed.Packing(m.Packing), packed.Options{
		// What was unpacked once is not bounded anew.
		Offset: p.Offset, NoHeader: !m.Dialect.Header, MaxUnpackedBytes: max(m.UnpackedSize, 1), MaxRatio: int(max(m.UnpackedSize, 1)),
	})
	if err != nil {
		return nil, fmt.Errorf("open dataset %s: %w", m.ID, err)
	}
	s.scan = Resume(ctx, s.stream, p, table.Options{MaxRecordBytes: int(m.MaxRecordBytes)})
	return s, nil
}

func kindOf(name string) (rows.Kind, bool) {
	for _, k := range []rows.Kind{rows.Text, rows.Int, rows.Float, rows.Decimal, rows.Bool, rows.Date, rows.Timestamp, rows.JSON} {
		if k.String() == name {
			return k, true
		}
	}
	return rows.Null, false
}

// Columns implements rows.Source.
func (s *Source) Columns() []rows.Column { return slices.Clone(s.columns) }

// checkEvery is after how many rows and lines Next looks at its context.
const checkEvery = 1 << 8

// Next implements rows.Source. It ends within one read when Open's context does, and within 256 rows and
// lines when its own does, with the context's cause.
func (s *Source) Next(ctx context.Context, row []rows.Value) error {
	for {
		if s.calls++; s.calls%checkEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found, err := s.scan.Next()
		switch {
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return fmt.Errorf("read dataset %s: %w", s.m.ID, err)
		case found == Row && s.scan.csv:
			return s.fields(row)
		case found == Row:
			return s.members(row)
		}
	}
}

func (s *Source) fields(row []rows.Value) error {
	for i, f := range s.scan.Fields {
		v, ok := fieldValue(s.columns[i].Kind, f)
		if !ok {
			return fmt.Errorf("line %d of dataset %s, column %d: %w", s.scan.Line, s.m.ID, i+1, ErrChanged)
		}
		row[i] = v
	}
	return nil
}

func (s *Source) members(row []rows.Value) error {
	clear(row)
	s.scratch = s.scratch[:0]
	next := 0
	for w := s.scan.Members; ; {
		key, value, ok := w.Member()
		if !ok {
			return nil
		}
		i := next
		if next >= len(s.columns) || s.columns[next].Name != string(key) {
			s.key = table.Unescape(s.key[:0], key)
			if i, ok = s.at[string(s.key)]; !ok {
				return fmt.Errorf("line %d of dataset %s: %w", s.scan.Line, s.m.ID, ErrChanged)
			}
		}
		if row[i], ok = s.memberValue(s.columns[i].Kind, value); !ok {
			return fmt.Errorf("line %d of dataset %s, column %d: %w", s.scan.Line, s.m.ID, i+1, ErrChanged)
		}
		next = i + 1
	}
}

// Position implements rows.Source.
func (s *Source) Position() ([]byte, error) { return s.scan.AppendPosition(nil), nil }

// Progress implements rows.Source.
func (s *Source) Progress() (done, total int64) {
	if s.m.Packing == "" {
		return s.scan.Offset(), s.m.Size
	}
	return s.stream.BlobOffset(), s.m.Size
}

// Close implements rows.Source.
func (s *Source) Close() error { return s.stream.Close() }
