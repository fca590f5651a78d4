package datasets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// unusedFor is how long bytes without a manifest are left, since a job may be writing them.
const unusedFor = 24 * time.Hour

// A Retention says which datasets are kept. All but MaxAge and QuotaBytes are required.
type Retention struct {
	// MaxAge is the age at which datasets go; 0: none goes for its age.
	MaxAge time.Duration
	// QuotaBytes is what the datasets of a topic may take together; 0: any. The oldest go first.
	QuotaBytes int64
	Pins       Pins
	// InUse reports whether a job is live or can be retried. Where it made no manifest so far, it may.
	InUse func(ctx context.Context, job wire.JobID) (bool, error)
	// Scheduled returns the datasets that a topic's schedules name.
	Scheduled func(ctx context.Context, topic wire.Topic) (map[wire.JobID]bool, error)
	// Installation identifies the Redis that has the pins.
	Installation func(ctx context.Context) (string, error)
	// Settle is how long nothing goes once the Redis is another one.
	Settle time.Duration
}

// Removed counts what Retain has deleted.
type Removed struct {
	// Deleted are those whose deletion somebody had asked for.
	Deleted, Expired, OverQuota int
	// Unused are bytes of jobs that never made a dataset of them.
	Unused int
	// Bytes are those of the datasets.
	Bytes int64
	// Damaged are datasets whose manifest cannot be read. They stay, for an admin to look at. Fault names one.
	Damaged int
	Fault   string
}

// Retain deletes the datasets that Delete has marked and that no job pins any more, and those beyond age or
// quota that no job and no schedule names. now is Redis's time. It goes through all datasets, one at a time,
// and may be called again after an error, and concurrently.
func (r Retention) Retain(ctx context.Context, bucket *blob.Bucket, now time.Time) (done Removed, err error) {
	if settled, err := r.settled(ctx, bucket, now); !settled || err != nil {
		return done, err
	}
	err = folders(ctx, bucket, blobs.Datasets+"/", func(key string) error {
		topic, err := wire.ParseTopic(path.Base(key))
		if err != nil {
			return nil //nolint:nilerr // it is no topic's
		}
		return r.topic(ctx, bucket, topic, now, &done)
	})
	return done, err
}

// folders calls do with the key of each folder below prefix.
func folders(ctx context.Context, bucket *blob.Bucket, prefix string, do func(key string) error) error {
	for all := bucket.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"}); ; {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list datasets: %w", storefault.Of(err))
		}
		if found.IsDir {
			if err := do(strings.TrimSuffix(found.Key, "/")); err != nil {
				return err
			}
		}
	}
}

// A sized dataset is what topic remembers of each that there is.
type sized struct {
	id      wire.JobID
	bytes   int64
	created time.Time
}

func (r Retention) topic(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, now time.Time, done *Removed) error {
	var kept []sized
	var total int64
	err := folders(ctx, bucket, blobs.DatasetsOf(topic), func(key string) error {
		id := wire.JobID(path.Base(key))
		m, err := read(ctx, bucket, topic, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return r.unused(ctx, bucket, topic, id, now, done)
		case errors.Is(err, ErrDamaged):
			done.Damaged++
			done.Fault = err.Error()
			return nil
		case err != nil:
			return err
		case m.Deleting:
			return r.drop(ctx, bucket, topic, sized{m.ID, m.Size, m.CreatedAt}, &done.Deleted, done)
		}
		kept, total = append(kept, sized{m.ID, m.Size, m.CreatedAt}), total+m.Size
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(kept, func(a, b sized) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id)) })
	var scheduled map[wire.JobID]bool
	for _, d := range kept {
		expired, over := r.MaxAge > 0 && now.Sub(d.created) > r.MaxAge, r.QuotaBytes > 0 && total > r.QuotaBytes
		if !expired && !over {
			continue
		}
		if scheduled == nil {
			if scheduled, err = r.Scheduled(ctx, topic); err != nil {
				return err
			}
		}
		// One that is in use is not marked: its users would miss it. The job that makes it would write its
		// manifest anew.
		used, err := r.Pins.DatasetPinned(ctx, topic, d.id)
		if err == nil && !used {
			used, err = r.InUse(ctx, d.id)
		}
		if err != nil {
			return err
		}
		if used || scheduled[d.id] {
			continue
		}
		count := &done.Expired
		if !expired {
			count = &done.OverQuota
		}
		if err := r.drop(ctx, bucket, topic, d, count, done); err != nil {
			return err
		}
		total -= d.bytes
	}
	return nil
}

// drop deletes a dataset, and counts it where no job pins it.
func (r Retention) drop(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, d sized, count *int, done *Removed) error {
	gone, err := Delete(ctx, bucket, r.Pins, topic, d.id)
	if errors.Is(err, ErrNotFound) { // another one was faster
		return nil
	}
	if gone && err == nil {
		*count++
		done.Bytes += d.bytes
	}
	return err
}

// unused deletes bytes that have no manifest, once their job makes none any more.
func (r Retention) unused(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, id wire.JobID, now time.Time, done *Removed) error {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return nil //nolint:nilerr // it is no dataset's
	}
	for all := bucket.List(&blob.ListOptions{Prefix: blobs.Dataset(topic, id, "")}); ; {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("list dataset %s: %w", id, storefault.Of(err))
		}
		if now.Sub(found.ModTime) < unusedFor {
			return nil
		}
	}
	if used, err := r.InUse(ctx, id); used || err != nil {
		return err
	}
	done.Unused++
	return remove(ctx, bucket, topic, id)
}
