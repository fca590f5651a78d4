package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidemark-dev/tidemark/internal/datadir"
)

// A content is a file that a job has written, wherever it is.
type content struct {
	// id is the artifact's; doing is what fetching it is called.
	id, doing string
	// size in bytes, and sha256 in lower-case hex.
	size   int64
	sha256 string
	// open gives its bytes from one on.
	open func(ctx context.Context, from int64) (io.ReadCloser, error)
}

// An output is a file that a command writes for the user. Its bytes gather in path + ".part", which only one
// process has open, and get their name when their SHA-256 is the content's. An empty file beside it, the mark, tells
// it from a file of the user's that has such a name.
type output struct {
	path  string
	force bool
	part  *os.File
}

const (
	partSuffix = ".part"
	markSuffix = partSuffix + ".tidemark"
)

// openOutput makes sure that a file can be written. What an earlier run has left of it stays for fill. The
// caller closes it.
func openOutput(path string, force bool) (*output, error) {
	o := &output{path: path, force: force}
	if err := o.free(); err != nil {
		return nil, err
	}
	for {
		part, err := os.OpenFile(path+partSuffix, os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w; name another file with --output", path, err)
		}
		if !datadir.TryLock(part) {
			return nil, errors.Join(fmt.Errorf("%s%s: another command is writing it; wait for it, or name another file with --output", path, partSuffix), part.Close())
		}
		opened, err := part.Stat()
		if err != nil {
			return nil, errors.Join(err, part.Close())
		}
		named, err := os.Lstat(path + partSuffix)
		switch {
		case err == nil && !named.Mode().IsRegular():
			return nil, errors.Join(fmt.Errorf("%s%s is no file; remove it, or name another file with --output", path, partSuffix), part.Close())
		case err == nil && os.SameFile(opened, named):
			if err := o.mark(opened.Size() == 0); err != nil {
				return nil, errors.Join(err, part.Close())
			}
			o.part = part
			return o, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, errors.Join(err, part.Close())
		}
		// Another process has just given it its name.
		if err := errors.Join(part.Close(), o.free()); err != nil {
			return nil, err
		}
	}
}

// free refuses a path at which something is that may not be replaced.
func (o *output) free() error {
	info, err := os.Lstat(o.path)
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		if target, err := os.Stat(o.path); err == nil {
			info = target
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w; name another file with --output", o.path, err)
	case info.IsDir():
		return fmt.Errorf("%s is a folder; name a file with --output", o.path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file; name another one with --output", o.path)
	case !o.force:
		return fmt.Errorf("%s exists; --force replaces it, or name another file with --output", o.path)
	}
	return nil
}

// mark marks a part that is new, and refuses one that has no mark: it is the user's.
func (o *output) mark(isNew bool) error {
	if !isNew {
		_, err := os.Lstat(o.path + markSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s%s is a file that no earlier run has left; move it, or name another file with --output", o.path, partSuffix)
		}
		return err
	}
	mark, err := os.OpenFile(o.path+markSuffix, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("write %s: %w; name another file with --output", o.path, err)
	}
	return mark.Close()
}

// unmark removes the mark of a part that is no more.
func (o *output) unmark() error {
	if err := os.Remove(o.path + markSuffix); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close gives the file up, unless it has its name. A part without bytes goes.
func (o *output) close() error {
	if o.part == nil {
		return nil
	}
	var err error
	if info, failed := o.part.Stat(); failed == nil && info.Size() == 0 {
		err = errors.Join(os.Remove(o.part.Name()), o.unmark())
	}
	err = errors.Join(err, o.part.Close())
	o.part = nil
	return err
}

// kept is how many bytes of the file are there.
func (o *output) kept() int64 {
	if o.part == nil {
		return 0
	}
	info, err := o.part.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// errOtherBytes: what arrived is not what the artifact's SHA-256 is of.
var errOtherBytes = errors.New("the bytes that arrived are not the artifact's: their SHA-256 is another one")

// fill writes a content into the file, and gives that its name. Bytes that an earlier run has left are gone on
// with; if the whole then has another SHA-256 than the content, fill begins anew, and calls anew. progress is
// called with the bytes that are there.
func (o *output) fill(ctx context.Context, c content, progress func(done, total int64), anew func()) error {
	sum := sha256.New()
	kept, err := o.sumKept(ctx, c, sum)
	if err != nil {
		return err
	}
	for {
		if err := o.copy(ctx, c, kept, sum, progress); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) == c.sha256 {
			return o.name()
		}
		if err := o.part.Truncate(0); err != nil {
			return o.failed(err)
		}
		if kept == 0 {
			return fmt.Errorf("artifact %s: %w", c.id, errOtherBytes)
		}
		kept = 0
		sum.Reset()
		anew()
	}
}

// sumKept sums up what an earlier run has left, and drops it if it is more than the content has.
func (o *output) sumKept(ctx context.Context, c content, sum hash.Hash) (int64, error) {
	kept := o.kept()
	if kept > c.size {
		return 0, o.failed(o.part.Truncate(0))
	}
	err := pump(ctx, io.NewSectionReader(o.part, 0, kept), func(b []byte) error {
		sum.Write(b)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		err = o.failed(err)
	}
	return kept, err
}

// copy writes the content from a byte on behind what is there.
func (o *output) copy(ctx context.Context, c content, from int64, sum hash.Hash, progress func(done, total int64)) (err error) {
	progress(from, c.size)
	if from == c.size {
		return nil
	}
	r, err := c.open(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	at := from
	err = pump(ctx, r, func(b []byte) error {
		if _, err := o.part.WriteAt(b, at); err != nil {
			return o.failed(err)
		}
		sum.Write(b)
		at += int64(len(b))
		progress(at, c.size)
		return nil
	})
	if err == nil && at != c.size {
		err = fmt.Errorf("artifact %s: %w", c.id, io.ErrUnexpectedEOF)
	}
	return err
}

// pump hands on what a reader gives, until that or ctx ends.
func pump(ctx context.Context, r io.Reader, take func([]byte) error) error {
	for buffer := make([]byte, 256<<10); ctx.Err() == nil; {
		n, err := r.Read(buffer)
		if n > 0 {
			if err := take(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// name gives the file its name, once its bytes are on the disk.
func (o *output) name() error {
	if err := o.part.Sync(); err != nil {
		return o.failed(err)
	}
	if err := o.free(); err != nil {
		return err
	}
	if err := os.Rename(o.part.Name(), o.path); err != nil {
		return o.failed(err)
	}
	err := errors.Join(o.unmark(), o.part.Close())
	o.part = nil
	if folder, failed := os.Open(filepath.Dir(o.path)); failed == nil {
		_ = folder.Sync()  // some systems cannot; the name is there
		_ = folder.Close() // it was read
	}
	return err
}

// failed says what became of the file when the disk refused something.
func (o *output) failed(err error) error {
	if err == nil || o.part == nil {
		return err
	}
	if datadir.Full(err) {
		return fmt.Errorf("write %s: %w: free some, and run the same command again: what is there is gone on with: %w", o.part.Name(), datadir.ErrFull, err)
	}
	return fmt.Errorf("write %s: %w", o.part.Name(), err)
}
