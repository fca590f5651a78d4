package packed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/internal/storefault"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	chunkBytes = 256 << 10
	// ratioFrom is how much is unpacked before the ratio counts.
	ratioFrom = 32 << 20
	// maxWindow is Zstandard's window for its level 20, which is beyond what -19 makes.
	maxWindow = 32 << 20
)

// Defaults sets bounds of packed texts that are zero: Options' MaxUnpackedBytes and MaxRatio.
func Defaults(maxUnpackedBytes *int64, maxRatio *int) {
	option.Default(maxUnpackedBytes, 64<<30)
	option.Default(maxRatio, 200)
}

// Validate checks these bounds. Its error names the field and the bound.
func Validate(maxUnpackedBytes int64, maxRatio int) error {
	return errors.Join(
		option.Within("MaxUnpackedBytes", maxUnpackedBytes, 1<<20, 1<<50),
		option.Within("MaxRatio", maxRatio, 2, 100_000),
	)
}

// Options say from where on a text is read, and bound it.
type Options struct {
	// Offset of the text.
	Offset int64
	// NoHeader says that a workbook's sheet has no names above its data. Other texts are the same with it.
	NoHeader bool
	// Tee, which may be nil, gets every byte of the blob that is read: from the offset on where the text
	// is not packed, else all. Its errors are the Stream's.
	Tee io.Writer
	// MaxUnpackedBytes and MaxRatio bound a packed text. Settings begins the names of the settings that do,
	// such as "upload".
	MaxUnpackedBytes int64
	MaxRatio         int
	Settings         string
}

// A Stream is the text of a blob. It is not safe for concurrent use. It ends within one read of the
// blob when its context does, with the context's cause.
type Stream struct {
	ctx     context.Context //nolint:containedctx // of the one stream, which does not outlive it
	blob    source
	packing Packing
	text    io.Reader
	finish  func() error // verifies what follows the text
	stop    func() error
	at      int64 // offset in the text
	sheets  int
	o       Options
	err     error
}

// A source is what a Stream has of its blob.
type source interface {
	consumed() int64 // how far the blob was read
	fault() error    // of the store or the context
	close() error
}

