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

// Delete deletes the artifacts of a job, of which there may be none: first the manifests, so that none is
// visible in part. dir is the folder of the bucket, whose empty folders of the job go as well; "" for a
// bucket that is none. Calling it twice, or concurrently, is no error.
func Delete(ctx context.Context, bucket *blob.Bucket, dir string, job wire.JobID) error {
	topic, err := Owner(ctx, bucket, job)
	prefixes := []string{blobs.Artifact(job, "")}
	switch {
	case err == nil:
		prefixes = append(prefixes, blobs.ArtifactsOf(topic, job))
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("delete the artifacts of job %s: %w", job, err)
	}
	for _, prefix := range prefixes {
		err := deleteAll(ctx, bucket, prefix, func(key string) bool { return strings.HasSuffix(key, "/"+published) })
		if err == nil {
			err = deleteAll(ctx, bucket, prefix, func(string) bool { return true })
		}
		if err != nil {
			return fmt.Errorf("delete the artifacts of job %s: %w", job, err)
		}
		if dir != "" {
			removeFolders(filepath.Join(dir, filepath.FromSlash(prefix)))
		}
	}
	// It comes last: without it nothing finds what is left.
	if err := bucket.Delete(ctx, blobs.Owner(job)); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete the artifacts of job %s: %w", job, durable.Bare(err))
	}
	return nil
}

func deleteAll(ctx context.Context, bucket *blob.Bucket, prefix string, which func(key string) bool) error {
	all := bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && which(found.Key) {
			err = bucket.Delete(ctx, found.Key)
		}
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return durable.Bare(err)
		}
	}
}

// removeFolders removes a folder and those in it, as far as no file is in them.
func removeFolders(root string) {
	var folders []string
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
