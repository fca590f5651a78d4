package client_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"

	"gocloud.dev/blob/fileblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A narrow proxy lets requests through whose bodies have at most so many bytes. It refuses
// others in the way of refuse.
type narrow struct {
	mostBytes int64
	refuse    http.HandlerFunc
	next      http.Handler

	mu     sync.Mutex
	passed []int64 // bytes of each PATCH that it let through
}

func (n *narrow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > n.mostBytes {
		n.refuse(w, r)
		return
	}
	if r.Method == http.MethodPatch {
		n.mu.Lock()
		n.passed = append(n.passed, r.ContentLength)
		n.mu.Unlock()
	}
	n.next.ServeHTTP(w, r)
}

// tooLarge answers as nginx does.
func tooLarge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	_, _ = io.WriteString(w, "<html><head><title>413 Request Entity Too Large</title></head></html>")
}

// hangUp resets the connection once a part of the body has come, without a word.
func hangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.CopyN(io.Discard, r.Body, 32<<10)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// An upload passes a proxy that bounds requests, whether it says so or hangs up, and the
// next one begins with what has passed.
func TestUploadPassesAProxyThatBoundsRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		mostBytes int64
		refuse    http.HandlerFunc
		want      []int64
	}{
		{"413", 1 << 20, tooLarge, []int64{1 << 20, 1 << 20, 1 << 20, 1<<20 - 1}},
		{"413, and a bound that is no power of two", 3_000_000, tooLarge, []int64{2 << 20, 2<<20 - 1}},
		{"a connection that ends", 1 << 20, hangUp, []int64{1 << 20, 1 << 20, 1 << 20, 1<<20 - 1}},
		{"no refusal", 4 << 20, tooLarge, []int64{4<<20 - 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
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
			to := &url.URL{Scheme: "http", Host: serve(t, gateway.Options{Engine: e, Blobs: bucket, BlobDir: dir})}
			proxy := &narrow{mostBytes: c.mostBytes, refuse: c.refuse, next: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}}
			s := httptest.NewServer(proxy)
			t.Cleanup(s.Close)
			r := &receiver{engine: e, client: dial(t, s.Listener.Addr().String()), bucket: bucket}

			content := noise(4<<20 - 1)
			for range 2 {
				proxy.passed = nil
				id := r.announce(t, len(content))
				if err := r.client.Send(soon(t), id, bytes.NewReader(content), int64(len(content)), func(error) {}); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(r.arrived(t, id), content) {
					t.Error("what has arrived is not what was sent")
				}
				if !slices.Equal(proxy.passed, c.want) {
					t.Errorf("requests of %d bytes passed, want %d", proxy.passed, c.want)
				}
			}
		})
	}
}

// What refuses the smallest part as well is said, and the gateway's own refusal is final.
func TestUploadThatNoProxyLetsThrough(t *testing.T) {
	t.Parallel()
	refusals := 0
	answer := func(w http.ResponseWriter, r *http.Request) { tooLarge(w, r) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPatch {
			w.Header().Set("Upload-Offset", "0")
			return
		}
		refusals++
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	content := noise(1 << 20)
	send := func() error {
		refusals = 0
		return dial(t, s.Listener.Addr().String()).Send(soon(t), "0701JDG5CW2QK3V9Y7H4N8R6ZTXB", bytes.NewReader(content), int64(len(content)), func(err error) { t.Error(err) })
	}
	if err := send(); !errors.Is(err, client.ErrProtocol) || refusals != 5 {
		t.Errorf("after %d refusals: %v; want an error after 1 MiB, 512, 256, 128 and 64 KiB", refusals, err)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"code":"too_large","detail":"more than is missing"}`)
	}
	if err := send(); !errors.Is(err, engine.ErrInvalid) || refusals != 1 {
		t.Errorf("refused by the gateway %d times: %v", refusals, err)
	}
}
