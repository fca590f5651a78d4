package artifacts_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datadir"
)

const (
	topic  = wire.Topic("user:42")
	job    = wire.JobID("0701JD8V3QZ4T9M2K6W0X5Y7B1CA")
	second = wire.JobID("0701JD8V3QZ4T9M2K6W0X5Y7B1CB")
)

var place = artifacts.Place{Topic: topic, Job: job, Name: "report.csv"}

// onEach runs a test on a store of files and on one in memory. dir is the first one's folder.
func onEach(t *testing.T, test func(t *testing.T, bucket *blob.Bucket, dir string)) {
	t.Helper()
	t.Run("folder", func(t *testing.T) {
		dir := t.TempDir()
		bucket, err := datadir.Blobs(t.Context(), dir)
		must(t, err)
		defer func() { must(t, bucket.Close()) }()
		test(t, bucket, datadir.BlobDir(dir))
	})
	t.Run("memory", func(t *testing.T) {
		bucket := memblob.OpenBucket(nil)
		defer func() { must(t, bucket.Close()) }()
		test(t, bucket, "")
	})
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func noise(seed, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

func open(t *testing.T, bucket *blob.Bucket, at artifacts.Place, by string, from *artifacts.State) *artifacts.Writer {
	t.Helper()
	w, err := artifacts.NewWriter(t.Context(), bucket, at, by, from)
	must(t, err)
	return w
}

func write(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	n, err := w.Write(b)
	must(t, err)
	if n != len(b) {
		t.Fatalf("Write took %d bytes of %d", n, len(b))
	}
}

// keep takes a state through JSON, as a checkpoint does.
func keep(t *testing.T, w *artifacts.Writer) *artifacts.State {
	t.Helper()
	s, err := w.Keep()
	must(t, err)
	b, err := artifacts.EncodeStates([]artifacts.State{s})
	must(t, err)
	all, err := artifacts.DecodeStates(b)
	must(t, err)
	w.Kept()
	return &all[0]
}

func seal(t *testing.T, w *artifacts.Writer) *artifacts.Manifest {
	t.Helper()
	m, err := w.Seal("text/csv", time.Now(), time.Time{})
	must(t, err)
	return m
}

func read(t *testing.T, bucket *blob.Bucket, m *artifacts.Manifest) []byte {
	t.Helper()
	b, err := io.ReadAll(artifacts.NewReader(t.Context(), bucket, m))
	must(t, err)
	return b
}

func keys(t *testing.T, bucket *blob.Bucket) []string {
	t.Helper()
	var all []string
	for list := bucket.List(nil); ; {
		found, err := list.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all = append(all, found.Key)
	}
}

// However often an attempt dies between two checkpoints, and whatever attempts that were frozen write
// afterwards, the artifact has the bytes of an undisturbed one.
func TestAnArtifactSurvivesItsWriters(t *testing.T) {
	onEach(t, func(t *testing.T, bucket *blob.Bucket, _ string) {
		for seed := range 3 {
			at := place
			at.Name = fmt.Sprint("report-", seed)
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			want := noise(seed, 10<<20+r.IntN(1<<20))
			w := open(t, bucket, at, "1.a", nil)
			var kept *artifacts.State
			var frozen []*artifacts.Writer
			for attempt, offset := 1, 0; offset < len(want); {
				switch n := min(len(want)-offset, 1+r.IntN(1<<r.IntN(23))); r.IntN(12) {
				default:
					write(t, w, want[offset:offset+n])
					offset += n
				case 8, 9:
					kept = keep(t, w)
				case 10, 11: // it dies, or is taken for dead; Redis may count the next one alike
					frozen = append(frozen, w)
					attempt += r.IntN(2)
					w = open(t, bucket, at, fmt.Sprintf("%d.t%d", attempt, len(frozen)), kept)
					offset = int(w.Size())
				}
			}
			for i, f := range frozen {
				write(t, f, noise(100, 1<<20+i))
				if i%2 == 0 {
					_ = keep(t, f)
				} else {
					_ = seal(t, f)
				}
			}
			m := seal(t, w)
			must(t, artifacts.Publish(t.Context(), bucket, m))
			sum := sha256.Sum256(want)
			if m.SHA256 != hex.EncodeToString(sum[:]) || m.Size != int64(len(want)) || m.ID != string(job)+"."+at.Name {
				t.Errorf("seed %d: the manifest says %+v", seed, m.Artifact)
			}
			found, err := artifacts.Find(t.Context(), bucket, at, m.Artifact)
			must(t, err)
			if !bytes.Equal(read(t, bucket, found), want) {
				t.Errorf("seed %d: other bytes after %d attempts", seed, len(frozen)+1)
			}
		}
	})
}

// The parts of a frozen attempt beyond its last checkpoint are taken by nobody, also where the next
// attempt has the same number.
func TestPartsOfAFrozenAttemptAreNotTaken(t *testing.T) {
	onEach(t, func(t *testing.T, bucket *blob.Bucket, _ string) {
		want := noise(1, 12<<20)
		frozen := open(t, bucket, place, "1.frozen", nil)
		write(t, frozen, want[:9<<20]) // a part of 8 MiB
		kept := keep(t, frozen)        // and one of 1 MiB

		w := open(t, bucket, place, "1.next", kept)
		write(t, frozen, noise(2, 8<<20))
		write(t, w, want[9<<20:])
		ghost := seal(t, frozen)
		m := seal(t, w)
		must(t, artifacts.Publish(t.Context(), bucket, m))
		if !bytes.Equal(read(t, bucket, m), want) {
			t.Error("other bytes")
		}
		if again := seal(t, open(t, bucket, place, "2.third", kept)); again.Size != 9<<20 || !bytes.Equal(read(t, bucket, again), want[:9<<20]) {
			t.Errorf("from the same checkpoint once more: %d bytes", again.Size)
		}
		if ghost.SHA256 == m.SHA256 {
			t.Error("the frozen attempt wrote the same")
		}
		// What the frozen one has sealed is not found under the hash that was committed.
		found, err := artifacts.Find(t.Context(), bucket, place, m.Artifact)
		must(t, err)
		if !bytes.Equal(read(t, bucket, found), want) {
			t.Error("readers find other bytes")
		}
	})
}

// A worker that dies after the commit and before it publishes leaves that to the first who looks.
func TestFindPublishesWhatWasCommitted(t *testing.T) {
	onEach(t, func(t *testing.T, bucket *blob.Bucket, _ string) {
		other := open(t, bucket, place, "1.a", nil)
		write(t, other, []byte("never committed"))
		_ = seal(t, other)
		w := open(t, bucket, place, "2.b", nil)
		write(t, w, []byte("a,b\n1,2\n"))
		m := seal(t, w)
		if _, err := artifacts.Published(t.Context(), bucket, place); !errors.Is(err, artifacts.ErrNotFound) {
			t.Fatalf("before: %v", err)
		}
		want := m.Artifact
		want.SHA256 = strings.Repeat("0", 64)
		if _, err := artifacts.Find(t.Context(), bucket, place, want); !errors.Is(err, artifacts.ErrNotFound) {
			t.Fatalf("of another hash: %v", err)
		}
		if _, err := artifacts.Find(t.Context(), bucket, place, m.Artifact); err != nil {
			t.Fatal(err)
		}
		found, err := artifacts.Published(t.Context(), bucket, place)
		must(t, err)
		if got := string(read(t, bucket, found)); got != "a,b\n1,2\n" {
			t.Errorf("published: %q", got)
		}
		if owner, err := artifacts.Owner(t.Context(), bucket, job); err != nil || owner != topic {
			t.Errorf("the owner is %s, %v", owner, err)
		}
	})
}

// A retry goes on with the parts of the job that it tries again, and has all of them itself once it has
// closed its artifact.
func TestARetryOutlivesTheJobThatItTriesAgain(t *testing.T) {
	onEach(t, func(t *testing.T, bucket *blob.Bucket, dir string) {
		want := noise(1, 11<<20)
		first := open(t, bucket, place, "1.a", nil)
		write(t, first, want[:9<<20+17])
		kept := keep(t, first)
		at := place
		at.Job = second
		w := open(t, bucket, at, "1.b", kept)
		write(t, w, want[w.Size():])
		m := seal(t, w)
		must(t, artifacts.Publish(t.Context(), bucket, m), artifacts.Delete(t.Context(), bucket, dir, job, unpinned))
		if !bytes.Equal(read(t, bucket, m), want) {
			t.Error("other bytes")
		}

		// One that was closed becomes the retry's own.
		closed := &artifacts.State{Name: place.Name, Spans: m.Spans, Size: m.Size, Closed: &m.Artifact}
		at.Job = job
		own, err := open(t, bucket, at, "1.c", nil).Reseal(*closed)
		must(t, err, artifacts.Delete(t.Context(), bucket, dir, second, unpinned))
		if !bytes.Equal(read(t, bucket, own), want) || own.ID != string(job)+".report.csv" {
			t.Errorf("%s: other bytes", own.ID)
		}
	})
}

// Tails that no checkpoint needs go; what is left goes with the job, folders included.
func TestNothingIsLeft(t *testing.T) {
	onEach(t, func(t *testing.T, bucket *blob.Bucket, dir string) {
		w := open(t, bucket, place, "1.a", nil)
		for range 5 {
			write(t, w, noise(1, 1000))
			_ = keep(t, w)
		}
		if n := len(keys(t, bucket)); n != 6 { // five tails, and the owner
			t.Errorf("a failover finds %d blobs: %q", n, keys(t, bucket))
		}
		artifacts.Ungraceful(w)
		write(t, w, noise(1, 1000))
		_, _ = keep(t, w), keep(t, w)
		if all := keys(t, bucket); len(all) != 2 {
			t.Errorf("without grace there are %q", all)
		}
		must(t, artifacts.Publish(t.Context(), bucket, seal(t, w)))
		must(t, bucket.WriteAll(t.Context(), blobs.Artifact(job, "old.json"), []byte("{}"), nil)) // of an earlier version
		for range 2 {
			must(t, artifacts.Delete(t.Context(), bucket, dir, job, unpinned))
		}
		if all := keys(t, bucket); len(all) != 0 {
			t.Errorf("left: %q", all)
		}
		if dir != "" {
			_ = filepath.WalkDir(filepath.Join(dir, "artifacts"), func(path string, _ fs.DirEntry, _ error) error {
				if strings.Contains(path, string(job)) {
					t.Errorf("a folder is left: %s", path)
				}
				return nil
			})
		}
	})
}

func TestReaderSeeks(t *testing.T) {
	onEach(t, func(t *testing.T, bucket *blob.Bucket, _ string) {
		want := noise(3, 10<<20+5)
		w := open(t, bucket, place, "1.a", nil)
		write(t, w, want[:3<<20])
		_ = keep(t, w)
		write(t, w, want[3<<20:])
		m := seal(t, w)
		r := artifacts.NewReader(t.Context(), bucket, m)
		for i := range 50 {
			from := rand.New(rand.NewPCG(uint64(i), 0)).Int64N(m.Size)
			_, err := r.Seek(from, io.SeekStart)
			must(t, err)
			b := make([]byte, min(m.Size-from, 4<<20))
			_, err = io.ReadFull(r, b)
			must(t, err)
			if !bytes.Equal(b, want[from:from+int64(len(b))]) {
				t.Fatalf("from %d: other bytes", from)
			}
		}
		small := open(t, bucket, artifacts.Place{Topic: topic, Job: job, Name: "small"}, "1.a", nil)
		write(t, small, want[:1000])
		must(t, iotest.TestReader(artifacts.NewReader(t.Context(), bucket, seal(t, small)), want[:1000]))
		if _, err := r.Seek(-1, io.SeekStart); err == nil {
			t.Error("it seeks before the start")
		}
		must(t, r.Close())
	})
}

// A part that is gone, or cut short, is an error: never a short file.
func TestAMissingByteIsAnError(t *testing.T) {
	onEach(t, func(t *testing.T, bucket *blob.Bucket, dir string) {
		w := open(t, bucket, place, "1.a", nil)
		write(t, w, noise(1, 9<<20))
		m := seal(t, w)
		key := blobs.Part(topic, job, place.Name, "1.a-00001")
		if dir != "" {
			must(t, os.Truncate(filepath.Join(dir, filepath.FromSlash(key)), 100))
			r := artifacts.NewReader(t.Context(), bucket, m)
			if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut short: %v", err)
			}
			must(t, r.Close())
		}
		must(t, bucket.Delete(t.Context(), key))
		_, err := io.ReadAll(artifacts.NewReader(t.Context(), bucket, m))
		if err == nil || strings.Contains(err.Error(), "user:42") || strings.Contains(err.Error(), "1.a") {
			t.Errorf("gone: %v", err)
		}
		if _, err := artifacts.NewWriter(t.Context(), bucket, place, "2.b", &artifacts.State{
			Name: place.Name, Tail: &artifacts.Tail{Job: job, By: "1.a", Size: 3}, Hash: hashOf(t),
		}); err == nil || strings.Contains(err.Error(), "user:42") {
			t.Errorf("a tail that is gone: %v", err)
		}
	})
}

func hashOf(t *testing.T) []byte {
	t.Helper()
	s, err := open(t, memblob.OpenBucket(nil), place, "1.a", nil).Keep()
	must(t, err)
	return s.Hash
}

func TestStatesOfOtherVersionsAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{`{"version":2}`: "version 2", `[]`: "decode", `{`: "decode"} {
		if _, err := artifacts.DecodeStates([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if all, err := artifacts.DecodeStates(nil); all != nil || err != nil {
		t.Errorf("of none: %v, %v", all, err)
	}
}

// A store that fails ends the Writer: what is behind the failure is not known.
func TestAStoreThatFailsEndsTheWriter(t *testing.T) {
	t.Parallel()
	bucket := memblob.OpenBucket(nil)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := artifacts.NewWriter(ctx, bucket, place, "1.a", nil)
	must(t, err)
	cancel()
	if _, err := w.Write(noise(1, 8<<20)); !errors.Is(err, context.Canceled) {
		t.Fatalf("Write: %v", err)
	}
	if _, err := w.Keep(); !errors.Is(err, context.Canceled) {
		t.Errorf("Keep: %v", err)
	}
	if _, err := w.Seal("text/csv", time.Now(), time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Seal: %v", err)
	}
}

func unpinned(context.Context, wire.JobID) (bool, error) { return false, nil }
