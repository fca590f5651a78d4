package columnar

import (
	"bytes"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// CompressionCodec of parquet.thrift.
const (
	codecNone   = 0
	codecSnappy = 1
	codecGzip   = 2
	codecBrotli = 4
	codecZstd   = 6
	codecLZ4    = 7
)

func checkCodec(codec int32) error {
	switch codec {
	case codecNone, codecSnappy, codecGzip, codecBrotli, codecZstd, codecLZ4:
		return nil
	}
	return table.Refuse("This Parquet file is compressed by a method (%d) that cannot be read. Write it with Snappy, Zstandard or gzip.", codec)
}

var errUnpack = damaged("a page cannot be decompressed to the size that its header says")

// An unpacker decompresses pages.
type unpacker struct{ zstd *zstd.Decoder }

// unpack fills dst, whose length is what src has to become.
func (u *unpacker) unpack(codec int32, dst, src []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = errUnpack
		}
	}()
	if len(dst) == 0 {
		return nil
	}
	ok := false
	switch codec {
	case codecNone:
		ok = copy(dst, src) == len(dst) && len(src) == len(dst)
	case codecSnappy:
		if n, err := snappy.DecodedLen(src); err != nil || n != len(dst) {
			return errUnpack
		}
		_, err := snappy.Decode(dst, src)
		ok = err == nil
	case codecGzip:
		if r, err := gzip.NewReader(bytes.NewReader(src)); err == nil {
			ok = fills(dst, r)
		}
	case codecBrotli:
		ok = fills(dst, brotli.NewReader(bytes.NewReader(src)))
	case codecZstd:
		if u.zstd == nil {
			// What DecodeAll returns is bounded by dst's capacity.
			u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
			if err != nil {
				return err
			}
		}
		out, err := u.zstd.DecodeAll(src, dst[:0:len(dst)])
		ok = err == nil && len(out) == len(dst)
	case codecLZ4:
		n, err := lz4.UncompressBlock(src, dst)
		ok = err == nil && n == len(dst)
	}
	if !ok {
		return errUnpack
	}
	return nil
}

// fills reads all of r into dst; false: it has another length.
func fills(dst []byte, r io.Reader) bool {
	if _, err := io.ReadFull(r, dst); err != nil {
		return false
	}
	var one [1]byte
	n, err := io.ReadFull(r, one[:]) // a Read may return nothing before the end
	return n == 0 && err == io.EOF
}

// besides is the memory that decompressing n bytes takes for a while: Brotli's largest window, and the copy that
// zstd makes of what it has when a block does not fit.
func besides(codec int32, n int) int {
	switch codec {
	case codecBrotli:
		return 16 << 20
	case codecZstd:
		return n + n/4 + 128<<10
	}
	return 0
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}
