package format

import (
	"errors"
	"fmt"
	"io"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// A Format is what a file is.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	NDJSON  Format = "ndjson"
	XLSX    Format = "xlsx"
	Parquet Format = "parquet"
)

// A Compression is what is around a CSV or NDJSON file.
type Compression string

// The compressions.
const (
	Plain Compression = ""
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
)

// Bounds of every format.
const (
	// MaxColumns is how many columns a file has at most; it is Excel's number, too.
	MaxColumns = 16_384
	// MaxParquetColumns is the same for Parquet, whose columns have buffers of their own.
	MaxParquetColumns = 4_096
	// MaxNameBytes bounds the names of all columns together.
	MaxNameBytes = 1 << 20
	// MaxRowBytes bounds the values of a row together.
	MaxRowBytes = 8 << 20
	// MaxStateBytes bounds what State returns.
	MaxStateBytes = 512 << 10
)

// limits decide where boundaries are.
type limits struct {
	// block is from how many bytes on a block ends, which is then compressed and written.
	block int
	// sheetRows and sheetBytes of XML are from how many on a sheet ends.
	sheetRows  int64
	sheetBytes uint64
	// groupRows and groupBytes of values are from how many on a row group ends.
	groupRows  int64
	groupBytes int
}

var theLimits = limits{block: 1 << 20, sheetRows: maxSheetRows, sheetBytes: maxSheetBytes, groupRows: 50_000, groupBytes: 32 << 20}

// ErrState is of a state that Resume cannot continue from: it is damaged, of another version of the
// writer, or of other columns or options. The caller begins the file anew.
var ErrState = errors.New("the state is not one that this writer continues from")

// ErrTooLarge is of a row or a table that the format does not hold. Writing it again fails again.
var ErrTooLarge = errors.New("too large")

// Options say how a file is written. All but Format have a zero value that works.
type Options struct {
	// Format of the file.
	Format Format
	// Compression of a CSV or NDJSON file. Defaults to none; the other formats compress on their own.
	Compression Compression
	// Delimiter of a CSV file's cells: a comma, a semicolon, a tab or a bar. Defaults to a comma.
	Delimiter byte
	// CRLF ends the lines of a CSV file with CR LF in place of LF.
	CRLF bool
	// NoHeader leaves out the names of the columns, in CSV and XLSX.
	NoHeader bool
	// RunFormulas leaves the texts of a CSV file as they are, so that a reader who opens it in a spreadsheet runs
	// what a stranger wrote: only for files that programs read.
	RunFormulas bool
}

// Validate returns what is wrong with the options, by name, or nil.
func (o Options) Validate() error {
	switch o.Format {
	case CSV, NDJSON, XLSX, Parquet:
	default:
		return fmt.Errorf("format %.20q: want csv, ndjson, xlsx or parquet", string(o.Format))
	}
	switch o.Compression {
	case Plain, Gzip, Zstd:
	default:
		return fmt.Errorf("compression %.20q: want gzip, zstd or none", string(o.Compression))
	}
	if o.Compression != Plain && (o.Format == XLSX || o.Format == Parquet) {
		return fmt.Errorf("compression is an option of csv and ndjson; a file of %s is compressed within", o.Format)
	}
	switch o.Delimiter {
	case 0, ',', ';', '\t', '|':
	default:
		return fmt.Errorf("delimiter %q: want a comma, a semicolon, a tab or a bar", o.Delimiter)
	}
	if o.Format != CSV && (o.Delimiter != 0 || o.CRLF || o.RunFormulas) {
		return fmt.Errorf("delimiter, line ending and formulas are options of csv, not of %s", o.Format)
	}
	if o.NoHeader && (o.Format == NDJSON || o.Format == Parquet) {
		return fmt.Errorf("a header is an option of csv and xlsx, not of %s", o.Format)
	}
	return nil
}

// A Writer writes the rows of one file. It is for one goroutine. After an error of any method but State,
// the file is of no use and the Writer returns the same error again.
type Writer interface {
	// Write adds a row, which has a value for each column, each of the column's kind or null. It keeps
	// nothing of row. Its error is ErrTooLarge, names a value that is not what its kind says, or is the
	// io.Writer's.
	Write(row []rows.Value) error
	// Boundary reports whether State may be called now.
	Boundary() bool
	// State is what Resume needs beside columns and options, at most MaxStateBytes. It fails where there is
	// no boundary.
	State() ([]byte, error)
	// Clipped is how many texts are in the file only in part, since the format does not hold all of them.
	Clipped() int64
	// Close writes what is left and the end of the file. It does not close the io.Writer. No row, no state
	// and no second Close may follow.
	Close() error
}

