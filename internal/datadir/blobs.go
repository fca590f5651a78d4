package datadir

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/tidemark-dev/tidemark/internal/blobs"
)

// strandedAfter is the age at which a half-written file counts as left behind by
// a process that was killed: a writer at work touches its file all the time. One
// that was suspended for as long fails, and its blob does not appear.
const strandedAfter = time.Hour

// sweptFolders is the most folders of jobs that one opening looks into, which takes
// milliseconds however many there are.
const sweptFolders = 256

// BlobDir is the local folder in which the blob store of the data folder dir keeps its
// blobs, each under its key.
func BlobDir(dir string) string {
	if dir == "" {
		dir = DefaultDir
	}
	return filepath.Join(dir, "blobs")
}

// Blobs opens the blob store of the data folder dir, under dir/blobs; both are
// made when missing. Several processes may have it open. A blob appears whole or
// not at all. Content types and metadata are not kept: they belong into the
// records that name the blob. Errors to branch on: [ErrNotFolder],
// [ErrNotWritable], [ErrFull]. The caller closes the bucket.
func Blobs(ctx context.Context, dir string) (*blob.Bucket, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening the blob store: %w", context.Cause(ctx))
	}
	root := BlobDir(dir)
	if err := makeDir("opening the blob store", root); err != nil {
		return nil, err
	}
	sweep(filepath.Join(root, uploads))
	sweepJobs(filepath.Join(root, blobs.Artifacts), rand.Float64())
	bucket, err := fileblob.OpenBucket(root, &fileblob.Options{
		DirFileMode: 0o700,
		// The system's temporary folder may be on another file system, from
		// where a finished blob cannot be renamed into place.
		NoTempDir: true,
		// The metadata's file is written beside the blob and not atomically:
		// who reads a blob while another process takes the same file would
		// find half of it.
		Metadata: fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, folderError("opening the blob store", root, err)
	}
	return bucket, nil
}

// sweep removes stranded temporary files. It is housekeeping: what cannot be
// removed now is left to the next time.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > strandedAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// sweepJobs sweeps up to sweptFolders of dir's folders, from the one on that stands at
// the given share (0 to below 1) of them. A random share gives each its turn.
func sweepJobs(dir string, share float64) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(-1) // what it has read before an error will do
	_ = d.Close()
	from := int(share * float64(len(names)))
	for i := range min(len(names), sweptFolders) {
		sweep(filepath.Join(dir, names[(from+i)%len(names)]))
	}
}
