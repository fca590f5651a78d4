// Package artifacts deletes what removed jobs have written.
package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
)

// Delete deletes the artifacts of a job, of which there may be none. dir is the folder of the bucket,
// whose empty folder of the job goes as well; "" for a bucket that is none. Calling it twice, or
// concurrently, is no error.
func Delete(ctx context.Context, bucket *blob.Bucket, dir string, job wire.JobID) error {
	all := bucket.List(&blob.ListOptions{Prefix: blobs.Artifact(job, "")})
	for {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = bucket.Delete(ctx, found.Key)
		}
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fmt.Errorf("delete the artifacts of job %s: %w", job, err)
		}
	}
	if dir != "" {
		// It fails where there is none, and where another file has come into it.
		_ = os.Remove(filepath.Join(dir, blobs.Artifacts, string(job)))
	}
	return nil
}
