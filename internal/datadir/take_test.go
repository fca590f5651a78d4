package datadir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/blobs"
)

func openBlobs(t *testing.T, dir string) *blob.Bucket {
	t.Helper()
	b, err := Blobs(testContext(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// randomFile writes a file whose content no other test has.
func randomFile(t *testing.T, size int) (path string, data []byte) {
	t.Helper()
	data = make([]byte, size)
	var seed [32]byte
	copy(seed[:], t.Name())
	_, _ = rand.NewChaCha8(seed).Read(data)
	path = filepath.Join(t.TempDir(), "orders 2025.csv")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// stored lists all files of the blob store, half-written ones included.
func stored(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	root := filepath.Join(dir, "blobs")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(root, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTakeStoresAFileUnderItsHash(t *testing.T) {
	dir := t.TempDir()
	bucket := openBlobs(t, dir)
	path, data := randomFile(t, 3<<20+17)
	var steps []int64
	b, err := Take(testContext(t), bucket, path, func(done, total int64) {
		if total != int64(len(data)) {
			t.Errorf("total is %d, want %d", total, len(data))
		}
		steps = append(steps, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	if want := (Blob{Key: "uploads/" + name, Name: "orders 2025.csv", Size: int64(len(data)), SHA256: name}); b != want {
		t.Errorf("got %+v, want %+v", b, want)
	}
	got, err := bucket.ReadAll(testContext(t), b.Key)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read back %d bytes of %d, %v", len(got), len(data), err)
	}
	if len(steps) < 8 || steps[len(steps)-1] != int64(len(data)) {
		t.Errorf("progress went %v; want 8 steps or more up to %d", steps, len(data))
	}
	for i := 1; i < len(steps); i++ {
		if steps[i] < steps[i-1] {
			t.Errorf("progress fell: %v", steps)
		}
	}
	if files := stored(t, dir); len(files) != 1 {
		t.Errorf("the store holds %v", files)
	}
}

func TestTakeCopiesKnownContentOnce(t *testing.T) {
	dir := t.TempDir()
	bucket := openBlobs(t, dir)
	path, data := randomFile(t, 1<<20)
	first, err := Take(testContext(t), bucket, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	inStore := filepath.Join(dir, "blobs", filepath.FromSlash(first.Key))
	before, err := os.Stat(inStore)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Take(testContext(t), bucket, path, nil)
	if err != nil || second != first {
		t.Fatalf("taken again: %+v, %v", second, err)
	}
	after, err := os.Stat(inStore)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("known content was written anew (%v)", err)
	}

	// A blob that something cut short is repaired.
	if err := os.Truncate(inStore, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(testContext(t), bucket, path, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := bucket.ReadAll(testContext(t), first.Key); err != nil || !bytes.Equal(got, data) {
		t.Errorf("a damaged blob has %d bytes, %v", len(got), err)
	}
}

func TestTakeByManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	bucket := openBlobs(t, dir)
	path, data := randomFile(t, 2<<20)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b, err := Take(testContext(t), bucket, path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := bucket.ReadAll(testContext(t), b.Key); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %d bytes of %d, %v", len(got), len(data), err)
			}
		})
	}
	wg.Wait()
	if files := stored(t, dir); len(files) != 1 {
		t.Errorf("the store holds %v", files)
	}
}

func TestTakeRefusesWhatIsNoFullFile(t *testing.T) {
	dir := t.TempDir()
	bucket := openBlobs(t, dir)
	empty := filepath.Join(t.TempDir(), "empty.csv")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		empty: ErrEmpty, pipe: ErrNotFile, os.DevNull: ErrNotFile, dir: ErrNotFile,
		filepath.Join(dir, "missing.csv"): fs.ErrNotExist,
	} {
		if _, err := Take(testContext(t), bucket, path, nil); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Take of %s gave %v, want %v", path, err, want)
		}
	}
	if files := stored(t, dir); len(files) != 0 {
		t.Errorf("the store holds %v", files)
	}
}

// While the blob is half written, nothing is under its key; after the ctx has
// ended, nothing is left.
func TestTakeCancelledHalfWayLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	bucket := openBlobs(t, dir)
	path, data := randomFile(t, 4<<20)
	sum := sha256.Sum256(data)
	key := "uploads/" + hex.EncodeToString(sum[:])
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	half := false
	_, err := Take(ctx, bucket, path, func(done, total int64) {
		if done < total*3/4 || half {
			return
		}
		half = true
		if files := stored(t, dir); len(files) != 1 || !strings.HasSuffix(files[0], ".tmp") {
			t.Errorf("half-way the store holds %v, want one temporary file", files)
		}
		if there, err := bucket.Exists(ctx, key); there || err != nil {
			t.Errorf("a half-written blob is visible (%v)", err)
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) || !half {
		t.Fatalf("Take gave %v, half-way seen: %v", err, half)
	}
	if files := stored(t, dir); len(files) != 0 {
		t.Errorf("the store holds %v", files)
	}
}

func TestTakeOfAFileThatChangesLeavesNothing(t *testing.T) {
	for name, change := range map[string]func(f *os.File) error{
		"other bytes": func(f *os.File) error { _, err := f.WriteAt([]byte("changed"), 3<<20); return err },
		"longer":      func(f *os.File) error { _, err := f.WriteAt([]byte("more"), 4<<20); return err },
		"shorter":     func(f *os.File) error { return f.Truncate(3 << 20) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			bucket := openBlobs(t, dir)
			path, _ := randomFile(t, 4<<20)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			done50 := false
			_, err = Take(testContext(t), bucket, path, func(done, total int64) {
				if done > total/2 && !done50 { // hashed, and the copy has begun
					done50 = true
					if err := change(f); err != nil {
						t.Error(err)
					}
				}
			})
			if !errors.Is(err, ErrChanged) {
				t.Fatalf("Take gave %v, want ErrChanged", err)
			}
			if files := stored(t, dir); len(files) != 0 {
				t.Errorf("the store holds %v", files)
			}
		})
	}
}

// playTake takes a file of 4 MiB where no file may exceed 1 MiB.
func playTake(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	fail(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}))
	bucket, err := Blobs(context.Background(), os.Getenv(takeEnv+"_INTO"))
	fail(err)
	_, err = Take(context.Background(), bucket, path, nil)
	fmt.Print(errors.Is(err, ErrFull), " ", err)
}

// A process with a limit on a file's size meets what a full disk does, a write
// that fails half-way, on any machine.
func TestTakeWithoutRoomSaysSoAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path, _ := randomFile(t, 4<<20)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), takeEnv+"="+path, takeEnv+"_INTO="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out); !strings.HasPrefix(got, "true ") || !strings.Contains(got, path) || !strings.Contains(got, "--data") {
		t.Errorf("Take gave %s", got)
	}
	if files := stored(t, dir); len(files) != 0 {
		t.Errorf("the store holds %v", files)
	}
}

