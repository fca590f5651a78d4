package columnar

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxFooterBytes bounds what a file says of itself, which is kept while the file is read.
	maxFooterBytes = 16 << 20
	// maxGroups is how many row groups a file has at most.
	maxGroups = 100_000
	// maxElements is how many columns, groups and lists a schema has at most.
	maxElements = 10_000
	// tailBytes is how much of the end is read at first: most footers fit.
	tailBytes = 64 << 10

	magic     = "PAR1"
	encrypted = "PARE"
)

const writeAgain = "Write the file again, and upload it again"

// damaged is a refusal that says what does not fit.
func damaged(what string) error {
	return table.Refuse("The Parquet data is damaged: %s. %s.", what, writeAgain)
}

var (
	errFooter    = damaged("what its footer says cannot be read")
	errEncrypted = table.Refuse("This Parquet file is encrypted. Write it without encryption.")
)

// readAt reads all of p. Its errors are r's, so that a caller can ask the store again.
func readAt(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes of the Parquet file at %d: %w", len(p), at, err)
}

// A footer is FileMetaData of parquet.thrift.
type footer struct {
	bytes  []byte
	schema []element
	groups []span
	rows   int64 // of the file
	sum    int64 // of its groups' rows
}

// A span is where in the footer a row group is described. It is read when the group's turn comes.
type span struct{ from, to int32 }

// An element is SchemaElement: a column, or a group of as many elements after it as it has children.
type element struct {
	name        []byte
	physical    int32 // -1: a group
	length      int32
	repetition  int32
	children    int32
	converted   int32 // -1: none
	scale       int32
	logical     int16 // the field of the union LogicalType; 0: none
	utc, signed bool
	unit        int16 // the field of the union TimeUnit
}

