package dataset

import (
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// A Schema learns columns from rows. Its zero value has no columns.
type Schema struct {
	names []string
	cells []Cells
	at    map[string]int
	bytes int // of all names
	rows  int64
	last  []int64 // of NDJSON: the row that had the column last
	key   []byte
}

// NewSchema makes a Schema with columns, of which nothing is known yet where cells is nil; NDJSON may bring more.
// rows is how many rows it has learned from.
func NewSchema(names []string, cells []Cells, rows int64) *Schema {
	s := &Schema{rows: rows}
	for i, name := range names {
		s.add(name)
		if cells != nil {
			s.cells[i] = cells[i]
		}
	}
	return s
}

func (s *Schema) add(name string) {
	if s.at == nil {
		s.at = make(map[string]int)
	}
	s.at[name] = len(s.names)
	s.names, s.cells, s.last = append(s.names, name), append(s.cells, 0), append(s.last, s.rows)
	s.bytes += len(name)
}

// Names are those of the columns. The slice is the Schema's own.
func (s *Schema) Names() []string { return s.names }

// Cells are those of each column, for NewSchema. The slice is the Schema's own.
func (s *Schema) Cells() []Cells { return s.cells }

// Column finds a column by its name.
func (s *Schema) Column(name string) (int, bool) {
	i, ok := s.at[name]
	return i, ok
}

// Rows is how many rows the Schema has learned from.
func (s *Schema) Rows() int64 { return s.rows }

// Fields learns from a row of a CSV, which has a field for each column.
func (s *Schema) Fields(fields [][]byte) {
	s.rows++
	cells := s.cells[:len(fields)]
	for i, f := range fields {
		// Of a column with text only empty cells are news.
		if c := cells[i]; c&text == 0 {
			cells[i] = c | cellOf(f)
		} else if len(f) == 0 {
			cells[i] = c | empty
		}
	}
}

// Members learns from a row of NDJSON. A member that is there twice counts as its last. Its error
// wraps table.ErrRefused: the table has become too wide.
func (s *Schema) Members(w table.Walk) error {
	s.rows++
	next := 0 // the column that comes next, where rows are written alike
	for {
		key, value, ok := w.Member()
		if !ok {
			break
		}
		i, err := s.column(key, next)
		if err != nil {
			return err
		}
		s.cells[i] |= memberOf(value)
		s.last[i] = s.rows
		next = i + 1
	}
	for i, last := range s.last {
		if last != s.rows {
			s.cells[i] |= empty
		}
	}
	return nil
}

// column finds a member's column, or makes it.
func (s *Schema) column(key []byte, next int) (int, error) {
	if next < len(s.names) && s.names[next] == string(key) {
		return next, nil
	}
	s.key = table.Unescape(s.key[:0], key)
	if i, ok := s.at[string(s.key)]; ok {
		return i, nil
	}
	switch {
	case len(s.names) == MaxColumns:
		return 0, table.Refuse("Row %d is the first with a column beyond %d, the most that are read. Keep fewer columns.", s.rows, MaxColumns)
	case s.bytes+len(s.key) > MaxNameBytes:
		return 0, table.Refuse("The names of the columns are longer than %d bytes together, the most that are read; row %d has one too many. Shorten them.", MaxNameBytes, s.rows)
	}
	s.add(string(s.key))
	if s.rows > 1 {
		s.cells[len(s.cells)-1] = empty // in all rows before
	}
	return len(s.names) - 1, nil
}

// Columns are the columns as a manifest has them.
func (s *Schema) Columns(format string) []datasets.Column {
	all := make([]datasets.Column, len(s.names))
	for i, name := range s.names {
		kind, nullable := s.cells[i].Kind(format == table.CSV)
		all[i] = datasets.Column{Name: name, Kind: kind.String(), Nullable: nullable}
	}
	return all
}
