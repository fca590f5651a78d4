package format

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// versions of the writers. A change of the bytes that one writes for the same rows raises its version, a
// change of its state as well: no file may have a beginning by one and an end by another. The test
// TestBytesAreThoseOfTheVersion knows the bytes.
var versions = map[Format]int{CSV: 1, NDJSON: 1, XLSX: 1, Parquet: 1}

// digestBytes of the digest tell columns and options from others.
const digestBytes = 16

// digest is of what a file's bytes depend on beside its rows.
func digest(o Options, columns []rows.Column) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d %t %t %t\n", o.Format, o.Compression, o.Delimiter, o.CRLF, o.NoHeader, o.RunFormulas)
	for _, c := range columns {
		fmt.Fprintf(h, "%d %q\n", c.Kind, c.Name)
	}
	return h.Sum(nil)[:digestBytes]
}

// title is how a state begins.
func title(f Format) string {
	return "tidemark " + string(f) + " " + strconv.Itoa(versions[f]) + "\n"
}

// An encoder appends to a state.
type encoder struct{ b []byte }

func (e *encoder) header(o Options, columns []rows.Column) {
	e.b = append(e.b, title(o.Format)...)
	e.b = append(e.b, digest(o, columns)...)
}

func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

// state is what State returns of a Writer at a boundary, where body adds what is the format's own.
func (c *core) state(boundary bool, body func(*encoder)) ([]byte, error) {
	if !boundary {
		return nil, errors.New("the file is not at a boundary")
	}
	var e encoder
	e.header(c.options, c.columns)
	e.uvarint(uint64(c.rows))
	body(&e)
	return e.b, nil
}

// A decoder reads what an encoder wrote. Its first failure stays, and what it returns from then on is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	d.b = nil
	if d.err == nil {
		d.err = fmt.Errorf("%w: it is damaged", ErrState)
	}
}

// raw returns the next n bytes, or nil.
func (d *decoder) raw(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) header(o Options, columns []rows.Column) {
	want := title(o.Format)
	if got := d.raw(len(want)); d.err == nil && string(got) != want {
		d.err = fmt.Errorf("%w: it is of another version or format", ErrState)
	}
	if got := d.raw(digestBytes); d.err == nil && string(got) != string(digest(o, columns)) {
		d.err = fmt.Errorf("%w: it is of other columns or options", ErrState)
	}
}

func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) count() int64 { return int64(d.uvarint(math.MaxInt64)) }

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}
