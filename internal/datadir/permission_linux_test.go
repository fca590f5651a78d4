package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// nobody is the ID of the user of that name, who owns nothing here.
const nobody = 65534

// asNobody runs f with the file rights of a user who is not root: a folder's
// mode does not bind root, as whom tests often run. Only f's own thread changes.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked: the thread ends here
			if err := syscall.Setfsuid(nobody); err != nil {
				t.Error(err)
				return
			}
		}
		f()
	}()
	<-done
}

func TestFolderWithoutAccessIsNamedWithTheRemedy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "locked")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	file := filepath.Join(dir, "orders.csv")
	asNobody(t, func() {
		_, openErr := Open(testContext(t), Options{Dir: data, NeverEmbedded: true})
		_, blobsErr := Blobs(testContext(t), data)
		checkErr, _ := Check(Options{Dir: data})
		for what, err := range map[string]error{"Open": openErr, "Blobs": blobsErr, "Check": checkErr} {
			if !errors.Is(err, ErrNotWritable) || !strings.Contains(err.Error(), data) || !strings.Contains(err.Error(), "--data") {
				t.Errorf("%s gave %v", what, err)
			}
		}
	})
	if os.Geteuid() != 0 {
		return // the file to come could not be made here
	}
	if err := os.WriteFile(file, []byte("a,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bucket := openBlobs(t, t.TempDir())
	asNobody(t, func() {
		if _, err := Take(testContext(t), bucket, file, nil); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), file) {
			t.Errorf("Take of an unreadable file gave %v", err)
		}
	})
}

// A data folder that is there and cannot be read, or whose blobs cannot, is found before anything starts.
func TestCheckOfFoldersWithoutAccess(t *testing.T) {
	for name, mode := range map[string]fs.FileMode{"data": 0o300, "data/blobs": 0o500, "data/redis": 0o000} {
		dir := t.TempDir()
		for _, above := range []string{dir, filepath.Dir(dir)} {
			if err := os.Chmod(above, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		data := filepath.Join(dir, "data")
		for _, sub := range []string{"", "blobs", "redis"} {
			if err := os.MkdirAll(filepath.Join(data, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, sub := range []string{"", "blobs", "redis"} {
			if err := os.Chown(filepath.Join(data, sub), nobody, nobody); err != nil && os.Geteuid() == 0 {
				t.Fatal(err)
			}
		}
		asNobody(t, func() {
			if err, _ := Check(Options{Dir: data}); err != nil {
				t.Errorf("a folder of this user's: %v", err)
			}
		})
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			if err, _ := Check(Options{Dir: data}); !errors.Is(err, ErrNotWritable) || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
				t.Errorf("%s of mode %o: %v", name, mode, err)
			}
		})
		if err := os.Chmod(filepath.Join(dir, name), 0o700); err != nil { // for the clean-up
			t.Fatal(err)
		}
	}
}
