package datadir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/internal/durable"
)

// uploads is the folder of taken files in the blob store.
const uploads = "uploads"

// Errors of [Take] to branch on, beside fs.ErrNotExist, fs.ErrPermission and
// [ErrFull].
var (
	// ErrNotFile: the path is a folder, a pipe or a device.
	ErrNotFile = errors.New("not a regular file")
	// ErrEmpty: the file has no bytes.
	ErrEmpty = errors.New("the file is empty")
	// ErrChanged: the file was written to while it was taken.
	ErrChanged = errors.New("the file changed while it was read")
)

// Blob names a file in the blob store.
type Blob struct {
	Key    string // "uploads/<SHA256>"
	Name   string // the file's own name, without folders
	Size   int64  // in bytes
	SHA256 string // of the content, in lower-case hex
}

const copyBufferBytes = 1 << 20

// Take copies the local file at path into the blob store, named by its content:
// the same content is stored once, and taking it again copies nothing. The file
// is read twice, first for its hash, in constant memory.
//
// progress, when not nil, is called in this goroutine, about once per MiB read,
// with the bytes done, which never fall, and the file's size; a Take that
// succeeds ends with done equal to total. When ctx ends, Take stops within one MiB and no blob is
// left. When it returns, the blob is on the disk, not only in the page cache, if
// the store is a local folder.
func Take(ctx context.Context, bucket *blob.Bucket, path string, progress func(done, total int64)) (Blob, error) {
	b, err := take(ctx, bucket, path, progress)
	switch {
	case err == nil:
		return b, nil
	case Full(err):
		return Blob{}, fmt.Errorf("taking %s into the blob store: %w: free some, or name a data folder on another disk with --data: %w",
			path, ErrFull, err)
	}
	return Blob{}, fmt.Errorf("taking %s into the blob store: %w", path, err)
}

func take(ctx context.Context, bucket *blob.Bucket, path string, progress func(done, total int64)) (Blob, error) {
	f, size, err := OpenRegular(path)
	if err != nil {
		return Blob{}, err
	}
	defer f.Close()
	if progress == nil {
		progress = func(int64, int64) {}
	}

	// The two readings count half each.
	sum, err := hashInto(ctx, io.Discard, f, func(n int64) { progress(min(n/2, size), size) })
	if err != nil {
		return Blob{}, err
	}
	b := Blob{Key: uploads + "/" + sum.hex, Name: filepath.Base(path), Size: sum.size, SHA256: sum.hex}
	if sum.size != size {
		return Blob{}, fmt.Errorf("%w (%d bytes, then %d)", ErrChanged, size, sum.size)
	}
	held, err := holds(ctx, bucket, b)
	if err != nil {
		return Blob{}, err
	}
	if !held {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return Blob{}, err
		}
		if err := store(ctx, bucket, b, f, func(n int64) { progress(min((size+n)/2, size), size) }); err != nil {
			return Blob{}, err
		}
	}
	progress(size, size)
	return b, nil
}

// OpenRegular opens a file that has bytes, and says how many. Errors to branch on:
// fs.ErrNotExist, fs.ErrPermission, ErrNotFile, ErrEmpty. It looks before it opens:
// opening a pipe would wait for a writer.
func OpenRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w but a %s; name a file", ErrNotFile, kindOf(info.Mode()))
	}
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if info.Size() == 0 {
		return nil, 0, errors.Join(ErrEmpty, f.Close())
	}
	return f, info.Size(), nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// holds reports whether the store has the blob. A blob of the right name and the
// wrong size was damaged from outside, and is written anew.
func holds(ctx context.Context, bucket *blob.Bucket, b Blob) (bool, error) {
	attrs, err := bucket.Attributes(ctx, b.Key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return attrs.Size == b.Size, nil
}

// store writes the blob, which appears under its key only when all of it has
// been written and its hash is the one in its name.
func store(ctx context.Context, bucket *blob.Bucket, b Blob, r io.Reader, progress func(int64)) error {
	return durable.Write(ctx, bucket, b.Key, "application/octet-stream", b.Size, func(w io.Writer) error {
		sum, err := hashInto(ctx, w, r, progress)
		if err == nil && (sum.hex != b.SHA256 || sum.size != b.Size) {
			err = ErrChanged
		}
		return err
	})
}

// Sum gives the SHA-256 of a file of a known size, as [Blob] has it, without a copy of it.
// progress is called as that of [Take]. Its error is ErrChanged for a file of another size,
// and the cause of ctx within one MiB after its end.
func Sum(ctx context.Context, r io.Reader, size int64, progress func(done, total int64)) (string, error) {
	sum, err := hashInto(ctx, io.Discard, r, func(n int64) { progress(min(n, size), size) })
	if err == nil && sum.size != size {
		err = fmt.Errorf("%w (%d bytes, then %d)", ErrChanged, size, sum.size)
	}
	return sum.hex, err
}

type digest struct {
	hex  string
	size int64
}

// hashInto copies r to w, and reports the bytes copied after each buffer.
func hashInto(ctx context.Context, w io.Writer, r io.Reader, progress func(int64)) (digest, error) {
	hash := sha256.New()
	buf := make([]byte, copyBufferBytes)
	var size int64
	for {
		if ctx.Err() != nil {
			return digest{}, context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if n > 0 {
			hash.Write(buf[:n])
			if _, err := w.Write(buf[:n]); err != nil {
				return digest{}, err
			}
			size += int64(n)
			progress(size)
		}
		if errors.Is(err, io.EOF) {
			return digest{hex: hex.EncodeToString(hash.Sum(nil)), size: size}, nil
		}
		if err != nil {
			return digest{}, err
		}
	}
}