// writeAged writes a file of the blob store that was last touched a while ago.
func writeAged(t *testing.T, dir, name string, age time.Duration) {
	t.Helper()
	path := filepath.Join(dir, "blobs", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-age)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

func TestStrandedFilesAreSweptWhenOldAlone(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{
		"uploads/a.1.tmp": 61 * time.Minute, "uploads/b.2.tmp": 30 * time.Minute, "uploads/c": 48 * time.Hour,
		"artifacts/0701A/profile.json.3.tmp": 61 * time.Minute, "artifacts/0701A/profile.json": 48 * time.Hour,
		"artifacts/0701B/profile.json.4.tmp": 30 * time.Minute,
	} {
		writeAged(t, dir, name, age)
	}
	openBlobs(t, dir)
	want := "[artifacts/0701A/profile.json artifacts/0701B/profile.json.4.tmp uploads/b.2.tmp uploads/c]"
	if got := fmt.Sprint(stored(t, dir)); got != want {
		t.Errorf("after the sweep the store holds %s, want %s", got, want)
	}
}

// However many jobs there were, opening the store looks into a bounded number of
// their folders, and over time into all of them.
func TestSweepOfManyJobsIsBoundedAndReachesAll(t *testing.T) {
	dir := t.TempDir()
	const jobs = 2*sweptFolders + 10
	for i := range jobs {
		writeAged(t, dir, fmt.Sprintf("artifacts/%04d/profile.json.1.tmp", i), 2*time.Hour)
	}
	for i, left := range []int{jobs - sweptFolders, jobs - 2*sweptFolders, 0} {
		sweepJobs(filepath.Join(dir, "blobs", blobs.Artifacts), float64(i*sweptFolders)/jobs+1e-9)
		if got := len(stored(t, dir)); got != left {
			t.Errorf("sweep %d has left %d stranded files, want %d", i+1, got, left)
		}
	}
}
