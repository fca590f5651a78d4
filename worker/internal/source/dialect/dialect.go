// Package dialect is what the rooms of the databases share: what is asked of one, what it answers, the
// bounds, and errors that say no more than they may.
package dialect

import (
	"fmt"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// The bounds of what a source may hold. A reader holds one row at a time.
const (
	// MaxColumns is how many columns a row may have.
	MaxColumns = 1000
	// MaxCellBytes is how long a cell may be, and MaxRowBytes a row.
	MaxCellBytes = 8 << 20
	MaxRowBytes  = 32 << 20
	// MaxKeyBytes bounds the key of a row, all its columns together: a position holds many of them.
	MaxKeyBytes = 1 << 10
)

// A Request asks for the rows of a source after a key.
type Request struct {
	// Source is the source's name, for errors.
	Source string
	// URL says where the database is.
	URL string
	// Table is a table's name, with a dot after its schema; "" where Query is set, which is one SELECT.
	Table, Query string
	// Params are the parameters that Query names, and their values.
	Params []Param
	// Key are the columns of the key.
	Key []string
	// After is the key of the last row that was read, as Reader.Key gave it; nil for all rows.
	After [][]byte
	// ConnectTimeout bounds how long the database may take to answer a login.
	ConnectTimeout time.Duration
}

// A Param is a parameter with its value.
type Param struct {
	Name  string
	Value string
}

// A Reader gives the rows of one snapshot, in the order of the key. It is for one goroutine.
type Reader interface {
	Columns() []rows.Column
	// Types are the database's own names of the columns' types.
	Types() []string
	// Snapshot is when the database's answer was true.
	Snapshot() time.Time
	// Remaining is how many rows Next gives in all.
	Remaining() int64
	// Next reads a row, and returns io.EOF after the last one. It ends early when the context ends that
	// the reader was opened with.
	Next(row []rows.Value) error
	// Key is the key of the last row that Next gave, each column as one element; nil before the first.
	Key() [][]byte
	// Text is a key for people.
	Text(key [][]byte) []string
	Close() error
}

// An Error says why a source cannot be read. It holds nothing of a URL or a row, and wraps no error of a
// driver, which may.
type Error struct {
	Source string
	// Temporary says that the same may succeed later, from where the source stands.
	Temporary bool
	// Reason is a clause that says what is wrong and what to do.
	Reason string
}

func (e *Error) Error() string { return "source " + e.Source + ": " + e.Reason }

// Permanent makes an Error that repeating does not cure.
func (r *Request) Permanent(format string, args ...any) error {
	return &Error{Source: r.Source, Reason: fmt.Sprintf(format, args...)}
}

// Temporary makes an Error that may be gone later.
func (r *Request) Temporary(format string, args ...any) error {
	return &Error{Source: r.Source, Temporary: true, Reason: fmt.Sprintf(format, args...)}
}

// CheckColumns checks the bounds and the names of columns, and returns where the key's columns are.
func (r *Request) CheckColumns(columns []rows.Column) (key []int, err error) {
	if len(columns) > MaxColumns {
		return nil, r.Permanent("it has %d columns; at most %d: name those that are wanted in a query", len(columns), MaxColumns)
	}
	at := make(map[string]int, len(columns))
	for i, c := range columns {
		if _, twice := at[c.Name]; twice {
			return nil, r.Permanent("it has two columns %s: give one of them another name with AS", Quote(c.Name))
		}
		at[c.Name] = i
	}
	for _, name := range r.Key {
		i, ok := at[name]
		if !ok {
			return nil, r.Permanent("it has no column %s, which its key names", Quote(name))
		}
		key = append(key, i)
	}
	return key, nil
}

// CellTooLong says that a cell of a column is over the bound.
func (r *Request) CellTooLong(column string, size int) error {
	return r.Permanent("a cell of column %s has %d bytes; at most %d", Quote(column), size, MaxCellBytes)
}

// KeyTooLong says that a key is over the bound.
func (r *Request) KeyTooLong(size int) error {
	return r.Permanent("a key has %d bytes; at most %d: choose shorter columns", size, MaxKeyBytes)
}

// Unfit says that a value is none of its column's kind.
func (r *Request) Unfit(column string, kind rows.Kind, holds string) error {
	return r.Permanent("column %s is taken for %s and holds %s: select it as text, with CAST(%s AS text), or without such rows",
		Quote(column), kind, holds, Quote(column))
}