// Open opens the text of a blob of size bytes at an offset. Close it.
func Open(ctx context.Context, bucket *blob.Bucket, key string, size int64, packing Packing, o Options) (*Stream, error) {
	s := &Stream{ctx: ctx, packing: packing, o: o, finish: func() error { return nil }, stop: func() error { return nil }}
	var err error
	if packing == XLSX || packing == Parquet {
		err = s.convert(&random{ctx: ctx, bucket: bucket, key: key, size: size})
	} else {
		err = s.unpack(bucket, key, size)
	}
	if err == nil {
		err = s.skip()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// unpack reads the blob from its start to its end, or of one that is not packed from the offset on.
func (s *Stream) unpack(bucket *blob.Bucket, key string, size int64) error {
	var entry *entry
	if s.packing == Zip {
		var err error
		if entry, err = lookUp(s.ctx, bucket, key, size); err != nil {
			return err
		}
	}
	if s.packing == None {
		s.at = s.o.Offset
	}
	raw, err := openRaw(s.ctx, bucket, key, s.at, size, s.o.Tee)
	if err != nil {
		return err
	}
	s.blob, s.text = raw, raw
	switch s.packing {
	case Gzip:
		s.text, err = gzip.NewReader(bufio.NewReaderSize(raw, chunkBytes))
	case Zstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			s.text, s.stop = z, func() error { z.Close(); return nil }
		}
	case Zip:
		s.text, s.finish, err = entry.open(raw)
	}
	if err != nil {
		return s.refusal(err)
	}
	return nil
}

// skip throws away the text before the offset.
func (s *Stream) skip() error {
	if s.at == s.o.Offset {
		return nil
	}
	buf := make([]byte, chunkBytes)
	for s.at < s.o.Offset {
		switch _, err := s.Read(buf[:min(chunkBytes, s.o.Offset-s.at)]); {
		case s.at == s.o.Offset: // perhaps at the end
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the packed text ends at byte %d, before byte %d, where an earlier reader was", s.at, s.o.Offset)
		case err != nil:
			return err
		}
	}
	return nil
}

// Sheets is how many sheets a workbook shows, of which the text is the first; 0 of what is no workbook.
func (s *Stream) Sheets() int { return s.sheets }

// BlobOffset is how far the blob was read.
func (s *Stream) BlobOffset() int64 { return s.blob.consumed() }

// Within says of an error of the text's reader that refuses the text in which file that is. Other errors, and
// those of how the text is packed, stay what they are.
func (s *Stream) Within(err error) error {
	refusal := (*table.Refusal)(nil)
	if s.packing == None || errors.Is(s.err, table.ErrRefused) || !errors.As(err, &refusal) {
		return err
	}
	return table.Refuse("In the %s file: %w", s.packing, err)
}

// Read implements io.Reader. At the end of the text the whole blob was read and verified.
func (s *Stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	n, err := s.text.Read(p)
	s.at += int64(n)
	if bound := s.bound(); bound != nil {
		n, err = 0, bound
	}
	switch {
	case errors.Is(err, io.EOF):
		if s.err = s.finish(); s.err == nil {
			s.err = io.EOF
		} else {
			s.err = s.refusal(s.err)
		}
	case err != nil:
		s.err = s.refusal(err)
	}
	return n, s.err
}

// columnRatio is how many times more than MaxRatio a text of columns may be larger: each row repeats their names, and
// a few bytes say what a column of equal values has.
const columnRatio = 50

// bound refuses a packed text that has become too large.
func (s *Stream) bound() error {
	ratio := int64(s.o.MaxRatio)
	if s.packing == Parquet {
		ratio *= columnRatio
	}
	switch {
	case s.packing == None:
	case s.at > s.o.MaxUnpackedBytes:
		return table.Refuse("Unpacked, this file has more than %d bytes, the most that is unpacked. "+
			"Split it, or raise the setting %s.max_unpacked_bytes (MaxUnpackedBytes).", s.o.MaxUnpackedBytes, s.o.Settings)
	case s.at > ratioFrom && s.at/ratio > s.blob.consumed():
		return table.Refuse("Unpacked, this file is more than %d times as large, the most that is unpacked. "+
			"Take it without packing, or raise the setting %s.max_ratio (MaxRatio).", ratio, s.o.Settings)
	}
	return nil
}

// refusal words an error of a decoder. Those of the store and of the context stay what they are, and so do
// workbook's and columnar's, which word their own: others of theirs are of temporary files.
func (s *Stream) refusal(err error) error {
	name := map[Packing]string{Gzip: "gzip", Zstd: "Zstandard", Zip: "zip"}[s.packing]
	switch fault := s.blob.fault(); {
	case fault != nil:
		return fault
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case s.packing == None, s.packing == XLSX, s.packing == Parquet, errors.Is(err, table.ErrRefused):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return table.Refuse("The %s data ends before its end: the file is cut off. Pack it again, and upload it again.", name)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return table.Refuse("Unpacking this file takes a window of more than %d MiB. Pack it with zstd -19 or less and without --long.", maxWindow>>20)
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return table.Refuse("This file is packed with a dictionary, which is not in it. Pack it without one.")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		return table.Refuse("Behind the %s data, at about byte %d, there are other bytes. Pack the file again, and upload it again.", name, s.blob.consumed())
	}
	return table.Refuse("The %s data is damaged before byte %d. Pack the file again, and upload it again.", name, s.blob.consumed())
}

// Close lets go of the blob.
func (s *Stream) Close() error {
	err := s.stop()
	if s.blob != nil {
		err = errors.Join(err, s.blob.close())
	}
	return err
}

// raw is a blob's bytes from an offset on.
type raw struct {
	ctx  context.Context //nolint:containedctx // the stream's
	blob io.ReadCloser
	text io.Reader
	tee  io.Writer
	from int64
	n    int64
	err  error // of the store or the context
}

func openRaw(ctx context.Context, bucket *blob.Bucket, key string, from, size int64, tee io.Writer) (*raw, error) {
	r := &raw{ctx: ctx, tee: tee, from: from}
	if from >= size { // some stores refuse a range that begins at the end
		r.blob = io.NopCloser(strings.NewReader(""))
	} else {
		b, err := bucket.NewRangeReader(ctx, key, from, -1, nil)
		if err != nil {
			return nil, table.Missing(err)
		}
		r.blob = b
	}
	r.text = table.Wordless{Reader: r.blob}
	return r, nil
}

func (r *raw) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
	n, err := r.text.Read(p)
	r.n += int64(n)
	if r.tee != nil && n > 0 {
		if _, failed := r.tee.Write(p[:n]); failed != nil {
			r.err = failed
			return n, failed
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if r.ctx.Err() != nil {
			err = context.Cause(r.ctx)
		}
		r.err = err
	}
	return n, err
}

func (r *raw) consumed() int64 { return r.from + r.n }
func (r *raw) fault() error    { return r.err }

func (r *raw) close() error {
	if err := r.blob.Close(); err != nil {
		return fmt.Errorf("close the blob: %w", storefault.Of(err))
	}
	return nil
}
