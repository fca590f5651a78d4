package artifacts

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/durable"
)

const (
	// unusedFor is how long files that belong to no artifact are left, since somebody may write them.
	unusedFor = 24 * time.Hour
	// rememberedFor is how long a manifest still says that its artifact is gone.
	rememberedFor = 30 * 24 * time.Hour
)

// A Retention says which artifacts are kept.
type Retention struct {
	// QuotaBytes is what the artifacts of a topic may take together; 0: any. The oldest go first.
	QuotaBytes int64
	// InUse reports whether a job, or a retry of it, may still go on with what it has written: it stays as
	// it is, whatever its age.
	InUse func(ctx context.Context, job wire.JobID) (bool, error)
	// Gone is called for an artifact that nobody can read any more, before its bytes are deleted.
	Gone func(ctx context.Context, topic wire.Topic, a wire.Artifact, why string) error
}

// Removed counts what Retain has deleted.
type Removed struct {
	Expired, OverQuota int
	// Unused are jobs whose files belonged to no artifact any more.
	Unused int
	// Bytes are those of the artifacts.
	Bytes int64
}

// A held artifact is one that there is.
type held struct {
	m   *Manifest
	age time.Time
}

// Retain deletes the artifacts whose time is over, those that are beyond their topic's quota, and what
// belongs to none. now is Redis's time. It goes through all jobs that have artifacts, one at a time, and may
// be called again after an error, and concurrently.
func (r Retention) Retain(ctx context.Context, bucket *blob.Bucket, dir string, now time.Time) (Removed, error) {
	var done Removed
	topics := map[wire.Topic][]held{}
	for all := bucket.List(&blob.ListOptions{Prefix: blobs.Owners + "/"}); ; {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return done, durable.Bare(err)
		}
		job, err := wire.ParseJobID(strings.TrimPrefix(found.Key, blobs.Owners+"/"))
		if err != nil {
			continue // a file that is being written
		}
		if err := r.job(ctx, bucket, dir, job, now, topics, &done); err != nil {
			return done, err
		}
	}
	if r.QuotaBytes <= 0 {
		return done, nil
	}
	for _, all := range topics {
		slices.SortFunc(all, func(a, b held) int { return cmp.Or(b.age.Compare(a.age), cmp.Compare(a.m.ID, b.m.ID)) })
		room := r.QuotaBytes
		for _, h := range all {
			if room -= h.m.Size; room >= 0 {
				continue
			}
			if err := r.drop(ctx, bucket, h.m, OverQuota, now); err != nil {
				return done, err
			}
			done.OverQuota++
			done.Bytes += h.m.Size
		}
	}
	return done, nil
}

// job looks at the artifacts of a job. It adds those that stay to their topic's.
func (r Retention) job(ctx context.Context, bucket *blob.Bucket, dir string, job wire.JobID, now time.Time, topics map[wire.Topic][]held, done *Removed) error {
	topic, err := Owner(ctx, bucket, job)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if used, err := r.InUse(ctx, job); err != nil || used {
		return err
	}
	own := blobs.ArtifactsOf(topic, job)
	var names []string
	newest := time.Time{}
	for all := bucket.List(&blob.ListOptions{Prefix: own}); ; {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return durable.Bare(err)
		}
		if found.ModTime.After(newest) {
			newest = found.ModTime
		}
		if name, isManifest := strings.CutSuffix(strings.TrimPrefix(found.Key, own), "/"+published); isManifest {
			names = append(names, name)
		}
	}
	remembered := 0
	for _, name := range names {
		m, err := Published(ctx, bucket, Place{topic, job, name})
		if err != nil {
			return err
		}
		switch {
		case m.Gone == "" && m.GoneAt(now) == "":
			topics[topic] = append(topics[topic], held{m, m.ClosedAt})
			remembered++
		case m.Gone == "":
			if err := r.drop(ctx, bucket, m, Expired, now); err != nil {
				return err
			}
			done.Expired++
			done.Bytes += m.Size
			remembered++
		case m.GoneSince != nil && now.Sub(*m.GoneSince) < rememberedFor:
			remembered++
		}
	}
	if remembered > 0 || now.Sub(newest) < unusedFor {
		return nil
	}
	done.Unused++
	return Delete(ctx, bucket, dir, job, func(context.Context, wire.JobID) (bool, error) { return false, nil })
}

// drop leaves of an artifact that it is gone, and why.
func (r Retention) drop(ctx context.Context, bucket *blob.Bucket, m *Manifest, why string, now time.Time) error {
	if err := r.Gone(ctx, m.Topic, m.Artifact, why); err != nil {
		return err
	}
	at := Place{m.Topic, m.Job, m.Name}
	now = now.UTC()
	gone := *m
	gone.Gone, gone.GoneSince, gone.Spans = why, &now, nil
	text, err := json.Marshal(gone)
	if err != nil {
		return err
	}
	if err := durable.Put(ctx, bucket, at.key(published), jsonType, text); err != nil {
		return durable.Bare(err)
	}
	return deleteAll(ctx, bucket, "", at.key(""), func(key string) bool { return !strings.HasSuffix(key, "/"+published) })
}
