package multipart

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/s3test"
	"github.com/tidemark-dev/tidemark/internal/storage"
)

const (
	mib    = 1 << 20
	dir    = "incoming/.uploads"
	target = "incoming/user:42/one"
)

// process gives a Store as one process of several has it.
func process(t *testing.T, server *s3test.Server) *Store {
	t.Helper()
	b, err := storage.Open(t.Context(), storage.Options{URL: server.URL(), CredentialsFile: server.CredentialsFile()}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	client := (*s3.Client)(nil)
	if !b.As(&client) {
		t.Fatal("the bucket has no client")
	}
	return New(client, b.Name, dir, logtest.Quiet())
}

// noise is bytes of which no two parts are alike.
func noise(seed byte, size int) []byte {
	b := make([]byte, 0, size+sha256.Size)
	for i := uint64(0); len(b) < size; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte{seed}, i))
		b = append(b, sum[:]...)
	}
	return b[:size]
}

func create(t *testing.T, s *Store, size int) {
	t.Helper()
	if err := s.Create(t.Context(), "one", target, int64(size), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
}

func lock(t *testing.T, s *Store) *Hold {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, err := s.Lock(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func writer(t *testing.T, h *Hold) *Writer {
	t.Helper()
	w, err := h.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// add has a process add bytes in one request.
func add(t *testing.T, s *Store, b []byte) {
	t.Helper()
	h := lock(t, s)
	w := writer(t, h)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Close(); n != int64(len(b)) || err != nil {
		t.Fatalf("%d bytes of %d are kept: %v", n, len(b), err)
	}
	release(t, h)
}

func release(t *testing.T, h *Hold) {
	t.Helper()
	if err := h.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func offset(t *testing.T, s *Store) int64 {
	t.Helper()
	st, err := s.Read(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	return st.Offset
}

// complete makes the object, and compares it.
func complete(t *testing.T, server *s3test.Server, s *Store, want []byte) {
	t.Helper()
	h := lock(t, s)
	if err := h.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), h.State()); err != nil {
		t.Fatal(err)
	}
	release(t, h)
	got, err := os.ReadFile(filepath.Join(server.Dir, target))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the object has %d bytes that are not those written: %v", len(got), err)
	}
	if left := objects(t, server); len(left) > 0 {
		t.Errorf("beside the object there is %q", left)
	}
}

// objects lists what is there beside the target.
func objects(t *testing.T, server *s3test.Server) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(server.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		name, _ := filepath.Rel(server.Dir, path)
		if d != nil && !d.IsDir() && name != target && !strings.HasPrefix(name, ".") {
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// held has the next request of an operation wait. The test learns that it has come, and lets it go on.
func held(server *s3test.Server, op string) (came <-chan struct{}, goOn func()) {
	arrived, open := make(chan struct{}), make(chan struct{})
	server.Fail(s3test.Fault{Op: op, Times: 1, Hold: func(*http.Request) {
		close(arrived)
		<-open
	}})
	return arrived, func() { close(open) }
}
