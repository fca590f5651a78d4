package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A receiver is a gateway that takes uploads, behind a proxy.
type receiver struct {
	engine *engine.Engine
	proxy  *redistest.Proxy
	client *client.Client
	bucket *blob.Bucket
}

func receive(t *testing.T) *receiver {
	t.Helper()
	dir := t.TempDir()
	bucket, err := fileblob.OpenBucket(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
	e := open(t, redistest.Server(t).URL())
	proxy := redistest.NewProxy(t, serve(t, gateway.Options{Engine: e, Blobs: bucket, BlobDir: dir}))
	return &receiver{e, proxy, dial(t, proxy.Addr(), func(o *client.Options) { o.StallTimeout = time.Second }), bucket}
}

func (r *receiver) announce(t *testing.T, size int) engine.JobID {
	t.Helper()
	id, err := r.client.Announce(soon(t), client.Upload{
		Topic: topic, Type: "export", Name: "Ördnung “2025”.csv", SizeBytes: int64(size), Labels: map[string]string{"source": "x, y"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (r *receiver) job(t *testing.T, id engine.JobID) engine.Job {
	t.Helper()
	v, err := r.engine.Job(soon(t), id)
	if err != nil {
		t.Fatal(err)
	}
	j, err := v.Job()
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (r *receiver) arrived(t *testing.T, id engine.JobID) []byte {
	t.Helper()
	b, err := r.bucket.ReadAll(soon(t), "incoming/"+string(topic)+"/"+string(id))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func noise(size int) []byte {
	b := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(b) // never fails
	return b
}

// cutting cuts the connection whenever so much more has been read.
type cutting struct {
	io.ReaderAt
	every int64
	next  atomic.Int64
	cut   func()
	cuts  atomic.Int32
}

func (c *cutting) ReadAt(p []byte, off int64) (int, error) {
	if next := c.next.Load(); off >= next && c.next.CompareAndSwap(next, off+c.every) && off > 0 {
		c.cuts.Add(1)
		c.cut()
	}
	return c.ReaderAt.ReadAt(p, off)
}

func TestUploadArrivesOverCuts(t *testing.T) {
	r := receive(t)
	content := noise(24 << 20)
	id := r.announce(t, len(content))
	if j := r.job(t, id); j.State != engine.Receiving || j.Title != "Ördnung “2025”.csv" || j.Labels["source"] != "x, y" {
		t.Errorf("announced, the job is %+v", j)
	}
	from := &cutting{ReaderAt: bytes.NewReader(content), every: 2 << 20, cut: func() { r.proxy.CutAll() }}
	told := 0
	if err := r.client.Send(soon(t), id, from, int64(len(content)), func(err error) {
		if told++; !errors.Is(err, engine.ErrUnreachable) {
			var p *client.Error
			if !errors.As(err, &p) {
				t.Errorf("interrupted by %v", err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if cuts := from.cuts.Load(); cuts < 5 || told == 0 {
		t.Errorf("%d cuts, %d told", cuts, told)
	}
	if got := r.arrived(t, id); sha256.Sum256(got) != sha256.Sum256(content) {
		t.Errorf("%d bytes arrived of %d, with another hash", len(got), len(content))
	}
	if j := r.job(t, id); j.State != engine.Queued {
		t.Errorf("the job is %s", j.State)
	}
	// Sending it again finds that there is nothing to do.
	if err := r.client.Send(soon(t), id, nil, int64(len(content)), func(err error) { t.Error(err) }); err != nil {
		t.Error(err)
	}
}

func TestStalledUploadIsGoneOnWith(t *testing.T) {
	r := receive(t)
	content := noise(8 << 20)
	id := r.announce(t, len(content))
	from := &cutting{ReaderAt: bytes.NewReader(content), every: 4 << 20, cut: r.proxy.Stall}
	if err := r.client.Send(soon(t), id, from, int64(len(content)), func(error) {
		r.proxy.CutAll() // the stalled connections, so that the gateway notices too
		r.proxy.Unstall()
	}); err != nil {
		t.Fatal(err)
	}
	if got := r.arrived(t, id); !bytes.Equal(got, content) || from.cuts.Load() == 0 {
		t.Errorf("%d bytes of %d arrived after %d stalls", len(got), len(content), from.cuts.Load())
	}
}

func TestInterruptedUploadIsKept(t *testing.T) {
	r := receive(t)
	content := noise(16 << 20)
	id := r.announce(t, len(content))
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(soon(t))
	from := &cutting{ReaderAt: bytes.NewReader(content), every: 8 << 20, cut: func() { cancel(why) }}
	if err := r.client.Send(ctx, id, from, int64(len(content)), func(error) {}); !errors.Is(err, why) {
		t.Fatalf("interrupted, it ends with %v", err)
	}
	kept, err := r.client.Received(soon(t), id)
	for err == nil && kept == 0 { // the gateway may still be taking in what it was sent
		kept, err = r.client.Received(soon(t), id)
	}
	if err != nil || kept >= int64(len(content)) {
		t.Fatalf("%d bytes are kept, %v", kept, err)
	}
	if err := r.client.Send(soon(t), id, bytes.NewReader(content), int64(len(content)), func(error) {}); err != nil {
		t.Fatal(err)
	}
	if got := r.arrived(t, id); !bytes.Equal(got, content) {
		t.Errorf("%d bytes arrived, other than were sent", len(got))
	}
}

func TestUploadsThatCannotGoOn(t *testing.T) {
	r := receive(t)
	never := func(err error) { t.Errorf("it is tried again after %v", err) }
	canceled := r.announce(t, 10)
	if err := r.client.Cancel(soon(t), canceled); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Send(soon(t), canceled, bytes.NewReader(noise(10)), 10, never); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("to a canceled job: %v", err)
	}
	if err := r.client.Send(soon(t), "0701JDG5CW2QK3V9Y7H4N8R6ZTXB", bytes.NewReader(noise(10)), 10, never); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("to no job: %v", err)
	}
	short := r.announce(t, 20)
	if err := r.client.Send(soon(t), short, bytes.NewReader(noise(10)), 20, never); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a file that has shrunk: %v", err)
	}
	for name, u := range map[string]client.Upload{
		"a malformed type":  {Topic: topic, Type: "X", Name: "n", SizeBytes: 1},
		"a malformed topic": {Topic: "me", Type: "export", Name: "n", SizeBytes: 1},
		"a label":           {Topic: topic, Type: "export", Name: "n", SizeBytes: 1, Labels: map[string]string{"!": ""}},
	} {
		if id, err := r.client.Announce(soon(t), u); !errors.Is(err, engine.ErrInvalid) || id != "" {
			t.Errorf("%s gives job %q, %v", name, id, err)
		}
	}
}

// An upload that was cut too often cannot go on, and the job has not ended.
func TestSpentUploadIsNotTriedAgain(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			problem(409, "upload_spent", "delete it")(w, r)
		}
		w.Header().Set("Upload-Offset", "0")
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	err := dial(t, s.Listener.Addr().String()).Send(ctx, "0701JDG5CW2QK3V9Y7H4N8R6ZTXB", bytes.NewReader(noise(10)), 10, func(error) { cancel() })
	if !errors.Is(err, engine.ErrState) || errors.Is(err, engine.ErrEnded) {
		t.Errorf("it ends with %v", err)
	}
}

// Another request of the same upload that is at work is waited for.
func TestLockedUploadIsTriedAgain(t *testing.T) {
	var tries atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			if tries.Add(1) == 1 {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusLocked)
				_, _ = io.WriteString(w, `{"code":"locked","detail":"at work"}`)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
		}
		w.Header().Set("Upload-Offset", map[bool]string{true: "0", false: "10"}[tries.Load() < 2])
	}))
	defer s.Close()
	told := 0
	err := dial(t, s.Listener.Addr().String()).Send(soon(t), "0701JDG5CW2QK3V9Y7H4N8R6ZTXB", bytes.NewReader(noise(10)), 10, func(error) { told++ })
	if err != nil || told != 1 || tries.Load() != 2 {
		t.Errorf("%v after %d tries, %d told", err, tries.Load(), told)
	}
}
