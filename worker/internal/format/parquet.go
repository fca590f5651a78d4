package format

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

const (
	// maxGroups is the format's own bound.
	maxGroups = math.MaxInt16
	// cellBytes is what each cell counts beside its bytes, null or not.
	cellBytes = 8
	// boundsColumns is up to how many columns row groups have minima and maxima, which take room in the state.
	boundsColumns = 256
	// parquetMagic begins and ends a file.
	parquetMagic = "PAR1"
	// parquetCreator is in each file. It names no version, since a file may have row groups by several
	// builds.
	parquetCreator = "tidemark"
)

// parquetFile writes Apache Parquet. parquet-go writes each row group as a file of its own, whose pages go
// to ours; what its footer says about them stays, packed, in groups, and ours is made of it at the end.
type parquetFile struct {
	core
	schema *parquet.Schema
	codec  *zstd.Codec
	pool   parquet.BufferPool

	group   *parquet.GenericWriter[any]
	pages   pages
	inGroup int64 // rows
	cells   int   // bytes of the group's values
	one     [1]parquet.Value

	// offset is how long the file is, and written how many row groups it has.
	offset  uint64
	written int
	// groups has for each row group its number of rows, and for each of its columns what pack says.
	groups encoder
}

func newParquet(c core) *parquetFile {
	f := &parquetFile{core: c, codec: &zstd.Codec{}}
	fields := parquet.Group{}
	for i, column := range c.columns {
		fields[placeName(i)] = parquet.Encoded(parquet.Optional(parquetNode(column.Kind)), &parquet.Plain)
	}
	f.schema = parquet.NewSchema("rows", fields)
	f.pool = parquet.NewChunkBufferPool(min(32<<10, max(1<<10, c.limits.groupBytes/len(c.columns))))
	f.pages.w = bufio.NewWriterSize(c.w, 64<<10)
	return f
}

// placeName names a column by its place, since parquet-go sorts columns by name. The names that a file has
// are the footer's, which is ours.
func placeName(i int) string { return string(strconv.AppendInt([]byte("c"), int64(i)+10_000, 10)) }

func parquetNode(k rows.Kind) parquet.Node {
	switch k {
	case rows.Int:
		return parquet.Int(64)
	case rows.Float:
		return parquet.Leaf(parquet.DoubleType)
	case rows.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case rows.Date:
		return parquet.Date()
	case rows.Timestamp:
		return parquet.Timestamp(parquet.Microsecond)
	case rows.Bytes:
		return parquet.Leaf(parquet.ByteArrayType)
	case rows.JSON:
		return parquet.JSON()
	default: // a decimal as well, whose column does not say how many digits it needs
		return parquet.String()
	}
}

// hasBounds reports whether row groups say what the least and the greatest value of a column is. Texts do
// not, since they may be long, nor do floats, where NaN has no place.
func (f *parquetFile) hasBounds(k rows.Kind) bool {
	return len(f.columns) <= boundsColumns && (k == rows.Int || k == rows.Date || k == rows.Timestamp)
}

func (f *parquetFile) writer(w io.Writer) *parquet.GenericWriter[any] {
	options := []parquet.WriterOption{
		f.schema, parquet.Compression(f.codec), parquet.ColumnPageBuffers(f.pool), parquet.WriteBufferSize(0),
		parquet.DataPageVersion(1), parquet.DataPageStatistics(false),
	}
	for i, c := range f.columns {
		if !f.hasBounds(c.Kind) {
			options = append(options, parquet.SkipPageBounds(placeName(i)))
		}
	}
	return parquet.NewGenericWriter[any](w, options...)
}

func (f *parquetFile) begin() {}

func (f *parquetFile) Write(row []rows.Value) error {
	if err := f.check(row); err != nil {
		return err
	}
	if f.group == nil {
		// A writer that was reset would do, but then bytes could depend on what it wrote before.
		f.group = f.writer(&f.pages)
	}
	writers := f.group.ColumnWriters()
	for i := range row {
		v, what := parquetValue(&row[i])
		if what != "" {
			return f.wrong(i, what)
		}
		level := 1
		if v.IsNull() {
			level = 0
		}
		f.one[0] = v.Level(0, level, i)
		if _, err := writers[i].WriteRowValues(f.one[:]); err != nil {
			return f.fail(err)
		}
		f.cells += cellBytes + len(row[i].Data)
	}
	if f.inGroup++; f.inGroup < f.limits.groupRows && f.cells < f.limits.groupBytes {
		return nil
	}
	return f.flush()
}

