package client_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// artifactOf has a job of the topic write a file.
func artifactOf(t *testing.T, e *engine.Engine, bucket *blob.Bucket) engine.Artifact {
	t.Helper()
	ctx := soon(t)
	made, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export"})
	if err != nil {
		t.Fatal(err)
	}
	fence := runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}
	w, err := artifacts.NewWriter(ctx, bucket, artifacts.Place{Topic: topic, Job: made.ID, Name: "a.csv"}, "1."+fence.Token, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, written := io.WriteString(w, "a,b\n")
	m, err := w.Seal(artifacts.TypeOf("a.csv"), time.Now(), time.Time{})
	if err = errors.Join(written, err); err != nil {
		t.Fatal(err)
	}
	next := fence
	next.Seq++
	acks, err := runtime.Of(e).Commit(ctx,
		runtime.Report{Type: engine.JobStarted, Job: made.ID, Fence: fence},
		runtime.Report{Type: engine.JobArtifact, Job: made.ID, Fence: next, Artifacts: []engine.Artifact{m.Artifact}})
	if err = errors.Join(err, artifacts.Publish(ctx, bucket, m)); err != nil || acks[1].Err != nil {
		t.Fatal(err, acks)
	}
	return m.Artifact
}

// A watched download is begun, found and canceled; its records come to who follows, at the reader's cursor.
func TestDownloadsAreWatched(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { _ = bucket.Close() }) // in memory
	c := dial(t, serve(t, gateway.Options{Engine: e, Blobs: bucket}))
	artifact := artifactOf(t, e, bucket)
	d, address, err := c.StartDownload(ctx, artifact.ID)
	if err != nil || d.Artifact != artifact.ID || d.State != engine.DownloadStateRunning || address != c.ArtifactURL(artifact.ID)+"?download="+d.ID {
		t.Fatalf("begun: %+v at %s, %v", d, address, err)
	}
	if all, err := c.Downloads(ctx); err != nil || len(all) != 1 || all[0].ID != d.ID {
		t.Errorf("list: %+v, %v", all, err)
	}
	head := engine.Cursor("")
	for u, err := range c.Follow(ctx, engine.FollowQuery{Topic: topic}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind == engine.UpdateLive && head == "" {
			head = u.Cursor
			if err := c.CancelDownload(ctx, d.ID); err != nil {
				t.Error(err)
			}
		}
		if u.Kind == engine.UpdateRecord && u.Entry.Type() == engine.DownloadAborted {
			if r, err := u.Entry.Record(); err != nil || r.Download.Reason != engine.ReasonCanceled || u.Cursor != head {
				t.Errorf("%s at %s, %v; the cursor is %s", u.Entry.JSON, u.Cursor, err, head)
			}
			break
		}
	}
	if d, err := c.Download(ctx, d.ID); err != nil || d.State != engine.DownloadStateAborted {
		t.Errorf("canceled: %+v, %v", d, err)
	}
	unknown := strings.Repeat("A", 26)
	_, none := c.Download(ctx, unknown)
	_, _, file := c.StartDownload(ctx, artifact.ID+"x")
	for what, err := range map[string]error{"an unknown one": none, "its cancel": c.CancelDownload(ctx, unknown), "an unknown file": file} {
		if refused := (*client.Error)(nil); !errors.Is(err, engine.ErrNotFound) || !errors.As(err, &refused) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
