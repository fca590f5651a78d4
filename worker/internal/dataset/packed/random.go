package packed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/storefault"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/columnar"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/workbook"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// converter gives the text of a file that is read in any order.
type converter interface {
	io.ReadCloser
	Consumed() int64
}

// convert reads the text of a workbook or of columns. Once it has ended, the Tee gets the blob's bytes in order.
func (s *Stream) convert(r *random) (err error) {
	s.blob = r
	var text converter
	if s.packing == XLSX {
		var book *workbook.Reader
		if book, err = workbook.Open(s.ctx, r, r.size, s.o.NoHeader); err == nil {
			text, s.sheets = book, book.Sheets()
		}
	} else {
		text, err = columnar.Open(s.ctx, r, r.size)
	}
	if err != nil {
		return s.refusal(err)
	}
	r.text, s.text, s.stop = text, text, text.Close
	s.finish = func() error {
		if s.o.Tee == nil {
			return nil
		}
		return r.tee(s.o.Tee)
	}
	return nil
}

// tee writes the blob's bytes in order.
func (r *random) tee(w io.Writer) error {
	raw, err := openRaw(r.ctx, r.bucket, r.key, 0, r.size, w)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{raw}, make([]byte, chunkBytes))
	if err == nil && raw.n != r.size {
		err = fmt.Errorf("the blob ends at byte %d, and has %d", raw.n, r.size)
	}
	return errors.Join(err, raw.close())
}

// random is a blob's bytes in any order. It is safe for concurrent use, as an io.ReaderAt has to be.
type random struct {
	ctx    context.Context //nolint:containedctx // the stream's
	bucket *blob.Bucket
	key    string
	size   int64
	text   converter

	mu  sync.Mutex
	err error // of the store or the context
}

// ReadAt implements io.ReaderAt with a request for each call.
func (r *random) ReadAt(p []byte, at int64) (n int, err error) {
	if at < 0 || at >= r.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > r.size-at
	if short {
		p = p[:r.size-at]
	}
	if n, err = r.read(p, at); err != nil {
		r.note(err)
		return n, err
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

func (r *random) read(p []byte, at int64) (n int, err error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	b, err := r.bucket.NewRangeReader(r.ctx, r.key, at, int64(len(p)), nil)
	if err != nil {
		return 0, table.Missing(err)
	}
	n, err = io.ReadFull(table.Wordless{Reader: b}, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the blob ends at byte %d, and has %d", at+int64(n), r.size)
	}
	if closed := b.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close the blob: %w", storefault.Of(closed))
	}
	if err != nil && r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	return n, err
}

// note keeps the first error of the store or the context, whatever the reader of the format makes of it.
func (r *random) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *random) consumed() int64 {
	if r.text == nil {
		return 0
	}
	return r.text.Consumed()
}

func (r *random) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *random) close() error { return nil }
