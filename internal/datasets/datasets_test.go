package datasets_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
)

func stores(t *testing.T) map[string]*blob.Bucket {
	t.Helper()
	files, err := fileblob.OpenBucket(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*blob.Bucket{"memory": memblob.OpenBucket(nil), "files": files}
	t.Cleanup(func() {
		for _, b := range all {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return all
}

func jobID(n int) wire.JobID { return wire.JobID(fmt.Sprintf("0701JD8V3QZ4T9M2K6W0X5Y7B%03d", n)) }

func put(t *testing.T, bucket *blob.Bucket, topic wire.Topic, id wire.JobID) {
	t.Helper()
	if err := bucket.WriteAll(t.Context(), blobs.Dataset(topic, id, blobs.DatasetBytes), []byte("a\n1\n"), nil); err != nil {
		t.Fatal(err)
	}
	if err := datasets.Write(t.Context(), bucket, &datasets.Manifest{ID: id, Topic: topic, Name: "orders.csv", Rows: 1}); err != nil {
		t.Fatal(err)
	}
}

// jobs are those that hold all datasets, or none.
type jobs struct{ hold, doomed bool }

func (j *jobs) DoomDataset(context.Context, wire.Topic, wire.JobID) error {
	j.doomed = true
	return nil
}

// DatasetPinned reports a job that was accepted meanwhile, where new ones are not refused yet.
func (j *jobs) DatasetPinned(context.Context, wire.Topic, wire.JobID) (bool, error) {
	return j.hold || !j.doomed, nil
}

func TestADatasetIsFoundByItsTopicAlone(t *testing.T) {
	t.Parallel()
	for name, bucket := range stores(t) {
		put(t, bucket, "user:42", jobID(1))
		m, err := datasets.Get(t.Context(), bucket, "user:42", jobID(1))
		if err != nil || m.Name != "orders.csv" || m.Rows != 1 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		for _, other := range []struct {
			topic wire.Topic
			id    wire.JobID
		}{
			{"user:7", jobID(1)},
			{"user:421", jobID(1)},
			{"user:4", jobID(1)},
			{"user:42", jobID(2)},
			{"user:7/../user:42", jobID(1)},
			{"user:7", "../user:42/" + jobID(1)},
			{"", jobID(1)},
			{"user:42", ""},
			{"user:42", wire.JobID(strings.ToLower(string(jobID(1))))},
		} {
			if m, err := datasets.Get(t.Context(), bucket, other.topic, other.id); !errors.Is(err, datasets.ErrNotFound) || err.Error() != datasets.ErrNotFound.Error() {
				t.Errorf("%s: %q of %q: %+v, %v, want the same not found", name, other.id, other.topic, m, err)
			}
			if _, err := datasets.Delete(t.Context(), bucket, &jobs{}, other.topic, other.id); !errors.Is(err, datasets.ErrNotFound) {
				t.Errorf("%s: deleting %q of %q: %v", name, other.id, other.topic, err)
			}
		}
		if err := datasets.Write(t.Context(), bucket, &datasets.Manifest{ID: "../x", Topic: "user:42"}); err == nil {
			t.Errorf("%s: a manifest whose ID is a path is written", name)
		}
	}
}

func TestListPagesATopicsDatasets(t *testing.T) {
	t.Parallel()
	for name, bucket := range stores(t) {
		for i := range 7 {
			put(t, bucket, "user:42", jobID(i))
			put(t, bucket, "user:421", jobID(100+i))
		}
		// Bytes whose manifest is not there yet are no dataset.
		if err := bucket.WriteAll(t.Context(), blobs.Dataset("user:42", jobID(50), blobs.DatasetBytes), []byte("a\n"), nil); err != nil {
			t.Fatal(err)
		}
		var got []wire.JobID
		pages := 0
		for after := ""; ; pages++ {
			page, err := datasets.List(t.Context(), bucket, "user:42", after, 3)
			if err != nil || len(page.Datasets) > 3 {
				t.Fatalf("%s: %d datasets, %v", name, len(page.Datasets), err)
			}
			for _, m := range page.Datasets {
				got = append(got, m.ID)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		want := fmt.Sprint([]wire.JobID{jobID(0), jobID(1), jobID(2), jobID(3), jobID(4), jobID(5), jobID(6)})
		if fmt.Sprint(got) != want || pages < 2 {
			t.Errorf("%s: %v in %d pages, want %s", name, got, pages+1, want)
		}
		if page, err := datasets.List(t.Context(), bucket, "user:1", "", 3); err != nil || len(page.Datasets) != 0 || page.Datasets == nil || page.Next != "" {
			t.Errorf("%s: a topic without datasets lists %+v, %v", name, page, err)
		}
		if _, err := datasets.List(t.Context(), bucket, "user:42", "%", 3); !errors.Is(err, datasets.ErrCursor) {
			t.Errorf("%s: a malformed cursor: %v", name, err)
		}
	}
}

func TestDeleteMarksFirst(t *testing.T) {
	t.Parallel()
	for name, bucket := range stores(t) {
		put(t, bucket, "user:42", jobID(1))
		// A Delete that was killed after its mark.
		if err := datasets.Write(t.Context(), bucket, &datasets.Manifest{ID: jobID(1), Topic: "user:42", Deleting: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := datasets.Get(t.Context(), bucket, "user:42", jobID(1)); !errors.Is(err, datasets.ErrNotFound) {
			t.Errorf("%s: a marked dataset is found: %v", name, err)
		}
		if page, err := datasets.List(t.Context(), bucket, "user:42", "", 3); err != nil || len(page.Datasets) != 0 {
			t.Errorf("%s: a marked dataset is listed: %v", name, err)
		}
		// What a writer of a store of files leaves when it is killed.
		const stray = blobs.DatasetBytes + "123.tmp"
		put(t, bucket, "user:42", jobID(2))
		if err := bucket.WriteAll(t.Context(), blobs.Dataset("user:42", jobID(1), stray), []byte("a"), nil); err != nil {
			t.Fatal(err)
		}
		held := &jobs{hold: true}
		if gone, err := datasets.Delete(t.Context(), bucket, held, "user:42", jobID(1)); gone || err != nil || !held.doomed {
			t.Errorf("%s: while a job holds it: %t, %v; new jobs are refused: %t", name, gone, err, held.doomed)
		}
		if _, err := datasets.Held(t.Context(), bucket, "user:42", jobID(1)); err != nil {
			t.Errorf("%s: a job that holds it finds it no more: %v", name, err)
		}
		if gone, err := datasets.Delete(t.Context(), bucket, &jobs{}, "user:42", jobID(1)); !gone || err != nil {
			t.Errorf("%s: %t, %v", name, gone, err)
		}
		if _, err := datasets.Get(t.Context(), bucket, "user:42", jobID(2)); err != nil {
			t.Errorf("%s: another dataset went with it: %v", name, err)
		}
		for _, blobName := range []string{blobs.DatasetBytes, stray, blobs.DatasetManifest} {
			if there, err := bucket.Exists(t.Context(), blobs.Dataset("user:42", jobID(1), blobName)); there || err != nil {
				t.Errorf("%s: %s is there: %t, %v", name, blobName, there, err)
			}
		}
		if _, err := datasets.Delete(t.Context(), bucket, &jobs{}, "user:42", jobID(1)); !errors.Is(err, datasets.ErrNotFound) {
			t.Errorf("%s: deleted twice: %v", name, err)
		}
	}
}
