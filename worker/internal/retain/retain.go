// Package retain deletes artifacts and datasets that are no longer kept. Workers share the work: at each interval the
// first one that asks Redis does it.
package retain

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/datasets"
)

// Options say what is kept. All fields but the ages and quotas are required.
type Options struct {
	Engine *engine.Engine
	Blobs  *blob.Bucket
	// QuotaBytes is what the artifacts of a topic may take; 0: any.
	QuotaBytes int64
	// DatasetAge and DatasetQuotaBytes are as in worker.Options.
	DatasetAge        time.Duration
	DatasetQuotaBytes int64
	// Interval is the time between two rounds of all workers.
	Interval time.Duration
	Logger   *slog.Logger
}

// Run makes rounds until ctx ends.
func Run(ctx context.Context, o Options) {
	t := time.NewTicker(o.Interval)
	defer t.Stop()
	for {
		round(ctx, o)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// round deletes what is to go, unless another worker has in this interval.
func round(ctx context.Context, o Options) {
	rt := runtime.Of(o.Engine)
	mine, err := rt.ClaimRetention(ctx, o.Interval)
	if err != nil || !mine {
		return // the next interval comes
	}
	retainArtifacts(ctx, o, rt)
	retainDatasets(ctx, o, rt)
}

func retainArtifacts(ctx context.Context, o Options, rt *runtime.Runtime) {
	kept := artifacts.Retention{
		QuotaBytes: o.QuotaBytes,
		InUse: func(ctx context.Context, job engine.JobID) (bool, error) {
			able, err := rt.Retryable(ctx, []engine.JobID{job})
			if err != nil || able[0] {
				return true, err
			}
			return rt.ArtifactsPinned(ctx, job)
		},
		Gone: func(ctx context.Context, topic engine.Topic, a engine.Artifact, why string) error {
			reason := engine.ReasonExpired
			if why == artifacts.OverQuota {
				reason = engine.ReasonQuota
			}
			err := rt.ArtifactExpired(ctx, topic, a, reason)
			if errors.Is(err, engine.ErrUnreplicated) {
				return nil
			}
			return err
		},
	}
	done, err := kept.Retain(ctx, o.Blobs, "", rt.Now())
	if done != (artifacts.Removed{}) {
		o.Logger.Info("artifacts are deleted", "expired", done.Expired, "over_quota", done.OverQuota, "bytes", done.Bytes, "jobs_with_unused_files", done.Unused)
	}
	if err != nil && ctx.Err() == nil {
		o.Logger.Warn("not all artifacts that are to go are deleted; the next round goes on", "error", err)
	}
}

// settle is how much longer than ended jobs are kept no dataset goes after Redis was replaced.
const settle = 24 * time.Hour

func retention(o Options, rt *runtime.Runtime) datasets.Retention {
	return datasets.Retention{
		MaxAge: o.DatasetAge, QuotaBytes: o.DatasetQuotaBytes, Pins: rt, Scheduled: rt.DatasetsScheduled,
		InUse: func(ctx context.Context, job engine.JobID) (bool, error) {
			able, err := rt.Retryable(ctx, []engine.JobID{job})
			return err != nil || able[0], err
		},
		Installation: rt.Installation, Settle: rt.Retention() + settle,
	}
}

func retainDatasets(ctx context.Context, o Options, rt *runtime.Runtime) {
	done, err := retention(o, rt).Retain(ctx, o.Blobs, rt.Now())
	if done.Damaged > 0 {
		o.Logger.Warn("datasets have a damaged manifest and are not looked after; delete their folders", "datasets", done.Damaged, "error", done.Fault)
	}
	done.Damaged, done.Fault = 0, ""
	if done != (datasets.Removed{}) {
		o.Logger.Info("datasets are deleted", "asked_for", done.Deleted, "expired", done.Expired, "over_quota", done.OverQuota,
			"bytes", done.Bytes, "never_whole", done.Unused)
	}
	if err != nil && ctx.Err() == nil {
		o.Logger.Warn("not all datasets that are to go are deleted; the next round goes on", "error", err)
	}
}
