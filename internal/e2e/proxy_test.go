package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// nginxByTheDocs is the configuration of docs/protocol.md, "Behind a proxy".
func nginxByTheDocs(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## Behind a proxy\n")
	_, text, begins := strings.Cut(chapter, "```nginx\n")
	text, _, ends := strings.Cut(text, "\n```\n")
	if !begins || !ends {
		t.Fatal("docs/protocol.md has no configuration for nginx")
	}
	return text
}

// startNginx runs nginx with a configuration, in front of the gateway that it names as
// 127.0.0.1:8080, and returns its address.
func startNginx(t *testing.T, site, gateway string) (*process, string) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // which is not on everybody's PATH
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("there is no nginx on the PATH or in /usr/sbin: run internal/setup/setup.sh")
	}
	port, err := redisproc.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strconv.Itoa(port)
	dir := t.TempDir()
	site = strings.NewReplacer("listen 80;", "listen "+addr+";", "127.0.0.1:8080", gateway).Replace(site)
	var paths strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off;\nmaster_process off;\npid %s;\nerror_log stderr info;\nevents {}\nhttp {\naccess_log off;\n%s%s\n}\n",
		filepath.Join(dir, "pid"), paths.String(), site)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "nginx", nil, program, "-p", dir, "-e", "stderr", "-c", config)
	p.awaitLog("event method") // it listens by then
	return p, addr
}

// The page works behind nginx as docs/protocol.md configures it: it is live, and its bar moves
// while a file is on its way in one request.
func TestPageBehindNginxByTheDocs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, addr := startNginx(t, nginxByTheDocs(t), s.addr)
	w := newWire(t, addr)
	w.throttle(4 << 20)
	b := newBrowser(t, nil)
	b.open(w.url())
	b.await("badge", "live", 0)
	file, _ := writeTable(t, "orders.csv", 8<<20)
	b.drop(file)
	// A proxy that keeps a request until it is whole would let the bar go from 0 to 50 at once.
	b.process.await("a part of the upload", 0, func(l line) bool {
		percent := l.number("percent")
		return l.text("state") == "receiving" && percent > 0 && percent < 49
	})
	w.throttle(0)
	b.awaitState("succeeded")
	b.await("profile", "Rows", 0)
	b.checkAgreement()
	b.checkQuiet()
	b.close()
	s.stop()
}

// A file passes an nginx that bounds and buffers requests as it does by itself, in parts that it
// takes: from the page, from the command line, and from tus-js-client with the setting that
// docs/protocol.md names.
func TestUploadsPassAnNginxThatBoundsRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	unbounded := regexp.MustCompile(`(?m)^ *(client_max_body_size|proxy_request_buffering|proxy_buffering) .*\n`)
	site := nginxByTheDocs(t)
	if n := len(unbounded.FindAllString(site, -1)); n != 3 {
		t.Fatalf("docs/protocol.md tells nginx %d of the 3 things that it is not told here", n)
	}
	nginx, addr := startNginx(t, unbounded.ReplaceAllString(site, ""), s.addr)
	watch := s.watch()

	b := newBrowser(t, nil)
	b.open("http://" + addr + "/")
	b.await("badge", "live", 0)
	file, _ := writeTable(t, "page.csv", 5<<20)
	b.drop(file)
	b.awaitState("succeeded")
	nginx.awaitLog("client intended to send too large body")
	b.close()

	other, _ := writeTable(t, "line.csv", 5<<20+1)
	analyze := start(t, "analyze", nil, s.program, "analyze", "--json", "--server", "http://"+addr, other)
	<-analyze.ended
	if analyze.err != nil {
		t.Errorf("analyze ended with %v", analyze.err)
	}
	// tus-js-client does not find the size of its parts by itself.
	third, _ := writeTable(t, "tus.csv", 5<<20+2)
	tus := script(t, "tus-js-client", nil, "node/tus.mjs", "http://"+addr, topic, strconv.Itoa(1<<20), third)
	tus.await("the end of the upload", 0, func(l line) bool { return l.text("event") == "done" })
	for _, l := range tus.all() {
		if l.text("event") == "refused" {
			t.Errorf("tus-js-client: %v", l)
		}
	}
	checkStored(t, s, watch, map[string]string{"page.csv": file, "line.csv": other, "tus.csv": third})
	s.stop()
}

// A file passes a proxy that hangs up on long requests without a word.
func TestUploadPassesAProxyThatHangsUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	to := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: s.addr})
		r.Out.Host = r.In.Host // the page's origin
	}}
	const most = 20 // Chromium repeats some requests by itself
	var hungUp atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Who does not learn gets through in the end, or the test would not end.
		if r.ContentLength <= 1<<20 || hungUp.Add(1) > most {
			to.ServeHTTP(w, r)
			return
		}
		_, _ = io.CopyN(io.Discard, r.Body, 64<<10)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}))
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	watch := s.watch()
	b := newBrowser(t, nil)
	b.open(proxy.URL + "/")
	b.await("badge", "live", 0)
	file, _ := writeTable(t, "page.csv", 3<<20)
	b.drop(file)
	b.awaitState("succeeded")
	checkStored(t, s, watch, map[string]string{"page.csv": file})
	if n := hungUp.Load(); n == 0 || n > most {
		t.Errorf("the proxy has hung up %d times, want some, and at most %d", n, most)
	}
	b.close()
	s.stop()
}

// checkStored checks that each upload's job has succeeded with the bytes of its file.
func checkStored(t *testing.T, s *site, watch *process, files map[string]string) {
	t.Helper()
	for title, file := range files {
		end, _ := watch.await("the end of "+title, 0, func(l line) bool {
			job := l.within("job")
			return job.text("title") == title && job.text("ended_at") != ""
		})
		stored := filepath.Join(s.data, "blobs", "incoming", topic, end.within("job").text("id"))
		if end.text("type") != "job.succeeded" || digest(t, stored) != digest(t, file) {
			t.Errorf("%s: %s, and what is stored is what was sent: %v", title, end.text("type"), digest(t, stored) == digest(t, file))
		}
	}
}
