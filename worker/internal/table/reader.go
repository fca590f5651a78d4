package table

import (
	"bytes"
	"context"
	"io"
)

// Options say what is known of a file, and bound how it is read. The zero value works.
type Options struct {
	// Name is the file's own; its extension helps to decide the dialect.
	Name string
	// Format is CSV or NDJSON; empty means to find out.
	Format string
	// Delimiter is one of Delimiters; 0 means to find out.
	Delimiter byte
	// NoHeader says that a CSV has no names above its data.
	NoHeader bool
	// Untitled says that a CSV has nothing above its header, or above its data: no line is taken for a title, for a
	// comment, or for one such as sep=; then.
	Untitled bool
	// MaxRecordBytes is the longest record or line, as UTF-8 with its line ending; memory grows to
	// about twice as much. Defaults to 1 MiB.
	MaxRecordBytes int
	// Longer says how to read longer ones, such as "Raise the setting x for longer ones".
	Longer string
}

const defaultMaxRecordBytes = 1 << 20

func (o Options) limit() int {
	if o.MaxRecordBytes == 0 {
		return defaultMaxRecordBytes
	}
	return o.MaxRecordBytes
}

// A Reader cuts a file into records. What it returns is valid until its next call, and it is not
// safe for concurrent use. It ends within one read of 256 KiB when its context does, with the
// context's cause.
type Reader struct {
	in      *input
	sp      splitter
	dialect Dialect
	records uint64
	longer  string
	damaged bool
	length  int // of the last record in the window
	lines   uint64
}

// Open finds out how a file is written, and returns a Reader before its header, or its first
// record. It reads at least 64 KiB of src. An error that lies in the file wraps ErrRefused.
func Open(ctx context.Context, src io.Reader, o Options) (*Reader, error) {
	in := newInput(ctx, src, ASCII, 0, o.limit())
	if err := in.open(o.Name); err != nil {
		return nil, err
	}
	d, skip, err := sniff(in.head(), in.whole(), o)
	if err != nil {
		return nil, err
	}
	if in.returns = d.Returns; d.Returns {
		feed(in.window())
	}
	lines := uint64(bytes.Count(in.window()[:skip], []byte("\n")))
	in.take(skip)
	r := newReader(in, d, 0, o)
	r.lines = lines
	return r, nil
}

// Resume returns a Reader that continues at a record's offset with the dialect that a Reader had
// there, after so many records. src begins at the offset.
func Resume(ctx context.Context, src io.Reader, d Dialect, offset int64, records uint64, o Options) *Reader {
	in := newInput(ctx, src, d.Encoding, offset, o.limit())
	in.returns = d.Returns
	return newReader(in, d, records, o)
}

func newReader(in *input, d Dialect, records uint64, o Options) *Reader {
	return &Reader{
		in: in, dialect: d, records: records, longer: o.Longer,
		sp: splitter{delimiter: d.Delimiter, literal: !d.Quotes},
	}
}

// Dialect is how the file is written, as far as that is settled: an encoding of ASCII may still
// become another one.
func (r *Reader) Dialect() Dialect {
	r.dialect.Encoding = r.in.encoding
	return r.dialect
}

// Mark reports whether Open has found a byte-order mark.
func (r *Reader) Mark() bool { return r.in.mark }

// Encoding is that of the Dialect.
func (r *Reader) Encoding() Encoding { return r.in.encoding }

// Offset is the byte offset in the file of the next record.
func (r *Reader) Offset() int64 { return r.in.at }

// Records is how many records or lines were read, a header included, blank records not.
func (r *Reader) Records() uint64 { return r.records }

// Lines is how many lines of the file were taken since Open or Resume, those of a quoted field
// each.
func (r *Reader) Lines() uint64 { return r.lines }

// Text is the last record or line as it is in the file, as UTF-8, with its ending.
func (r *Reader) Text() []byte { return r.in.buf[r.in.start-r.length : r.in.start] }

// Ahead is what the window has of the text from Offset on.
func (r *Reader) Ahead() []byte { return r.in.window() }

