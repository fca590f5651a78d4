package columnar

import (
	"context"
	"errors"
	"io"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxHeldBytes bounds the pages and dictionaries of all columns that are in memory at once.
	maxHeldBytes = 256 << 20
	// aheadBytes is the most that is read ahead of a column, and allAheadBytes that of all columns.
	aheadBytes    = 256 << 10
	allAheadBytes = 16 << 20
	// batchRows and batchBytes of text are from how many on what was read is handed out.
	batchRows  = 128
	batchBytes = 64 << 10
	// loadsAlive is after how many values of a row the context is looked at.
	loadsAlive = 64 << 10
)

// A Reader reads a Parquet file's rows as NDJSON. It is for one goroutine.
type Reader struct {
	ctx    context.Context //nolint:containedctx // of the one stream, which does not outlive it
	r      io.ReaderAt
	size   int64
	footer *footer
	root   *node
	leaves []*leaf
	ahead  int

	group   int      // the next one
	columns []column // of the present one
	rows    int64    // of the present one that were not read yet
	open    bool
	held    int64
	most    int64  // that may be held
	loads   uint64 // entries that were read
	chunks  int64  // bytes of the columns of all groups so far
	packed  []byte // the page that is decompressed
	unpack  unpacker

	text     []byte // what Read has not returned yet
	room     []byte
	rowFrom  int // where in room the present row begins
	consumed int64
	err      error
}

// Open reads the footer of a Parquet file of size bytes. The Reader ends with ctx. Errors about the file wrap
// table.ErrRefused; those of r are wrapped as they are, here and by Read.
func Open(ctx context.Context, r io.ReaderAt, size int64) (*Reader, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f, err := readFooter(r, size)
	if err != nil {
		return nil, err
	}
	root, leaves, err := readSchema(f.schema)
	if err != nil {
		return nil, err
	}
	return &Reader{
		ctx: ctx, r: r, size: size, footer: f, root: root, leaves: leaves,
		ahead:   min(aheadBytes, allAheadBytes/len(leaves)),
		columns: make([]column, len(leaves)),
		most:    maxHeldBytes,
	}, nil
}

// Read reads the text on: an object and LF for each row. It is the same each time that the file is read. Its
// error is io.EOF at the end, the cause of the context's end, a refusal, or the io.ReaderAt's; it stays.
func (r *Reader) Read(p []byte) (int, error) {
	if err := r.alive(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.text) == 0 && r.err == nil {
		r.err = r.fill()
	}
	n := copy(p, r.text)
	r.text = r.text[n:]
	if n == 0 {
		return 0, r.err
	}
	return n, nil
}

// fill reads some rows. Those before an error are handed out first.
func (r *Reader) fill() (err error) {
	text := r.room[:0]
	defer func() { r.room, r.text = text, text }()
	for range batchRows {
		for r.rows == 0 {
			if err := r.nextGroup(); err != nil {
				return err
			}
		}
		whole := len(text)
		if text, err = r.row(text); err != nil {
			text = text[:whole]
			return err
		}
		if r.rows--; len(text) >= batchBytes {
			break
		}
	}
	return nil
}

// nextGroup ends a row group and begins with the next one.
func (r *Reader) nextGroup() (err error) {
	if r.open {
		for _, l := range r.leaves {
			if l.entries != 0 || l.inPage != 0 || l.maxRep > 0 && !l.ended {
				return damaged("a column has more rows than its row group")
			}
		}
		r.open = false
	}
	if err := r.alive(); err != nil {
		return err
	}
	if r.group == len(r.footer.groups) {
		r.consumed = r.size
		return io.EOF
	}
	rows, err := r.footer.group(r.group, r.columns)
	if err != nil {
		return err
	}
	r.group++
	if rows == 0 {
		return nil // whatever is in its columns
	}
	// Buffers are dropped, so that the widest column of one group does not count in all others.
	r.held, r.packed = 0, nil
	for i, l := range r.leaves {
		if err := l.begin(r, &r.columns[i], rows); err != nil {
			return err
		}
	}
	for _, l := range r.leaves {
		if l.maxRep > 0 {
			if err := r.load(l); err != nil {
				return err
			}
		}
	}
	r.rows, r.open = rows, true
	return nil
}

// hold counts memory that is about to be made.
func (r *Reader) hold(bytes int) error {
	if r.held += int64(bytes); r.held > r.most {
		return table.Refuse("The columns of this Parquet file need more than %d MiB of memory at once. Write smaller pages, smaller row groups or fewer columns.", maxHeldBytes>>20)
	}
	return nil
}

func (r *Reader) took(bytes int64) { r.consumed = min(r.consumed+bytes, r.size) }

// alive returns what ended the context.
func (r *Reader) alive() error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return nil
}

// Consumed is how many bytes of the file's size the text was made of, as far as it was read. It never falls,
// is ahead of the text by the pages in memory, and is the size at the end.
func (r *Reader) Consumed() int64 { return r.consumed }

var errClosed = errors.New("the Parquet file is closed")

// Close frees what the Reader has; the io.ReaderAt stays open. Later calls do nothing.
func (r *Reader) Close() error {
	r.unpack.close()
	r.err, r.text, r.room, r.leaves, r.footer = errClosed, nil, nil, nil, nil
	return nil
}
