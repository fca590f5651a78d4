package retain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Datasets go that somebody has deleted, that are too old, and that are beyond the topic's quota; what a job
// or a schedule names stays. After Redis was lost, and every pin with it, none goes.
func TestDatasetsGoByAgeAndQuota(t *testing.T) {
	leaktest.Check(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	redis := redistest.Server(t)
	e, err := engine.Open(ctx, engine.Options{URL: redis.URL(), Logger: logtest.Quiet()})
	must(t, err)
	defer func() { must(t, e.Close()) }()
	bucket := memblob.OpenBucket(nil)
	defer func() { must(t, bucket.Close()) }()
	rt, now := runtime.Of(e), time.Now()
	names := map[string]engine.JobID{}
	put := func(name string, size int64, age time.Duration, deleting bool) engine.JobID {
		t.Helper()
		id, err := rt.NewJobID(topic)
		must(t, err, bucket.WriteAll(ctx, blobs.Dataset(topic, id, blobs.DatasetBytes), make([]byte, size), nil),
			datasets.Write(ctx, bucket, &datasets.Manifest{ID: id, Topic: topic, Size: size, CreatedAt: now.Add(-age), Deleting: deleting}))
		names[name] = id
		return id
	}
	naming := func(id engine.JobID) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"dataset":%q}`, id)) }
	put("deleted", 1, time.Minute, true)
	for name, age := range map[string]time.Duration{"deleted and held": time.Minute, "expired and held": 2 * time.Hour} {
		id := put(name, 1, age, false)
		_, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Payload: naming(id)})
		must(t, err)
	}
	_, err = datasets.Delete(ctx, bucket, rt, topic, names["deleted and held"])
	must(t, err)
	// Deleted, its job would make it anew.
	making, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "upload"})
	must(t, err, bucket.WriteAll(ctx, blobs.Dataset(topic, making.ID, blobs.DatasetBytes), []byte("a"), nil),
		datasets.Write(ctx, bucket, &datasets.Manifest{ID: making.ID, Topic: topic, Size: 1, CreatedAt: now.Add(-2 * time.Hour)}))
	names["expired and made anew"] = making.ID
	damaged, err := rt.NewJobID(topic)
	must(t, err, bucket.WriteAll(ctx, blobs.Dataset(topic, damaged, blobs.DatasetManifest), []byte("{"), nil))
	put("expired", 1, 2*time.Hour, false)
	_, _, err = e.PutSchedule(ctx, engine.Schedule{Topic: topic, Name: "nightly", Cron: "@daily", Type: "export", Payload: naming(put("expired and scheduled", 1, 2*time.Hour, false))})
	must(t, err)
	put("over the quota", 600, 30*time.Minute, false)
	put("within the quota", 900, time.Minute, false)
	unmade, err := rt.NewJobID(topic)
	must(t, err, bucket.WriteAll(ctx, blobs.Dataset(topic, unmade, blobs.DatasetBytes), []byte("half"), nil))
	names["being made"] = unmade

	wants := func(when string, gone ...string) {
		t.Helper()
		for name, id := range names {
			want := true
			for _, g := range gone {
				want = want && g != name
			}
			there, err := bucket.Exists(ctx, blobs.Dataset(topic, id, blobs.DatasetBytes))
			must(t, err)
			_, err = datasets.Held(ctx, bucket, topic, id)
			if there != want || (err == nil) != (want && name != "being made") {
				t.Errorf("%s: the dataset that is %s has bytes: %t, want %t; its manifest: %v", when, name, there, want, err)
			}
		}
	}
	o := Options{Engine: e, Blobs: bucket, DatasetAge: time.Hour, DatasetQuotaBytes: 1000, Interval: time.Hour, Logger: logtest.Quiet()}
	all := []string{"deleted", "expired", "over the quota"}
	retainDatasets(ctx, o, rt)
	wants("after a round", all...)

	// A job that wrote bytes and never a manifest.
	late := retention(o, rt)
	done, err := late.Retain(ctx, bucket, now.Add(48*time.Hour))
	if err != nil || done.Unused != 1 || done.Damaged != 1 {
		t.Errorf("two days later: %+v, %v", done, err)
	}
	all = append(all, "being made", "within the quota")
	wants("two days later", all...)

	must(t, redis.Client(t).FlushAll(ctx).Err())
	if pinned, err := rt.DatasetPinned(ctx, topic, names["expired and held"]); pinned || err != nil {
		t.Fatalf("pinned: %t, %v", pinned, err)
	}
	for _, after := range []time.Duration{48 * time.Hour, 49 * time.Hour} {
		_, err = late.Retain(ctx, bucket, now.Add(after))
		must(t, err)
		wants("after Redis was emptied", all...)
	}
	done, err = late.Retain(ctx, bucket, now.Add(100*24*time.Hour))
	if err != nil || done.Deleted != 1 || done.Expired != 3 {
		t.Errorf("long after Redis was emptied: %+v, %v", done, err)
	}
	if _, err := datasets.Get(ctx, bucket, topic, names["expired and held"]); !errors.Is(err, datasets.ErrNotFound) {
		t.Error(err)
	}
}
