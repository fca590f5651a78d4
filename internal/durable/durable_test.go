package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/internal/durable"
)

func files(t *testing.T, dir string) *blob.Bucket {
	t.Helper()
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

func closed(t *testing.T, bucket *blob.Bucket) {
	t.Helper()
	if err := bucket.Close(); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, bucket *blob.Bucket, key, text string) {
	t.Helper()
	if err := durable.Put(t.Context(), bucket, key, "text/plain", []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A linked blob is one file with two names, of which either can go. A second link, as of a run that was killed
// after its first, changes nothing, and leaves no temporary file.
func TestLinkIsASecondName(t *testing.T) {
	dir := t.TempDir()
	bucket := files(t, dir)
	defer closed(t, bucket)
	put(t, bucket, "from/user:1/a", "bytes")
	for range 2 {
		if linked, err := durable.Link(t.Context(), bucket, "to/user:1/b/c", "from/user:1/a"); !linked || err != nil {
			t.Fatal("linked, err =", linked, err)
		}
	}
	a, errA := os.Stat(filepath.Join(dir, "from", "user:1", "a"))
	b, errB := os.Stat(filepath.Join(dir, "to", "user:1", "b", "c"))
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Fatal("the keys are not one file: ", errA, errB)
	}
	names, err := os.ReadDir(filepath.Join(dir, "to", "user:1", "b"))
	if err != nil || len(names) != 1 {
		t.Errorf("the folder has %v (%v), want c alone", names, err)
	}
	if err := bucket.Delete(t.Context(), "from/user:1/a"); err != nil {
		t.Fatal(err)
	}
	if text, err := bucket.ReadAll(t.Context(), "to/user:1/b/c"); string(text) != "bytes" || err != nil {
		t.Errorf("after the first key was deleted the second has %q, %v", text, err)
	}
}

// A link takes the place of what a killed run left under the key.
func TestLinkReplaces(t *testing.T) {
	bucket := files(t, t.TempDir())
	defer closed(t, bucket)
	put(t, bucket, "a", "bytes")
	put(t, bucket, "b", "torn")
	if linked, err := durable.Link(t.Context(), bucket, "b", "a"); !linked || err != nil {
		t.Fatal("linked, err =", linked, err)
	}
	if text, err := bucket.ReadAll(t.Context(), "b"); string(text) != "bytes" || err != nil {
		t.Errorf("b has %q, %v", text, err)
	}
}

// A store without names to link says so and keeps nothing.
func TestLinkNeedsFiles(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer closed(t, bucket)
	put(t, bucket, "a", "bytes")
	if linked, err := durable.Link(t.Context(), bucket, "b", "a"); linked || err != nil {
		t.Fatal("linked, err =", linked, err)
	}
	if there, err := bucket.Exists(t.Context(), "b"); there || err != nil {
		t.Errorf("b is there: %t, %v", there, err)
	}
}

func TestLinkOfNothing(t *testing.T) {
	bucket := files(t, t.TempDir())
	defer closed(t, bucket)
	if linked, err := durable.Link(t.Context(), bucket, "b", "a"); linked || gcerrors.Code(err) != gcerrors.NotFound {
		t.Fatal("linked, err =", linked, err)
	}
	if there, err := bucket.Exists(t.Context(), "b"); there || err != nil {
		t.Errorf("b is there: %t, %v", there, err)
	}
}
