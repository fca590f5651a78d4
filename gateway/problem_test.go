package gateway_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

func with(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Set(pairs[i], pairs[i+1])
		}
	}
}

// Whatever is refused is refused in one form, and counted.
func TestRefusalsAreProblems(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.Auth = nil })
	p := start(t, e, topic)
	file := "/v1/artifacts/" + p.artifact(d, topic, "page.html", []byte("0123456789")).ID
	for _, c := range []struct {
		name, method, path string
		change             func(*http.Request)
		status             int
		code               string // "" for no problem
		body               string
	}{
		{"no such method", "PUT", "/v1/jobs", nil, 405, "method", ""},
		{"of a probe", "POST", "/healthz", nil, 405, "method", ""},
		{"of the page", "POST", "/", nil, 405, "method", ""},
		{"of a file", "DELETE", file, nil, 405, "method", ""},
		{"of the WebSocket", "POST", "/v1/ws", nil, 405, "method", ""},
		{"another file", "GET", file, with("If-Match", `"x"`), 412, "precondition", ""},
		{"an older file", "GET", file, with("If-Unmodified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"), 412, "precondition", ""},
		{"another page", "GET", "/", with("If-Match", `"x"`), 412, "precondition", ""},
		{"a range beyond the end", "GET", file, with("Range", "bytes=99-"), 416, "range", ""},
		{"a range that is none", "GET", file, with("Range", "bytes=x"), 416, "range", ""},
		{"a range of the page beyond its end", "GET", "/", with("Range", "bytes=99999999-"), 416, "range", ""},
		{"a range", "GET", file, with("Range", "bytes=2-4"), 206, "", "234"},
		{"a range in capitals", "GET", file, with("Range", "Bytes=2-4"), 206, "", "234"},
		{"a range in another unit", "GET", file, with("Range", "rows=2-4"), 200, "", "0123456789"},
		{"a range without a unit", "GET", file, with("Range", "2-4"), 200, "", "0123456789"},
		{"a range of HEAD", "HEAD", file, with("Range", "bytes=2-4"), 200, "", ""},
		{"a long header", "GET", "/v1/jobs?topic=user:42", with("X-Long", strings.Repeat("x", 33<<10)), 431, "header_too_large", ""},
		{"a long address", "GET", "/v1/jobs?topic=" + strings.Repeat("x", 33<<10), nil, 431, "header_too_large", ""},
		{"long headers together", "GET", "/healthz", with("A", strings.Repeat("x", 17<<10), "B", strings.Repeat("x", 17<<10)), 431, "header_too_large", ""},
		{"a foreign page's script", "GET", "/v1/jobs?topic=user:42", with("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"), 403, "origin", ""},
		{"a link", "GET", file, with("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), 200, "", "0123456789"},
		{"nowhere", "GET", "/nothing", nil, 404, "not_found", ""},
	} {
		a := s.ask(t, c.method, c.path, "", c.change)
		if a.header.Get("Cross-Origin-Resource-Policy") != "same-origin" && c.status != 431 {
			t.Errorf("%s: it may be embedded: %v", c.name, a.header)
		}
		if c.code != "" {
			a.is(t, c.name, c.status, c.code)
			if a.header.Get("Content-Disposition") != "" {
				t.Errorf("%s: a refusal to keep: %v", c.name, a.header)
			}
			continue
		}
		if a.status != c.status || a.body != c.body {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.status, a.body, c.status, c.body)
		}
	}
	metrics := s.ask(t, "GET", "/metrics", "", nil).body
	for _, want := range []string{
		`tidemark_gateway_problems_total{code="method"} 5`, `tidemark_gateway_problems_total{code="range"} 3`,
		`tidemark_gateway_problems_total{code="precondition"} 3`, `tidemark_gateway_problems_total{code="header_too_large"} 3`,
		`tidemark_gateway_problems_total{code="origin"} 1`, "\ngo_goroutines ", "\nprocess_resident_memory_bytes ",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %q", want)
		}
	}
}

// panicky panics while it looks at a request that asks for it.
type panicky struct{ auth.Dev }

func (p panicky) Authenticate(r *http.Request) (*auth.Principal, error) {
	if r.Header.Get("X-Panic") != "" {
		panic(strings.Repeat("no principal ", 100_000))
	}
	return p.Dev.Authenticate(r)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPanicOfARequestIsAnErrorInTheLog(t *testing.T) {
	var log lockedBuffer
	s := serve(t, real(t), func(o *gateway.Options) {
		o.Auth, o.Logger = panicky{}, slog.New(slog.NewTextHandler(&log, nil))
	})
	s.ask(t, "GET", "/v1/jobs?topic=user:42", "", with("X-Panic", "now")).is(t, "a panic", 500, "internal")
	text := log.String()
	for _, want := range []string{"level=ERROR", "panic while answering a request", "method=GET", "path=/v1/jobs", "no principal", "Authenticate"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has no %q: %.2000s", want, text)
		}
	}
	if len(text) > 32<<10 {
		t.Errorf("the log is %d bytes", len(text))
	}
}
