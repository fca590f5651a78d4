package s3test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A Fault is what becomes of some requests.
type Fault struct {
	// Op is the operation that fails, such as "PutObject"; "" for every one. See [Operation].
	Op string
	// Key is in the path of the requests that fail; "" for all.
	Key string
	// After is how many requests that match pass first, and Times how many then fail; 0: all.
	After, Times int

	// Status and Code are an answer, such as 503 and "SlowDown".
	Status int
	Code   string
	// CutBody cuts the connection after so many bytes of the request's body, with Times as for
	// the others; CutAnswer after so many bytes of the answer's.
	CutBody, CutAnswer int64
	// Lost does the request, and cuts the connection instead of answering.
	Lost bool
	// Stall holds the request until the fault is removed or the client has gone. Then it is cut.
	Stall bool
	// Hold is called with a request before it goes on, in a goroutine of its own.
	Hold func(*http.Request)
}

// A proxy is between the clients and the server.
type proxy struct {
	mu     sync.Mutex
	counts map[string]int
	faults []*fault
}

type fault struct {
	Fault
	seen    int
	removed chan struct{}
}

// Fail adds a fault, and returns what removes it; that may be called twice.
func (p *proxy) Fail(f Fault) (remove func()) {
	added := &fault{Fault: f, removed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, added)
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, f := range p.faults {
			if f == added {
				p.faults = append(p.faults[:i:i], p.faults[i+1:]...)
			}
		}
		close(added.removed)
	})
}

// Counts returns how many requests of each operation there were, those that failed included.
func (p *proxy) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// next counts a request, and returns the first fault that it is to meet; nil for none.
func (p *proxy) next(r *http.Request) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	op := Operation(r)
	p.counts[op]++
	for _, f := range p.faults {
		if (f.Op != "" && f.Op != op) || !strings.Contains(r.URL.Path, f.Key) {
			continue
		}
		f.seen++
		if f.seen > f.After && (f.Times == 0 || f.seen <= f.After+f.Times) {
			return f
		}
	}
	return nil
}

// Operation names what a request asks for, as S3's reference does.
func Operation(r *http.Request) string {
	q := r.URL.Query()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case key == "" && q.Has("uploads"):
		return "ListMultipartUploads"
	case key == "" && r.Method == http.MethodGet:
		return "ListObjects"
	case key == "":
		return r.Method + " bucket"
	case q.Has("uploads"):
		return "CreateMultipartUpload"
	case q.Has("partNumber"):
		return "UploadPart"
	}
	what := "Object"
	if q.Has("uploadId") {
		what = "MultipartUpload"
	}
	switch r.Method {
	case http.MethodGet:
		return "Get" + what
	case http.MethodHead:
		return "Head" + what
	case http.MethodPut:
		return "Put" + what
	case http.MethodDelete:
		return "Delete" + what
	}
	return "Complete" + what
}

// newProxy serves a free port for the server on the socket.
func newProxy(t testing.TB, socket string) (*proxy, string) {
	p := &proxy{counts: map[string]int{}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		// A request that the server forgets would be sent twice, and counted once.
		DisableKeepAlives: true,
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "s3"})
			r.Out.Host = r.In.Host // which is signed
		},
		Transport: transport,
		// The cut alone tells the client.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := p.next(r); f != nil {
			f.meet(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		p.mu.Lock()
		for _, f := range p.faults {
			close(f.removed)
		}
		p.faults = nil
		p.mu.Unlock()
		s.CloseClientConnections()
		s.Close()
	})
	return p, s.URL
}

// meet has a request fail.
func (f *fault) meet(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	switch {
	case f.Hold != nil:
		f.Hold(r)
		forward.ServeHTTP(w, r)
	case f.Stall:
		select {
		case <-f.removed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case f.CutBody > 0:
		_, _ = io.CopyN(io.Discard, r.Body, f.CutBody) // a shorter one is cut at its end
		panic(http.ErrAbortHandler)
	case f.CutAnswer > 0:
		forward.ServeHTTP(&cutting{ResponseWriter: w, left: f.CutAnswer}, r)
	case f.Lost:
		forward.ServeHTTP(&cutting{ResponseWriter: w}, r)
		panic(http.ErrAbortHandler)
	default:
		_, _ = io.Copy(io.Discard, r.Body) // so that the client reads the answer
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(f.Status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>planted</Message><AWSAccessKeyId>%s</AWSAccessKeyId></Error>", f.Code, AccessKey)
		}
	}
}

// A cutting writer passes so many bytes on, and cuts the connection.
type cutting struct {
	http.ResponseWriter
	left int64
}

var errCut = errors.New("cut")

func (c *cutting) WriteHeader(status int) {
	if c.left > 0 {
		c.ResponseWriter.WriteHeader(status)
	}
}

func (c *cutting) Write(b []byte) (int, error) {
	n := min(int64(len(b)), c.left)
	if n > 0 {
		if _, err := c.ResponseWriter.Write(b[:n]); err != nil {
			return 0, err
		}
		if err := http.NewResponseController(c.ResponseWriter).Flush(); err != nil {
			return 0, err
		}
		c.left -= n
	}
	if n < int64(len(b)) {
		return int(n), errCut // the proxy ends the connection
	}
	return int(n), nil
}