// readFooter reads a file's end, by two or three calls of r.
func readFooter(r io.ReaderAt, size int64) (*footer, error) {
	const least = 2*len(magic) + 4
	if size < int64(least) {
		return nil, table.Refuse("This is no Parquet file: it is too short. %s.", writeAgain)
	}
	head := make([]byte, len(magic))
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	tail := make([]byte, min(size, tailBytes))
	if err := readAt(r, tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	end := string(tail[len(tail)-len(magic):])
	switch {
	case string(head) == encrypted, end == encrypted:
		return nil, errEncrypted
	case string(head) != magic:
		return nil, table.Refuse("This is no Parquet file: it does not begin as one. %s.", writeAgain)
	case end != magic:
		return nil, table.Refuse("This Parquet file is cut off: it does not end with its footer. %s.", writeAgain)
	}
	n := int64(binary.LittleEndian.Uint32(tail[len(tail)-8:]))
	if n > size-int64(least) {
		return nil, errFooter
	}
	if n > maxFooterBytes {
		return nil, table.Refuse("The footer of this Parquet file has %d bytes, and at most %d are read. Write fewer columns or larger row groups.", n, maxFooterBytes)
	}
	f := &footer{bytes: make([]byte, n)}
	known := min(n, int64(len(tail)-8))
	copy(f.bytes[n-known:], tail[int64(len(tail)-8)-known:])
	if known < n {
		if err := readAt(r, f.bytes[:n-known], size-8-n); err != nil {
			return nil, err
		}
	}
	return f, f.parse()
}

func (f *footer) parse() error {
	c := compact{b: f.bytes}
	var err error
	c.fields(func(id int16, kind byte) {
		switch id {
		case 2:
			err = f.elements(&c, kind)
		case 3:
			f.rows = c.int(kind)
		case 4:
			err = f.rowGroups(&c, kind)
		case 8: // EncryptionAlgorithm
			c.skip(kind)
			err = errEncrypted
		default:
			c.skip(kind)
		}
		c.bad = c.bad || err != nil
	})
	switch {
	case err != nil:
		return err
	case c.bad || len(f.schema) == 0:
		return errFooter
	case f.rows != f.sum:
		return damaged("its row groups have other rows than the file")
	}
	return nil
}

func (f *footer) elements(c *compact, kind byte) error {
	n, item := c.list(kind)
	if n > maxElements {
		return table.Refuse("The schema of this Parquet file has %d elements, and at most %d are read. Write fewer columns.", n, maxElements)
	}
	f.schema = make([]element, n)
	for i := range f.schema {
		e := &f.schema[i]
		e.physical, e.converted = -1, -1
		c.structure(item, func(id int16, kind byte) { e.field(c, id, kind) })
	}
	return nil
}

func (e *element) field(c *compact, id int16, kind byte) {
	switch id {
	case 1:
		e.physical = c.int32(kind)
	case 2:
		e.length = c.int32(kind)
	case 3:
		e.repetition = c.int32(kind)
	case 4:
		e.name = c.binary(kind)
	case 5:
		e.children = c.int32(kind)
	case 6:
		e.converted = c.int32(kind)
	case 7:
		e.scale = c.int32(kind)
	case 10:
		c.structure(kind, func(id int16, kind byte) {
			e.logical = id
			c.structure(kind, func(id int16, kind byte) { e.parameter(c, id, kind) })
		})
	default:
		c.skip(kind)
	}
}

// parameter reads a field of a logical type: of DecimalType, TimeType, TimestampType or IntType.
func (e *element) parameter(c *compact, id int16, kind byte) {
	switch {
	case e.logical == logicalDecimal && id == 1:
		e.scale = c.int32(kind)
	case (e.logical == logicalTime || e.logical == logicalTimestamp) && id == 1:
		e.utc = c.bool(kind)
	case (e.logical == logicalTime || e.logical == logicalTimestamp) && id == 2:
		c.structure(kind, func(id int16, kind byte) {
			e.unit = id
			c.skip(kind)
		})
	case e.logical == logicalInteger && id == 2:
		e.signed = c.bool(kind)
	default:
		c.skip(kind)
	}
}

func (f *footer) rowGroups(c *compact, kind byte) error {
	n, item := c.list(kind)
	if n > maxGroups {
		return table.Refuse("This Parquet file has %d row groups, and at most %d are read. Write larger row groups.", n, maxGroups)
	}
	f.groups = make([]span, n)
	for i := range f.groups {
		from := c.at
		c.structure(item, func(id int16, kind byte) {
			if id != 3 {
				c.skip(kind)
				return
			}
			rows := c.int(kind)
			c.bad = c.bad || rows < 0 || rows > math.MaxInt64-f.sum
			f.sum += rows
		})
		f.groups[i] = span{int32(from), int32(c.at)}
	}
	return nil
}

// A column is ColumnChunk with its ColumnMetaData: where one column of a row group is.
type column struct {
	physical, codec                    int32
	values, bytes, data, dict          int64
	elsewhere, encrypted, hasNoDetails bool
}

// group reads a row group, into columns, of which it has to have as many.
func (f *footer) group(i int, columns []column) (rows int64, err error) {
	c := compact{b: f.bytes[f.groups[i].from:f.groups[i].to]}
	n := 0
	c.fields(func(id int16, kind byte) {
		switch id {
		case 1:
			var item byte
			if n, item = c.list(kind); n != len(columns) {
				c.bad = true
				return
			}
			for j := range columns {
				columns[j] = column{hasNoDetails: true}
				c.structure(item, func(id int16, kind byte) { columns[j].field(&c, id, kind) })
			}
		case 3:
			rows = c.int(kind)
		default:
			c.skip(kind)
		}
	})
	if c.bad || n != len(columns) || rows < 0 {
		return 0, errFooter
	}
	return rows, nil
}

func (x *column) field(c *compact, id int16, kind byte) {
	switch id {
	case 1:
		x.elsewhere = len(c.binary(kind)) > 0
	case 3:
		x.hasNoDetails = false
		c.structure(kind, func(id int16, kind byte) {
			switch id {
			case 1:
				x.physical = c.int32(kind)
			case 4:
				x.codec = c.int32(kind)
			case 5:
				x.values = c.int(kind)
			case 7:
				x.bytes = c.int(kind)
			case 9:
				x.data = c.int(kind)
			case 11:
				x.dict = c.int(kind)
			default:
				c.skip(kind)
			}
		})
	case 8: // ColumnCryptoMetaData
		x.encrypted = true
		c.skip(kind)
	default:
		c.skip(kind)
	}
}
