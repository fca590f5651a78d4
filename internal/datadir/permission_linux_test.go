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

// nobody is the ID of a user who owns nothing here.
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
		for what, err := range map[string]error{"Open": openErr, "Blobs": blobsErr} {
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
