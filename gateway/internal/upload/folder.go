package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/blobs"
)

// A folder is where uploads stand: inside the folder of the blob store, so that what
// has arrived is a blob without being copied.
//
//	<BlobDir>/incoming/<topic>/<job>             the bytes; the blob incoming/<topic>/<job>
//	<BlobDir>/incoming/.uploads/open/<job>.json     its ticket, while bytes are expected
//	<BlobDir>/incoming/.uploads/settled/<job>.json  its ticket, once the job is queued; without
//	                                             bytes: it ended before
//	<BlobDir>/incoming/.uploads/orphaned/<job>.json its ticket, once nothing refers to the bytes
//	<BlobDir>/incoming/.uploads/void/<job>.json     its ticket, if its announcement failed and
//	                                             there may be a job nevertheless
//
// The size of the bytes is the upload's offset; nothing else says it. A ticket is
// written once, and moved; the lock of an upload is a flock on its ticket. Several
// gateways may have the same folder, on a local file system.
type folder struct{ root string }

const (
	ticketSuffix = ".json"
	tornSuffix   = ticketSuffix + ".tmp" // of a ticket that is being written
)

func openFolder(blobDir string) (folder, error) {
	root, err := filepath.Abs(filepath.Join(blobDir, blobs.Incoming))
	if err != nil {
		return folder{}, fmt.Errorf("prepare the folder of uploads: %w", err)
	}
	f := folder{root}
	for _, p := range []place{open, settled, orphaned, void} {
		if err := os.MkdirAll(f.dir(p), 0o700); err != nil {
			return folder{}, fmt.Errorf("prepare the folder of uploads: %w", err)
		}
	}
	return f, nil
}

func (f folder) dir(p place) string { return filepath.Join(f.root, ".uploads", string(p)) }

func (f folder) ticket(p place, job engine.JobID) string {
	return filepath.Join(f.dir(p), string(job)+ticketSuffix)
}

// data is the path of the bytes: where the blob store looks for blobKey. A topic's
// characters are all good for a file's name, but the store escapes what looks like one of
// its own escapes, and a slash behind two dots.
func (f folder) data(up *upload) string { return filepath.Join(f.root, dataPath(up)) }

func (f folder) read(_ context.Context, p place, job engine.JobID) (*upload, error) {
	b, err := os.ReadFile(f.ticket(p, job))
	if err != nil {
		return nil, fmt.Errorf("read the ticket of upload %s: %w", job, err)
	}
	up := &upload{place: p}
	return up, up.decode(b, job)
}

// list gives the jobs whose tickets are at a place.
func (f folder) list(_ context.Context, p place) ([]engine.JobID, error) {
	d, err := os.Open(f.dir(p))
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	jobs := make([]engine.JobID, 0, len(names))
	for _, name := range names {
		text, ok := strings.CutSuffix(name, ticketSuffix)
		if job, err := engine.ParseJobID(text); ok && err == nil {
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

// create writes a ticket, and an empty file for the bytes. Both survive a power loss
// when it returns, since a job is about to count on them.
func (f folder) create(ctx context.Context, up *upload) error {
	if err := f.prepare(up); err != nil {
		return errors.Join(err, f.forget(ctx, up))
	}
	return nil
}

func (f folder) prepare(up *upload) error {
	b, err := json.Marshal(up)
	if err != nil {
		return err
	}
	// First, so that there is no ticket for bytes that can have no place.
	if err := os.MkdirAll(filepath.Dir(f.data(up)), 0o700); err != nil {
		return err
	}
	torn := filepath.Join(f.dir(open), string(up.Job)+tornSuffix)
	if err := durable(torn, b); err != nil {
		return err
	}
	if err := os.Rename(torn, f.ticket(open, up.Job)); err != nil {
		return err
	}
	if err := durable(f.data(up), nil); err != nil {
		return err
	}
	return errors.Join(syncDir(f.dir(open)), syncDir(filepath.Dir(f.data(up))), syncDir(f.root))
}

func durable(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// whole brings the bytes to the disk.
func (f folder) whole(_ context.Context, up *upload) error {
	file, err := os.OpenFile(f.data(up), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// offset is how many bytes have arrived, and when the last of them did. There may be no
// file, with none arrived: there says it.
func (f folder) offset(_ context.Context, up *upload) (n int64, last time.Time, there bool, err error) {
	info, err := os.Stat(f.data(up))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, up.Created, false, nil
	case err != nil:
		return 0, time.Time{}, false, fmt.Errorf("look at upload %s: %w", up.Job, err)
	}
	return info.Size(), info.ModTime(), true, nil
}

// age is since when a ticket is where it is, or was last touched.
func (f folder) age(_ context.Context, p place, job engine.JobID, now time.Time) time.Duration {
	info, err := os.Stat(f.ticket(p, job))
	if err != nil {
		return 0 // another gateway was faster
	}
	return now.Sub(info.ModTime())
}

// touch sets the time that age tells from.
func (f folder) touch(_ context.Context, up *upload, now time.Time) error {
	return gone(os.Chtimes(f.ticket(up.place, up.Job), now, now))
}

// move takes a ticket elsewhere; false when another process did.
func (f folder) move(_ context.Context, up *upload, to place) (bool, error) {
	err := os.Rename(f.ticket(up.place, up.Job), f.ticket(to, up.Job))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// drop removes the bytes.
func (f folder) drop(_ context.Context, up *upload) error { return gone(os.Remove(f.data(up))) }

// forget removes everything of an upload, the ticket last: it names the rest.
func (f folder) forget(ctx context.Context, up *upload) error {
	if err := f.drop(ctx, up); err != nil {
		return err
	}
	return gone(os.Remove(f.ticket(up.place, up.Job)))
}

// tidy removes tickets that their process was killed over, or the disk too full for.
func (f folder) tidy(_ context.Context, before time.Time) error {
	entries, err := os.ReadDir(f.dir(open))
	if err != nil {
		return fmt.Errorf("list uploads: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), tornSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.ModTime().Before(before) {
			errs = append(errs, gone(os.Remove(filepath.Join(f.dir(open), e.Name()))))
		}
	}
	return errors.Join(errs...)
}

// gone takes what is not there for removed.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// A tail end of a file takes bytes.
type fileEnd struct {
	*os.File
	offset, n int64
}

func (f folder) extend(_ context.Context, up *upload, offset int64) (sink, error) {
	file, err := os.OpenFile(f.data(up), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &fileEnd{File: file, offset: offset}, nil
}

func (e *fileEnd) Write(b []byte) (int, error) {
	n, err := e.File.Write(b)
	e.n += int64(n)
	return n, err
}

func (e *fileEnd) undo() error {
	e.n = 0
	return e.Truncate(e.offset)
}

func (e *fileEnd) close() (int64, error) { return e.n, e.Close() }

// refused tells a disk that is full from one that fails.
func (f folder) refused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return errDiskFull
	}
	return fmt.Errorf("store an upload: %w", err)
}
