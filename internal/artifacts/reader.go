package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/durable"
)

// A Reader reads an artifact, one part after the other. It is an io.ReadSeekCloser, for one goroutine.
type Reader struct {
	size  int64
	parts []part
	open  func(key string, from int64) (io.ReadCloser, error)

	at   int64
	part io.ReadCloser // what it reads of; nil before the first Read and after a Seek
	left int64         // in part
}

// NewReader makes a Reader of a manifest's artifact. ctx is for its whole life.
func NewReader(ctx context.Context, bucket *blob.Bucket, m *Manifest) *Reader {
	return &Reader{size: m.Size, parts: m.parts(), open: func(key string, from int64) (io.ReadCloser, error) {
		r, err := bucket.NewRangeReader(ctx, key, from, -1, nil)
		if err != nil {
			return nil, err // and no *blob.Reader that is nil
		}
		return r, nil
	}}
}

// Read implements io.Reader. An artifact of which the store lacks a byte gives an error, never a short
// file.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		if r.at >= r.size || len(p) == 0 {
			if len(p) == 0 {
				return 0, nil
			}
			return 0, io.EOF
		}
		if r.part == nil {
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.part.Read(p[:min(int64(len(p)), r.left)])
		r.at += int64(n)
		r.left -= int64(n)
		switch {
		case r.left == 0:
			err = r.Close()
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
		if n > 0 || err != nil {
			return n, durable.Bare(err)
		}
	}
}

// next opens the part that has the next byte.
func (r *Reader) next() error {
	i := sort.Search(len(r.parts), func(i int) bool { return r.parts[i].from > r.at }) - 1
	if i < 0 || r.at >= r.parts[i].from+r.parts[i].bytes {
		return fmt.Errorf("the artifact's manifest has no part for byte %d of %d", r.at, r.size)
	}
	p := r.parts[i]
	part, err := r.open(p.key, r.at-p.from)
	if err != nil {
		return durable.Bare(err)
	}
	r.part, r.left = part, p.from+p.bytes-r.at
	return nil
}

// Seek implements io.Seeker. It opens nothing.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	if offset == r.at {
		return offset, nil
	}
	r.at = offset
	return offset, r.Close()
}

// Close lets the part go that the Reader is in. The Reader can still be used.
func (r *Reader) Close() error {
	part := r.part
	r.part = nil
	if part == nil {
		return nil
	}
	return durable.Bare(part.Close())
}