// New begins a file of such columns in w. It writes nothing before the first Write or Close; its error says
// what is wrong with the columns or the options.
func New(w io.Writer, columns []rows.Column, o Options) (Writer, error) {
	return begin(w, columns, o, theLimits)
}

func begin(w io.Writer, columns []rows.Column, o Options, l limits) (Writer, error) {
	f, err := open(w, columns, o, l)
	if err != nil {
		return nil, err
	}
	f.begin()
	return f, nil
}

// Resume continues a file at the boundary where its Writer returned state. What that Writer had written by
// then is before w, and nothing else. The error is ErrState if the caller is to begin anew.
func Resume(w io.Writer, columns []rows.Column, o Options, state []byte) (Writer, error) {
	return resume(w, columns, o, theLimits, state)
}

func resume(w io.Writer, columns []rows.Column, o Options, l limits, state []byte) (Writer, error) {
	f, err := open(w, columns, o, l)
	if err != nil {
		return nil, err
	}
	d := decoder{b: state}
	d.header(o, columns)
	f.restore(&d)
	if len(d.b) > 0 {
		d.fail()
	}
	if d.err != nil {
		return nil, d.err
	}
	return f, nil
}

// A file is a Writer before its first row.
type file interface {
	Writer
	begin()
	restore(d *decoder)
}

func open(w io.Writer, columns []rows.Column, o Options, l limits) (file, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := checkColumns(columns, o.Format); err != nil {
		return nil, err
	}
	c := core{w: w, columns: columns, options: o, limits: l}
	switch o.Format {
	case XLSX:
		return newXLSX(c), nil
	case Parquet:
		return newParquet(c), nil
	default:
		return newText(c), nil
	}
}

func checkColumns(columns []rows.Column, f Format) error {
	most, distinct := MaxColumns, f == NDJSON || f == Parquet
	if f == Parquet {
		most = MaxParquetColumns
	}
	if n := len(columns); n == 0 || n > most {
		return fmt.Errorf("%d columns: want 1 to %d in a file of %s", n, most, f)
	}
	size, places := 0, make(map[string]int, len(columns))
	for i, c := range columns {
		if c.Kind == rows.Null || c.Kind > rows.JSON {
			return fmt.Errorf("column %d has no kind", i+1)
		}
		if size += len(c.Name); size > MaxNameBytes {
			return fmt.Errorf("the names of the columns have more than %d bytes", MaxNameBytes)
		}
		if before, twice := places[c.Name]; twice && distinct {
			return fmt.Errorf("columns %d and %d have the same name %.40q", before, i+1, c.Name)
		}
		places[c.Name] = i + 1
	}
	return nil
}

// core is what all Writers have.
type core struct {
	w       io.Writer
	columns []rows.Column
	options Options
	limits  limits
	rows    int64 // that Write took
	closed  bool
	err     error // the first one, which stays
}

// check is the beginning of every Write.
func (c *core) check(row []rows.Value) error {
	if c.err != nil {
		return c.err
	}
	if c.closed {
		return errors.New("the file is closed")
	}
	if len(row) != len(c.columns) {
		return c.fail(fmt.Errorf("row %d has %d values, want %d", c.rows+1, len(row), len(c.columns)))
	}
	size := 0
	for i := range row {
		v := &row[i]
		size += len(v.Data)
		if v.Kind != c.columns[i].Kind && v.Kind != rows.Null {
			return c.fail(fmt.Errorf("row %d, column %d: a value of kind %d in a column of kind %s", c.rows+1, i+1, v.Kind, c.columns[i].Kind))
		}
	}
	if size > MaxRowBytes {
		return c.fail(fmt.Errorf("row %d has %d bytes, more than %d: %w", c.rows+1, size, MaxRowBytes, ErrTooLarge))
	}
	c.rows++
	return nil
}

func (c *core) fail(err error) error {
	if c.err == nil {
		c.err = err
	}
	return c.err
}

// wrong is the failure of a value of the row that check counted last.
func (c *core) wrong(column int, what string) error {
	return c.fail(fmt.Errorf("row %d, column %d: %s", c.rows, column+1, what))
}

// put writes to the file.
func (c *core) put(b []byte) error {
	if _, err := c.w.Write(b); err != nil {
		return c.fail(err)
	}
	return nil
}

// finish is the beginning of every Close.
func (c *core) finish() error {
	if c.closed && c.err == nil {
		return errors.New("the file is closed")
	}
	c.closed = true
	return c.err
}
