// Package rows is what readers of tables and writers of files have in common: columns with a kind,
// values, and a source of rows that goes on where an earlier attempt stopped.
package rows

import "context"

// A Kind says which values a column has.
type Kind uint8

// The kinds. Null is a value's alone, and no column's.
const (
	Null Kind = iota
	// Text is UTF-8.
	Text
	// Int is an integer within 64 bits.
	Int
	// Float is an IEEE 754 double.
	Float
	// Decimal is an exact decimal number of any length, as text: [-]digits[.digits].
	Decimal
	// Bool is true or false.
	Bool
	// Date is a day without a time zone.
	Date
	// Timestamp is a moment, in UTC, to the microsecond.
	Timestamp
	// Bytes are arbitrary bytes.
	Bytes
	// JSON is a JSON text.
	JSON
)

var kindNames = [...]string{"null", "text", "integer", "float", "decimal", "boolean", "date", "timestamp", "bytes", "json"}

// String returns the kind's name, as a dataset's schema and the documentation spell it.
func (k Kind) String() string { return kindNames[k] }

// A Column has a name, which is UTF-8, and the kind of its values. Each value is of that kind or Null.
type Column struct {
	Name string
	Kind Kind
}

// A Value is one cell.
type Value struct {
	Kind Kind
	// Int holds an Int, a Bool as 0 or 1, a Date as days and a Timestamp as microseconds since
	// 1970-01-01 UTC.
	Int int64
	// Float holds a Float.
	Float float64
	// Data holds a Text, a Decimal, Bytes or JSON. It is valid until the source's next call.
	Data []byte
}

// A Source gives the rows of a table in an order that is the same each time. It is for one goroutine.
type Source interface {
	// Columns are those of each row.
	Columns() []Column
	// Next reads the next row into row, which has a Value for each column, and returns io.EOF after
	// the last one.
	Next(ctx context.Context, row []Value) error
	// Position is where the source stands: an opener that is given it goes on with the row after the
	// last one that Next gave. It is opaque, at most 64 KiB, and the caller's to keep.
	Position() ([]byte, error)
	// Progress says how much of the source has been read, in the source's own unit, and of how much: 0
	// where nobody knows.
	Progress() (done, total int64)
	// Close lets go of what the source holds.
	Close() error
}
