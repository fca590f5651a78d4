package retain

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

const topic = engine.Topic("user:42")

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// write closes an artifact of a size for a job. The job need not be one that Redis has.
func write(t *testing.T, bucket *blob.Bucket, job engine.JobID, name string, size int, closed, expires time.Time) engine.Artifact {
	t.Helper()
	w, err := artifacts.NewWriter(t.Context(), bucket, artifacts.Place{Topic: topic, Job: job, Name: name}, "1.a", nil)
	must(t, err)
	_, err = w.Write(make([]byte, size))
	must(t, err)
	m, err := w.Seal("text/csv", closed, expires)
	must(t, err, artifacts.Publish(t.Context(), bucket, m))
	return m.Artifact
}

func keys(t *testing.T, bucket *blob.Bucket, prefix string) int {
	t.Helper()
	n := 0
	for all := bucket.List(&blob.ListOptions{Prefix: prefix}); ; n++ {
		_, err := all.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return n
		}
		must(t, err)
	}
}

// What has expired goes, and the oldest beyond the quota, each with a record; what a job may still go on
// with stays, whatever its age. Of many workers one does it.
func TestArtifactsGoByAgeAndQuota(t *testing.T) {
	leaktest.Check(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := engine.Open(ctx, engine.Options{URL: redistest.Server(t).URL(), Logger: logtest.Quiet()})
	must(t, err)
	defer func() { must(t, e.Close()) }()
	bucket := memblob.OpenBucket(nil)
	defer func() { must(t, bucket.Close()) }()
	id := func() engine.JobID {
		t.Helper()
		job, err := runtime.Of(e).NewJobID(topic)
		must(t, err)
		return job
	}
	live, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "report"})
	must(t, err)
	now := time.Now()
	past := now.Add(-time.Hour)
	kept := write(t, bucket, live.ID, "live.csv", 1000, past, past)
	expired := write(t, bucket, id(), "expired.csv", 1000, past, past)
	oldest := write(t, bucket, id(), "oldest.csv", 600, past, now.Add(time.Hour))
	newer := write(t, bucket, id(), "newer.csv", 600, past.Add(time.Minute), time.Time{})
	half, err := artifacts.NewWriter(ctx, bucket, artifacts.Place{Topic: topic, Job: id(), Name: "half.csv"}, "1.a", nil)
	must(t, err)
	_, err = half.Write([]byte("x"))
	must(t, err)
	_, err = half.Keep()
	must(t, err)

	o := Options{Engine: e, Blobs: bucket, QuotaBytes: 1000, Interval: time.Hour, Logger: logtest.Quiet()}
	round(ctx, o)
	again := write(t, bucket, id(), "again.csv", 10, past, past)
	round(ctx, o) // another worker has this interval
	var gone []engine.ExpiredArtifact
	page, err := stream.Of(e).Replay(ctx, topic, engine.Beginning)
	must(t, err)
	for _, entry := range page.Entries {
		r, err := entry.Record()
		must(t, err)
		if r.Type == engine.ArtifactExpired {
			gone = append(gone, *r.Artifact)
		}
	}
	slices.SortFunc(gone, func(a, b engine.ExpiredArtifact) int { return int(b.Size - a.Size) })
	if len(gone) != 2 || gone[0].ID != expired.ID || gone[0].Reason != engine.ReasonExpired || gone[1].ID != oldest.ID || gone[1].Reason != engine.ReasonQuota {
		t.Errorf("records tell of %+v", gone)
	}
	for a, want := range map[engine.Artifact]string{kept: artifacts.Expired, newer: "", expired: artifacts.Expired, oldest: artifacts.OverQuota, again: artifacts.Expired} {
		job := engine.JobID(a.ID[:28])
		m, err := artifacts.Published(ctx, bucket, artifacts.Place{Topic: topic, Job: job, Name: a.Name})
		must(t, err)
		if why := m.GoneAt(time.Now()); why != want {
			t.Errorf("%s: %q, want %q", a.Name, why, want)
		}
		files := 3 // a part and two manifests
		if a == expired || a == oldest {
			files = 1
		}
		if n := keys(t, bucket, "artifacts/"+string(topic)+"/"+string(job)+"/"); n != files {
			t.Errorf("%s has %d blobs, want %d", a.Name, n, files)
		}
	}

	// A day later what belongs to no artifact goes, and a month later what says that one is gone.
	later := artifacts.Retention{
		InUse: func(_ context.Context, job engine.JobID) (bool, error) { return job == live.ID, nil },
		Gone:  func(context.Context, engine.Topic, engine.Artifact, string) error { return nil },
	}
	done, err := later.Retain(ctx, bucket, "", now.Add(25*time.Hour))
	if err != nil || done != (artifacts.Removed{Expired: 1, Unused: 1, Bytes: 10}) {
		t.Errorf("a day later: %+v, %v", done, err)
	}
	done, err = later.Retain(ctx, bucket, "", now.Add(33*24*time.Hour))
	if err != nil || done != (artifacts.Removed{Unused: 3}) || keys(t, bucket, "owners/") != 2 {
		t.Errorf("a month later: %+v, %v; of %d jobs", done, err, keys(t, bucket, "owners/"))
	}
}
