package datasets

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// Pins are what jobs hold. *runtime.Runtime has them.
type Pins interface {
	// DoomDataset has jobs that name the dataset refused from now on.
	DoomDataset(ctx context.Context, topic wire.Topic, id wire.JobID) error
	// DatasetPinned reports whether a job that names the dataset is live or can be retried.
	DatasetPinned(ctx context.Context, topic wire.Topic, id wire.JobID) (bool, error)
}

// Delete marks a topic's dataset, so that Get does not find it any more and no new job may name it, and then
// deletes it, unless a job pins it: then its bytes stay for that, and a later call deletes them. It reports
// whether the dataset is gone. After an error call it again. Its error wraps ErrNotFound where there is
// nothing to delete.
func Delete(ctx context.Context, bucket *blob.Bucket, pins Pins, topic wire.Topic, id wire.JobID) (gone bool, err error) {
	m, err := read(ctx, bucket, topic, id)
	if err != nil {
		return false, err
	}
	if !m.Deleting {
		m.Deleting = true
		if err := Write(ctx, bucket, m); err != nil {
			return false, fmt.Errorf("mark dataset %s: %w", id, err)
		}
	}
	// A job that was accepted before this has its pin.
	if err := pins.DoomDataset(ctx, topic, id); err != nil {
		return false, err
	}
	if pinned, err := pins.DatasetPinned(ctx, topic, id); pinned || err != nil {
		return false, err
	}
	return true, remove(ctx, bucket, topic, id)
}

// remove deletes the manifest last, so that after a crash the next call goes on.
func remove(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, id wire.JobID) error {
	if err := bucket.Delete(ctx, blobs.Dataset(topic, id, blobs.DatasetBytes)); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete the bytes of dataset %s: %w", id, storefault.Of(err))
	}
	if err := Tidy(ctx, bucket, topic, id); err != nil {
		return err
	}
	if err := bucket.Delete(ctx, manifestKey(topic, id)); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete dataset %s: %w", id, storefault.Of(err))
	}
	return nil
}

// Tidy deletes what writers of a dataset's bytes that were killed have left beside them, as those of a store of
// files do.
func Tidy(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, id wire.JobID) error {
	all := bucket.List(&blob.ListOptions{Prefix: blobs.Dataset(topic, id, "")})
	for {
		found, err := all.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil && (found.Key == manifestKey(topic, id) || found.Key == blobs.Dataset(topic, id, blobs.DatasetBytes)):
			continue
		case err == nil:
			err = bucket.Delete(ctx, found.Key)
		}
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fmt.Errorf("tidy dataset %s: %w", id, storefault.Of(err))
		}
	}
}
