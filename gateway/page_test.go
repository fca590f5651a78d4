package gateway_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/gateway"
)

func TestPageIsServedWithItsFiles(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) {
		o.UploadBytes = 1_234_567
		o.PageTopic, o.PageUploads = "team:7", []gateway.PageUpload{{Type: "export", Extensions: []string{".csv"}}}
	})
	index := s.ask(t, http.MethodGet, "/", "", nil)
	if index.status != http.StatusOK || !strings.HasPrefix(index.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %q", index.status, index.header)
	}
	if !strings.Contains(index.body, `<meta name="tidemark-topic" content="team:7">`) {
		t.Errorf("the page does not name its topic:\n%s", index.body)
	}
	if !strings.Contains(index.body, `<meta name="tidemark-upload-bytes" content="1234567">`) {
		t.Errorf("the page does not name the most bytes of an upload: %.600s", index.body)
	}
	if !strings.Contains(index.body, `<meta name="tidemark-uploads" content="[{&#34;type&#34;:&#34;export&#34;,&#34;extensions&#34;:[&#34;.csv&#34;]}]">`) {
		t.Errorf("the page does not name what it offers for files:\n%s", index.body)
	}
	policy := index.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if m := regexp.MustCompile(`<script[^>]*>[^<]|<style| style=| on[a-z]+="`).FindString(index.body); m != "" {
		t.Errorf("%q would not run under the policy", m)
	}
	kinds := map[string]string{".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml"}
	files := regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(index.body, -1)
	if len(files) < 3 {
		t.Fatalf("the page names %d files", len(files))
	}
	for _, f := range files {
		got := s.ask(t, http.MethodGet, f[1], "", nil)
		if want := kinds[f[1][strings.LastIndex(f[1], "."):]]; got.status != http.StatusOK || want == "" || !strings.Contains(got.header.Get("Content-Type"), want) {
			t.Errorf("%s: %d %q", f[1], got.status, got.header.Get("Content-Type"))
		}
		same := func(r *http.Request) { r.Header.Set("If-None-Match", got.header.Get("ETag")) }
		if again := s.ask(t, http.MethodGet, f[1], "", same); again.status != http.StatusNotModified || again.body != "" {
			t.Errorf("%s again: %d, %d bytes", f[1], again.status, len(again.body))
		}
	}
	for _, path := range []string{"/index.html", "/assets/", "/assets/../go.mod", "/x"} {
		if got := s.ask(t, http.MethodGet, path, "", nil); got.status == http.StatusOK {
			t.Errorf("%s: %d %.80q", path, got.status, got.body)
		}
	}
}

// Script and style go out compressed as a client takes them, each form with an ETag of its own,
// and browsers keep them for good. The page itself is asked about each time.
func TestPageGoesOutCompressed(t *testing.T) {
	t.Parallel()
	s := serve(t, real(t), nil)
	ask := func(path, accept, held string) answer {
		return s.ask(t, http.MethodGet, path, "", func(r *http.Request) {
			r.Header.Set("Accept-Encoding", accept)
			r.Header.Set("If-None-Match", held)
		})
	}
	index := ask("/", "identity", "")
	script := regexp.MustCompile(`src="(/assets/app-\w+\.js)"`).FindStringSubmatch(index.body)[1]
	whole := ask(script, "identity", "")
	for accept, want := range map[string]string{
		"gzip, deflate, br, zstd": "br", "br": "br", "*": "br", "br;q=0.1, gzip;q=1": "br", "gzip": "gzip", "GZIP ; q=0.5": "gzip",
		"br;q=0, gzip": "gzip", "br;q=0, *": "gzip", "identity": "", "*;q=0": "", "deflate": "", "gzip;q=x": "",
	} {
		got := ask(script, accept, "")
		if coding := got.header.Get("Content-Encoding"); got.status != http.StatusOK || coding != want {
			t.Errorf("%q: %d, coding %q, want %q", accept, got.status, coding, want)
			continue
		}
		if want != "" && (len(got.body) > len(whole.body)/2 || got.header.Get("ETag") == whole.header.Get("ETag")) {
			t.Errorf("%q: %d bytes of %d, ETag %s", accept, len(got.body), len(whole.body), got.header.Get("ETag"))
		}
		if got.header.Get("Vary") != "Accept-Encoding" || !strings.Contains(got.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%q: %v", accept, got.header)
		}
		if want == "gzip" && unzipped(t, got.body) != whole.body {
			t.Errorf("%q: it is another script", accept)
		}
		again := ask(script, accept, got.header.Get("ETag"))
		if again.status != http.StatusNotModified || again.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q again: %d %v", accept, again.status, again.header)
		}
	}
	short := ask("/", "gzip, br", "")
	if unzipped(t, short.body) != index.body || short.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("the page: %v", short.header)
	}
	for _, path := range []string{script + ".br", script + ".gz", "/.gz"} {
		if got := ask(path, "identity", ""); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func unzipped(t *testing.T, body string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
