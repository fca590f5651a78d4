package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/durable"
)

// Pinned reports whether others go on with the parts of a job's artifacts.
type Pinned func(ctx context.Context, job wire.JobID) (bool, error)

// Delete deletes the artifacts of a removed job, of which there may be none: first the manifests, so that
// none is visible in part. The parts stay while pinned says so; the removal of the last job that goes on with
// them is the time to call Delete again. dir is the folder of the bucket, whose empty folders of the job go
// as well; "" for a bucket that is none. Calling it twice, or concurrently, is no error.
func Delete(ctx context.Context, bucket *blob.Bucket, dir string, job wire.JobID, pinned Pinned) error {
	if err := remove(ctx, bucket, dir, job, pinned); err != nil {
		return fmt.Errorf("delete the artifacts of job %s: %w", job, err)
	}
	return nil
}

func remove(ctx context.Context, bucket *blob.Bucket, dir string, job wire.JobID, pinned Pinned) error {
	// What a job of an earlier version has written.
	if err := deleteAll(ctx, bucket, dir, blobs.Artifact(job, ""), nil); err != nil {
		return err
	}
	topic, err := Owner(ctx, bucket, job)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	own := blobs.ArtifactsOf(topic, job)
	if err := deleteAll(ctx, bucket, "", own, func(key string) bool { return strings.HasSuffix(key, "/"+published) }); err != nil {
		return err
	}
	if held, err := pinned(ctx, job); err != nil || held {
		return err
	}
	if err := deleteAll(ctx, bucket, dir, own, nil); err != nil {
		return err
	}
	// It comes last: without it nothing finds what is left.
	if err := bucket.Delete(ctx, blobs.Owner(job)); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return durable.Bare(err)
	}
	return nil
}

// deleteAll deletes the blobs of a prefix that which picks, or all, and the folders of a store of files
// that are empty then.
func deleteAll(ctx context.Context, bucket *blob.Bucket, dir, prefix string, which func(key string) bool) error {
	for all := bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && (which == nil || which(found.Key)) {
			err = bucket.Delete(ctx, found.Key)
		}
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return durable.Bare(err)
		}
	}
	if dir != "" {
		removeFolders(filepath.Join(dir, filepath.FromSlash(prefix)))
	}
	return nil
}

// removeFolders removes a folder and those in it, as far as no file is in them.
func removeFolders(root string) {
	var folders []string
	// The function returns no error, so WalkDir returns none: what cannot be read stays.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	for _, folder := range slices.Backward(folders) {
		_ = os.Remove(folder) // it fails where there is none, and where a file has come into it
	}
}
