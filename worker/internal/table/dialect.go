package table

import (
	"encoding/binary"
	"errors"
)

// Formats of a file.
const (
	CSV    = "csv"
	NDJSON = "ndjson"
)

// Delimiters are those that a CSV is tried with.
var Delimiters = []byte{',', ';', '\t', '|'}

// A Dialect is how a file is written: all that a Reader needs beside an offset to continue there.
type Dialect struct {
	Format   string // CSV or NDJSON
	Encoding Encoding
	// Returns: lines end in a carriage return alone.
	Returns bool

	// Of a CSV alone.
	Delimiter byte
	Quotes    bool // a double quote at the start of a field opens it
	Header    bool // the first record after Skipped has the names
	// Skipped counts the lines above the header, or above the data, that are not read: titles,
	// and comments. Blank lines and a line such as sep=; are not counted.
	Skipped int
}

// maxSkipped bounds Skipped: more lines do not fit into the head.
const maxSkipped = headBytes

// DialectBytes is the most that AppendBinary appends.
const DialectBytes = 3 + binary.MaxVarintLen32

var errDialect = errors.New("table: damaged dialect")

// AppendBinary implements encoding.BinaryAppender.
func (d Dialect) AppendBinary(b []byte) ([]byte, error) {
	var flags byte
	for i, on := range []bool{d.Format == NDJSON, d.Returns, d.Quotes, d.Header} {
		if on {
			flags |= 1 << i
		}
	}
	b = append(b, flags, byte(d.Encoding), d.Delimiter)
	return binary.AppendUvarint(b, uint64(d.Skipped)), nil
}

// Decode reads what AppendBinary wrote at the start of b, and returns what follows. An error
// leaves d as it was.
func (d *Dialect) Decode(b []byte) ([]byte, error) {
	if len(b) < 4 || b[0] >= 1<<4 || b[1] >= byte(encodings) {
		return nil, errDialect
	}
	skipped, n := binary.Uvarint(b[3:])
	if n <= 0 || skipped > maxSkipped {
		return nil, errDialect
	}
	got := Dialect{
		Format: CSV, Encoding: Encoding(b[1]), Delimiter: b[2], Skipped: int(skipped),
		Returns: b[0]&2 != 0, Quotes: b[0]&4 != 0, Header: b[0]&8 != 0,
	}
	if b[0]&1 != 0 {
		got.Format = NDJSON
	}
	*d = got
	return b[3+n:], nil
}