func parquetValue(v *rows.Value) (_ parquet.Value, what string) {
	switch v.Kind {
	case rows.Null:
		return parquet.NullValue(), ""
	case rows.Int:
		return parquet.Int64Value(v.Int), ""
	case rows.Float:
		return parquet.DoubleValue(v.Float), ""
	case rows.Bool:
		return parquet.BooleanValue(v.Int != 0), ""
	case rows.Date:
		if !inTime(v.Int) {
			return parquet.NullValue(), notTime
		}
		return parquet.Int32Value(int32(v.Int)), ""
	case rows.Timestamp:
		return parquet.Int64Value(v.Int), ""
	case rows.Bytes:
		return parquet.ByteArrayValue(v.Data), ""
	case rows.JSON:
		return parquet.ByteArrayValue(jsonText(v.Data)), ""
	case rows.Decimal:
		if !isDecimal(v.Data) {
			return parquet.NullValue(), notDecimal
		}
		return parquet.ByteArrayValue(v.Data), ""
	default:
		return parquet.ByteArrayValue(validText(v.Data)), ""
	}
}

// flush ends the row group.
func (f *parquetFile) flush() error {
	if f.written == maxGroups {
		return f.fail(fmt.Errorf("a Parquet file of more than %d row groups: %w", maxGroups, ErrTooLarge))
	}
	if f.written == 0 {
		if _, err := f.pages.w.WriteString(parquetMagic); err != nil {
			return f.fail(err)
		}
		f.offset = uint64(len(parquetMagic))
	}
	f.pages.begin()
	if err := f.group.Flush(); err != nil {
		return f.fail(err)
	}
	f.pages.end()
	if err := f.group.Close(); err != nil {
		return f.fail(err)
	}
	if err := f.pages.w.Flush(); err != nil {
		return f.fail(err)
	}
	f.pack(&f.group.File().Metadata().RowGroups[0])
	f.group, f.inGroup, f.cells = nil, 0, 0
	f.written++
	if size := len(f.groups.b); size > MaxStateBytes-stateHead {
		return f.fail(fmt.Errorf("a Parquet file of %d row groups of %d columns: %w", f.written, len(f.columns), ErrTooLarge))
	}
	return nil
}

// stateHead is more than a state has before groups.
const stateHead = 1 << 10

func (f *parquetFile) Boundary() bool {
	return f.written > 0 && f.inGroup == 0 && !f.closed && f.err == nil
}

func (f *parquetFile) State() ([]byte, error) {
	return f.state(f.Boundary(), func(e *encoder) {
		e.uvarint(f.offset)
		e.uvarint(uint64(f.written))
		e.b = append(e.b, f.groups.b...)
	})
}

func (f *parquetFile) restore(d *decoder) {
	f.rows = d.count()
	f.offset = d.uvarint(math.MaxInt64)
	f.written = int(d.uvarint(maxGroups))
	if f.written == 0 {
		d.fail()
	}
	// What is packed is read once now, so that damage shows before a row is written.
	packed, at := d.b, uint64(len(parquetMagic))
	for i := 0; i < f.written && d.err == nil; i++ {
		f.unpack(d, &at, 0)
	}
	if at != f.offset {
		d.fail()
	}
	f.groups.b = append(f.groups.b, packed...)
}

func (f *parquetFile) Clipped() int64 { return 0 }

func (f *parquetFile) Close() error {
	if err := f.finish(); err != nil {
		return err
	}
	if f.inGroup > 0 {
		if err := f.flush(); err != nil {
			return err
		}
	}
	footer, err := f.footer()
	if err != nil {
		return f.fail(err)
	}
	if f.written == 0 {
		footer = append([]byte(parquetMagic), footer...)
	}
	return f.put(footer)
}

// footer is the file's end: what is where, its length, and the magic.
func (f *parquetFile) footer() ([]byte, error) {
	// parquet-go's own of an empty file has the schema.
	empty := f.writer(io.Discard)
	if err := empty.Close(); err != nil {
		return nil, err
	}
	meta := *empty.File().Metadata()
	meta.CreatedBy, meta.NumRows = parquetCreator, f.rows
	for i, c := range f.columns {
		meta.Schema[i+1].Name = string(validText([]byte(c.Name)))
	}
	d, at := decoder{b: f.groups.b}, uint64(len(parquetMagic))
	for i := range f.written {
		meta.RowGroups = append(meta.RowGroups, f.unpack(&d, &at, int16(i)))
	}
	if d.err != nil {
		return nil, d.err
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	if err != nil {
		return nil, err
	}
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	return append(footer, parquetMagic...), nil
}

// pages passes a row group's pages on and leaves out the magic before and what comes after them.
type pages struct {
	w    *bufio.Writer
	skip int
	off  bool
}

func (p *pages) begin() { p.skip, p.off = len(parquetMagic), false }
func (p *pages) end()   { p.off = true }

func (p *pages) Write(b []byte) (int, error) {
	if p.off {
		return len(b), nil
	}
	skipped := min(p.skip, len(b))
	p.skip -= skipped
	n, err := p.w.Write(b[skipped:])
	return skipped + n, err
}
