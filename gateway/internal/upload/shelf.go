package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/multipart"
)

// A shelf is where uploads stand: a folder, or a bucket of S3. What is not there has an error that wraps
// fs.ErrNotExist.
type shelf interface {
	// create writes a ticket, in open, that survives a crash. What an error leaves is the sweep's.
	create(ctx context.Context, up *upload) error
	read(ctx context.Context, p place, job engine.JobID) (*upload, error)
	// list gives the jobs whose tickets are at a place.
	list(ctx context.Context, p place) ([]engine.JobID, error)
	// offset is how many bytes of an upload that was just read have arrived, and when the last of them
	// did. There may be none: there says it.
	offset(ctx context.Context, up *upload) (n int64, last time.Time, there bool, err error)
	// extend begins to add bytes, under the upload's lock.
	extend(ctx context.Context, up *upload, offset int64) (sink, error)
	// whole has an upload's bytes, which have all arrived, be safe and the blob. It works under the lock.
	whole(ctx context.Context, up *upload) error
	// age is since when a ticket is where it is, or was last touched; 0 if it is not there.
	age(ctx context.Context, p place, job engine.JobID, now time.Time) time.Duration
	touch(ctx context.Context, up *upload, now time.Time) error
	// move takes a ticket elsewhere; false when another process did.
	move(ctx context.Context, up *upload, to place) (bool, error)
	// drop removes the bytes, and forget the ticket too.
	drop(ctx context.Context, up *upload) error
	forget(ctx context.Context, up *upload) error
	// tidy removes what processes that were killed before a time have left.
	tidy(ctx context.Context, before time.Time) error
	// claim keeps other processes away from an upload. Its errors are tusd's: ErrNotFound, ErrLockTimeout,
	// ErrServerShutdown. A reader changes nothing.
	claim(ctx context.Context, job engine.JobID, reader bool, stopping <-chan struct{}) (claim, error)
	// refused says what an error of the above means to a client.
	refused(err error) error
}

// A sink takes an upload's next bytes.
type sink interface {
	io.Writer
	// undo drops what was written.
	undo() error
	// close makes safe what was written, and says how many bytes that are.
	close() (int64, error)
}

// A claim keeps other processes away until it is released.
type claim interface {
	// watch calls wanted once another process waits for the upload. It returns then, or with ctx.
	watch(ctx context.Context, wanted func())
	release() error
}

// A place is where a ticket is.
type place string

const (
	open     place = "open"
	settled  place = "settled"
	orphaned place = "orphaned"
	void     place = "void"
)

// An upload is what its ticket says.
type upload struct {
	Job     engine.JobID `json:"job"`
	Topic   engine.Topic `json:"topic"`
	Owner   string       `json:"owner"` // a principal's subject
	Size    int64        `json:"size"`  // bytes
	Share   int          `json:"share"` // of the bar, percent
	Created time.Time    `json:"created"`
	// Metadata is as the client sent it, which HEAD is to repeat.
	Metadata map[string]string `json:"metadata"`

	// Touched is when a ticket in a bucket came where it is, or was last touched.
	Touched time.Time `json:"touched,omitzero"`

	place place
	state *multipart.State // of an open one in a bucket
}

// decode reads the ticket of a job.
func (up *upload) decode(text []byte, job engine.JobID) error {
	if err := json.Unmarshal(text, up); err != nil {
		return fmt.Errorf("read the ticket of upload %s: %w", job, err)
	}
	if _, err := engine.ParseTopic(string(up.Topic)); err != nil || up.Job != job {
		return fmt.Errorf("the ticket of upload %s is of another: %s of %q", job, up.Job, up.Topic)
	}
	return nil
}

// maxNameBytes is the longest name that file systems take.
const maxNameBytes = 255

// storable checks that the names in the path of the bytes are not too long to be of files.
func (up *upload) storable() error {
	for name := range strings.SplitSeq(filepath.ToSlash(dataPath(up)), "/") {
		if len(name) > maxNameBytes {
			return fmt.Errorf("topic %.40q: as a file's name it has %d bytes, at most %d; upload to a topic without \"__0x\" in its name", up.Topic, len(name), maxNameBytes)
		}
	}
	return nil
}

func dataPath(up *upload) string {
	topic := string(up.Topic)
	var b strings.Builder
	for i := range topic {
		if likeEscape(topic[i:]) {
			b.WriteString("__0x5f__")
		} else {
			b.WriteByte(topic[i])
		}
	}
	if strings.HasSuffix(topic, "..") {
		return b.String() + "__0x2f__" + string(up.Job)
	}
	return filepath.Join(b.String(), string(up.Job))
}

// likeEscape reports whether s begins with what fileblob takes for an escape.
func likeEscape(s string) bool {
	rest, marked := strings.CutPrefix(s, "__0x")
	digits, _, closed := strings.Cut(rest, "__")
	_, err := strconv.ParseInt(digits, 16, 32)
	return marked && closed && err == nil
}

// blobKey is the bytes' key in the blob store.
func blobKey(up *upload) string { return blobs.Upload(up.Topic, up.Job) }

// find reads a ticket that clients may know of. Its error wraps engine.ErrNotFound.
func (u *Server) find(ctx context.Context, job engine.JobID) (*upload, error) {
	for _, p := range []place{open, settled} {
		up, err := u.shelf.read(ctx, p, job)
		if !errors.Is(err, fs.ErrNotExist) {
			return up, err
		}
	}
	return nil, fmt.Errorf("upload %s: %w", job, engine.ErrNotFound)
}