// Pass goes past the line at which Record or Line has returned an error that wraps ErrTooLong or
// ErrUnclosed, so that they go on with the next line. It takes at most what one read returns, so that a
// line may have any length: false means that the line goes on, and Pass is to be called again.
func (r *Reader) Pass() (bool, error) {
	in := r.in
	r.length = 0
	if len(in.window()) == 0 && !in.eof {
		if err := in.more(); err != nil {
			return false, err
		}
	}
	data := in.window()
	n := bytes.IndexByte(data, '\n') + 1
	past := n > 0
	if !past {
		n, past = len(data), in.eof
	}
	in.take(n)
	if past {
		r.records++
		r.lines++
	}
	return past, nil
}

// took notes that n bytes at the start of data are taken, whose first line ends at an offset, or below 0 nowhere.
func (r *Reader) took(data []byte, n, lineEnd int) {
	r.length = n
	r.lines++ // also of the last one, which may have no end
	if 0 <= lineEnd && lineEnd < n-1 {
		rest := data[lineEnd+1 : n]
		r.lines += uint64(bytes.Count(rest, []byte("\n")))
		if rest[len(rest)-1] != '\n' {
			r.lines++
		}
	}
}

// Misquoted reports whether the last record broke the rules of quoting.
func (r *Reader) Misquoted() bool { return r.sp.badQuotes }

// Damaged reports whether the last record or line has bytes that are no text in the file's
// encoding, or U+FFFD, which was once put in the place of some.
func (r *Reader) Damaged() bool { return r.damaged }

// Record returns the fields of the next record of a CSV, none for a blank line; false at the end.
func (r *Reader) Record() ([][]byte, bool, error) {
	in := r.in
	for {
		data := in.window()
		if len(data) == 0 && in.eof {
			return nil, false, nil
		}
		n := r.sp.record(data, in.eof)
		if n > in.limit || n == 0 && len(data) > in.limit {
			return nil, false, r.tooLong()
		}
		if n > 0 {
			r.damaged = in.damagedRecord(n)
			r.took(data, n, r.sp.lineEnd)
			in.take(n)
			if len(r.sp.fields) > 0 {
				r.records++
			}
			return r.sp.fields, true, nil
		}
		if in.eof {
			return nil, false, refuseAs(ErrUnclosed, "Record %d at byte offset %d has a quoted field, which begins at byte offset %d, that is not closed at the end of the file. "+
				"The file may be cut off, or a quote is missing.", r.records+1, in.at, r.openQuote())
		}
		if err := in.more(); err != nil {
			return nil, false, err
		}
	}
}

// Line returns the next line without its ending; false at the end.
func (r *Reader) Line() ([]byte, bool, error) {
	in := r.in
	searched := 0
	for {
		data := in.window()
		i := bytes.IndexByte(data[searched:], '\n')
		n := searched + i + 1
		if i < 0 {
			n = len(data)
		}
		switch {
		case n > in.limit:
			r.sp.openQuote = -1
			return nil, false, r.tooLong()
		case i >= 0, in.eof && n > 0:
			r.damaged = in.damagedRecord(n)
			r.took(data, n, n-1)
			in.take(n)
			r.records++
			return withoutReturns(bytes.TrimSuffix(data[:n], []byte("\n"))), true, nil
		case in.eof:
			return nil, false, nil
		}
		searched = n
		if err := in.more(); err != nil {
			return nil, false, err
		}
	}
}

// tooLong refuses the next record.
func (r *Reader) tooLong() error {
	quote := ""
	if r.sp.openQuote >= 0 {
		quote = " A quoted field that begins at byte offset %d is not closed."
	}
	text, args := "Record %d at byte offset %d is longer than %d bytes, the most that is read."+quote, []any{r.records + 1, r.in.at, r.in.limit}
	if quote != "" {
		args = append(args, r.openQuote())
	}
	if r.longer != "" {
		text += " %s."
		args = append(args, r.longer)
	}
	return refuseAs(ErrTooLong, text, args...)
}

// openQuote is the byte offset of the quoted field that is open in the window.
func (r *Reader) openQuote() int64 {
	in := r.in
	return in.at + int64(in.encoding.sourceBytes(in.buf[in.start:in.start+max(0, r.sp.openQuote)]))
}
