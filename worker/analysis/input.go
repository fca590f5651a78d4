package analysis

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

const (
	chunkBytes = 256 << 10 // what one read asks for
	sniffBytes = 64 << 10  // what format and delimiter are decided from
)

// input is a window on the file that slides forward record by record. It grows
// to the longest record, at most limit and one chunk.
type input struct {
	ctx   context.Context //nolint:containedctx // of the one call that reads; input does not outlive it
	src   io.Reader
	buf   []byte
	start int   // first byte that no record has taken
	end   int   // end of what was read
	base  int64 // byte offset of buf[0] in the file
	limit int   // longest record
	eof   bool
}

func newInput(ctx context.Context, src io.Reader, offset int64, limit int) *input {
	return &input{ctx: ctx, src: src, base: offset, limit: limit, buf: make([]byte, min(chunkBytes, limit+chunkBytes))}
}

func (in *input) window() []byte { return in.buf[in.start:in.end] }
func (in *input) offset() int64  { return in.base + int64(in.start) }

// more reads at least one byte more into the window, or finds the end.
func (in *input) more() error {
	if in.start > 0 {
		copy(in.buf, in.buf[in.start:in.end])
		in.base += int64(in.start)
		in.end -= in.start
		in.start = 0
	}
	if in.end == len(in.buf) {
		grown := make([]byte, 2*len(in.buf))
		copy(grown, in.buf[:in.end])
		in.buf = grown
	}
	for range 100 {
		n, err := in.src.Read(in.buf[in.end:])
		fresh := in.buf[in.end : in.end+n]
		if i := bytes.IndexByte(fresh, 0); i >= 0 {
			return in.binary(in.end+i, n)
		}
		in.end += n
		switch {
		case err == io.EOF:
			in.eof = true
			return nil
		case err != nil:
			if in.ctx.Err() != nil {
				return context.Cause(in.ctx)
			}
			return fmt.Errorf("read at byte offset %d: %w", in.base+int64(in.end), err)
		case n > 0:
			return nil
		}
	}
	return fmt.Errorf("read at byte offset %d: %w", in.base+int64(in.end), io.ErrNoProgress)
}

// binary explains a NUL byte at buf[at], of which fresh bytes were just read.
func (in *input) binary(at, fresh int) error {
	offset := in.base + int64(at)
	if in.base == 0 {
		if what := looksLike(in.buf[:in.end+fresh]); what != "" {
			return notText(what)
		}
	}
	return fmt.Errorf("%w: a NUL byte at offset %d: this is binary data, or text that is not UTF-8; %s",
		ErrInput, offset, allowed)
}

// head makes the first sniffBytes available, or the whole of a shorter file.
func (in *input) head() ([]byte, error) {
	for !in.eof && in.end-in.start < sniffBytes {
		if err := in.more(); err != nil {
			return nil, err
		}
	}
	return in.window()[:min(sniffBytes, in.end-in.start)], nil
}

// tooLong is the error for a record over the limit; quote is the offset of a
// quoted field that is still open in it, or negative.
func (in *input) tooLong(record uint64, quote int64) error {
	hint := ""
	if quote >= 0 {
		hint = fmt.Sprintf(" (a quoted field that begins at byte offset %d is not closed)", quote)
	}
	return fmt.Errorf("%w: record %d at byte offset %d is longer than %d bytes%s; "+
		"check that this is line-based text, or raise MaxRecordBytes (the setting analysis.max_record_bytes)", ErrInput, record, in.offset(), in.limit, hint)
}
