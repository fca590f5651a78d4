package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// large is more than the kernels' buffers take of a file whose client does not read.
const large = 48 << 20

type begun struct {
	engine.Download
	URL string `json:"url"`
}

// download begins a watched download.
func (s *server) download(t testing.TB, artifact string, header ...string) begun {
	t.Helper()
	a := s.tus(t, http.MethodPost, "/v1/artifacts/"+artifact+"/downloads", nil, header...)
	var d begun
	a.into(t.(*testing.T), &d)
	if a.status != http.StatusCreated || a.header.Get("Location") != "/v1/downloads/"+d.ID || d.URL != "/v1/artifacts/"+artifact+"?download="+d.ID {
		t.Fatalf("begin: %+v", a)
	}
	return d
}

func (s *server) watched(t *testing.T, id string, header ...string) (d engine.Download) {
	t.Helper()
	a := s.tus(t, http.MethodGet, "/v1/downloads/"+id, nil, header...)
	if a.status != http.StatusOK {
		t.Fatalf("download %s: %+v", id, a)
	}
	a.into(t, &d)
	return d
}

// shows waits until a download is in a state, with so many bytes.
func (s *server) shows(t *testing.T, id string, state engine.DownloadState, done int64) (d engine.Download) {
	t.Helper()
	eventually(t, fmt.Sprintf("the download to be %s at %d", state, done), func() bool {
		d = s.watched(t, id)
		return d.State == state && d.Done == done
	})
	return d
}

// A taking is a GET whose bytes the test reads as it likes.
type taking struct {
	t    testing.TB
	conn net.Conn
	body io.Reader
}

func (s *server) taking(t testing.TB, url string, header ...string) *taking {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test may have
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET "+url+" HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: close\r\n"+strings.Join(header, "")+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // it ends with the connection
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("get: %+v, %v", resp, err)
	}
	return &taking{t, conn, resp.Body}
}

func (g *taking) read(n int64) {
	g.t.Helper()
	if _, err := io.CopyN(io.Discard, g.body, n); err != nil {
		g.t.Fatal(err)
	}
}

func (g *taking) hangUp() { _ = g.conn.Close() }

// The bar of a download is the union of what was written for any of its requests. Records of it pass all
// who follow the topic.
func TestWatchedDownload(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	p := start(t, e, topic)
	file := strings.Repeat("0123456789", 1000)
	a := p.artifact(d, topic, "orders.csv", []byte(file))
	end := p.succeed()
	c := s.client(t)
	h := c.subscribe("a", topic, "", "")
	c.untilLive("a")

	w := s.download(t, a.ID)
	if w.Size != 10_000 || w.Done != 0 || w.State != engine.DownloadStateRunning || w.Artifact != a.ID || w.Topic != topic ||
		w.ExpiresAt.Sub(w.CreatedAt) > 24*time.Hour || !w.ExpiresAt.After(w.CreatedAt) {
		t.Errorf("begun: %+v", w)
	}
	get := func(want int, header ...string) {
		t.Helper()
		if a := s.tus(t, http.MethodGet, w.URL, nil, header...); a.status != want {
			t.Errorf("%q: %d, want %d", header, a.status, want)
		}
	}
	get(http.StatusPartialContent, "Range", "bytes=1000-1999")
	s.shows(t, w.ID, engine.DownloadStateRunning, 1000)
	if a := s.tus(t, http.MethodHead, w.URL, nil); a.status != http.StatusOK {
		t.Errorf("head: %+v", a)
	}
	get(http.StatusNotModified, "If-None-Match", `"`+a.SHA256+`"`)
	get(http.StatusRequestedRangeNotSatisfiable, "Range", "bytes=10000-")
	get(http.StatusPreconditionFailed, "If-Match", `"other"`)
	get(http.StatusPartialContent, "Range", "bytes=0-99,5000-5999")
	get(http.StatusPartialContent, "Range", "bytes=1500-2499")
	s.shows(t, w.ID, engine.DownloadStateRunning, 1500) // and nothing of what was between
	get(http.StatusPartialContent, "Range", "bytes=-1000")
	s.shows(t, w.ID, engine.DownloadStateRunning, 2500)
	if list := s.tus(t, http.MethodGet, "/v1/downloads", nil); list.status != http.StatusOK || strings.Count(list.body, w.ID) != 1 {
		t.Errorf("list: %+v", list)
	}
	get(http.StatusOK)
	if v := s.shows(t, w.ID, engine.DownloadStateCompleted, 10_000); v.EndedAt.IsZero() || v.Reason != "" {
		t.Errorf("completed: %+v", v)
	}
	if list := s.tus(t, http.MethodGet, "/v1/downloads", nil); list.status != http.StatusOK || list.body != `{"downloads":[]}`+"\n" {
		t.Errorf("list: %+v", list)
	}
	get(http.StatusPartialContent, "Range", "bytes=9000-") // its client may lack some of it
	s.tus(t, http.MethodDelete, "/v1/downloads/"+w.ID, nil).is(t, "cancel of a completed one", http.StatusConflict, "ended")

	c.until("the download has completed", func() bool {
		return slices.ContainsFunc(h.records, func(r engine.Record) bool { return r.Type == engine.DownloadCompleted })
	})
	seen := map[int64]bool{}
	for _, r := range h.records {
		if r.ID != "" || r.Download == nil || r.Download.ID != w.ID || seen[r.Download.Rev] {
			t.Fatalf("record %+v behind the revisions %v", r, seen)
		}
		seen[r.Download.Rev] = true
	}
	if h.records[0].Type != engine.DownloadStarted || h.cursor != end || len(recorded(t, e, topic, end)) != 0 {
		t.Errorf("the first of %d records is %s; the cursor is %s", len(h.records), h.records[0].Type, h.cursor)
	}

	empty := start(t, e, topic).artifact(d, topic, "empty.csv", nil)
	w = s.download(t, empty.ID)
	get(http.StatusOK)
	s.shows(t, w.ID, engine.DownloadStateCompleted, 0)
}

// Only who has begun a download may use it, and only with the right to read its file: for all others it is
// as unknown as one that never was.
func TestDownloadsAreTheirUsers(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	p, other := start(t, e, topic), start(t, e, "user:7")
	a, b := p.artifact(d, topic, "a.csv", []byte("a,b\n")), p.artifact(d, topic, "b.csv", []byte("a,b\n"))
	foreign := other.artifact(d, "user:7", "a.csv", []byte("a,b\n"))
	w := s.download(t, a.ID, "X-Who", "carol") // who may read, and no more
	var bodies []string
	unknown := func(what, method, path string, header ...string) {
		t.Helper()
		got := s.tus(t, method, path, nil, header...)
		got.is(t, what, http.StatusNotFound, "not_found")
		if bodies = append(bodies, got.body); got.body != bodies[0] {
			t.Errorf("%s tells more: %s", what, got.body)
		}
	}
	never := strings.Repeat("A", 26)
	for what, id := range map[string]string{"another user's": w.ID, "none": never, "no ID": "x", "a key": "..%2Fdue"} {
		unknown(what, http.MethodGet, "/v1/downloads/"+id)
		unknown(what, http.MethodDelete, "/v1/downloads/"+id)
		unknown(what, http.MethodGet, "/v1/artifacts/"+a.ID+"?download="+id)
	}
	unknown("of another file", http.MethodGet, "/v1/artifacts/"+b.ID+"?download="+w.ID, "X-Who", "carol")
	s.tus(t, http.MethodPost, "/v1/artifacts/"+foreign.ID+"/downloads", nil).is(t, "a foreign file", http.StatusNotFound, "not_found")
	s.tus(t, http.MethodPost, "/v1/artifacts/x/downloads", nil).is(t, "no file", http.StatusNotFound, "not_found")
	s.tus(t, http.MethodGet, "/v1/artifacts/"+a.ID+"?download=", nil).is(t, "an empty ID", http.StatusBadRequest, "invalid")
	if list := s.tus(t, http.MethodGet, "/v1/downloads", nil); list.body != `{"downloads":[]}`+"\n" {
		t.Errorf("another user's list: %+v", list)
	}
	if got := s.tus(t, http.MethodGet, w.URL, nil, "X-Who", "carol"); got.status != http.StatusOK || got.body != "a,b\n" {
		t.Errorf("its user's: %+v", got)
	}

	for range engine.MaxDownloads {
		s.download(t, a.ID)
	}
	s.tus(t, http.MethodPost, "/v1/artifacts/"+a.ID+"/downloads", nil).is(t, "one too many", http.StatusTooManyRequests, "limit")
	s.download(t, a.ID, "X-Who", "bob")
}

// A gateway that is lost has written more than it has reported. Another one goes on, and the download
// completes.
func TestDownloadGoesOnAtAnotherGateway(t *testing.T) {
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	lost := open(t, proxy.URL(), func(o *engine.Options) { o.CommitTimeout = time.Second })
	e, d := openSame(t, server.URL(), lost), newDepot(t)
	first, second := d.serve(t, lost, nil), d.serve(t, e, nil)
	a := start(t, e, topic).artifact(d, topic, "large.csv", make([]byte, large))
	w := first.download(t, a.ID)
	g := first.taking(t, w.URL)
	g.read(large / 4)
	eventually(t, "the bar to move", func() bool { return second.watched(t, w.ID).Done > 0 })
	proxy.Refuse()
	proxy.CutAll()
	g.read(large / 4)
	g.hangUp()
	if now := second.watched(t, w.ID); now.Done >= large/2 || now.State != engine.DownloadStateRunning {
		t.Fatalf("the lost gateway has reported all: %+v", now)
	}
	second.taking(t, w.URL, fmt.Sprintf("Range: bytes=%d-\r\n", large/2)).read(large / 2)
	eventually(t, "the download to complete", func() bool {
		// Gateways do so now and then.
		if err := runtime.Of(e).LapseDownloads(soon(t)); err != nil {
			t.Fatal(err)
		}
		v := second.watched(t, w.ID)
		return v.State == engine.DownloadStateCompleted && v.Done == large
	})
}

// credentialed is everybody, all with one credential.
type credentialed struct{ everybody }

func (c credentialed) Authenticate(r *http.Request) (*auth.Principal, error) {
	p, err := c.everybody.Authenticate(r)
	p.Credential = "c"
	return p, err
}

// A download ends when nothing of it was written for a lease, when its user cancels it, and with its file.
func TestDownloadsAreAborted(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.Auth, o.DownloadLease = credentialed{}, 2*time.Second })
	p := start(t, e, topic)
	a := p.artifact(d, topic, "large.csv", make([]byte, large))
	c := s.client(t)
	h := c.subscribe("a", topic, "", "")
	c.untilLive("a")
	aborted := func(id, reason string) {
		t.Helper()
		c.until("download "+id+" is aborted", func() bool {
			for _, r := range h.records {
				if r.Type == engine.DownloadAborted && r.Download.ID == id {
					return r.Download.Reason == reason
				}
			}
			return false
		})
		if v := s.watched(t, id); v.State != engine.DownloadStateAborted || v.Reason != reason {
			t.Errorf("%+v, want it aborted: %s", v, reason)
		}
	}

	w := s.download(t, a.ID)
	if got := s.tus(t, http.MethodGet, w.URL, nil, "Range", "bytes=0-999"); got.status != http.StatusPartialContent {
		t.Fatal(got)
	}
	aborted(w.ID, engine.ReasonLapsed)
	if got := s.tus(t, http.MethodGet, w.URL, nil, "Range", "bytes=0-999"); got.status != http.StatusPartialContent {
		t.Errorf("the bytes of one that has lapsed: %d", got.status)
	}

	// While its client takes a little now and then it does not lapse, however long that takes.
	w = s.download(t, a.ID)
	g := s.taking(t, w.URL)
	g.read(1000)
	other := s.download(t, a.ID)
	aborted(other.ID, engine.ReasonLapsed)
	if v := s.watched(t, w.ID); v.State != engine.DownloadStateRunning {
		t.Errorf("a slow one: %+v", v)
	}
	for range 2 {
		if got := s.tus(t, http.MethodDelete, "/v1/downloads/"+w.ID, nil); got.status != http.StatusNoContent {
			t.Errorf("cancel: %+v", got)
		}
	}
	eventually(t, "the gateway to stop", func() bool { return s.UsesOf("c", "download") == 0 })
	if n, err := io.Copy(io.Discard, g.body); err == nil {
		t.Errorf("the canceled download went on to its end, by %d bytes", n)
	}
	aborted(w.ID, engine.ReasonCanceled)
	s.tus(t, http.MethodGet, w.URL, nil).is(t, "a canceled one", http.StatusConflict, "ended")

	w = s.download(t, a.ID)
	m, err := artifacts.Published(soon(t), d.blobs, artifacts.Place{Topic: topic, Job: p.job, Name: a.Name})
	if err != nil {
		t.Fatal(err)
	}
	m.Gone = artifacts.OverQuota
	if err := artifacts.Publish(soon(t), d.blobs, m); err != nil {
		t.Fatal(err)
	}
	s.tus(t, http.MethodGet, w.URL, nil).is(t, "a file that had to go", http.StatusGone, "gone")
	aborted(w.ID, engine.ReasonQuota)
}

// While Redis is away the bytes go on, and the bar follows when it is back.
func TestDownloadWithoutRedis(t *testing.T) {
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	e := open(t, proxy.URL(), func(o *engine.Options) { o.CommitTimeout = time.Second })
	watcher, d := openSame(t, server.URL(), e), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.DownloadLease = 4 * time.Second })
	a := start(t, watcher, topic).artifact(d, topic, "large.csv", make([]byte, large))
	now := func(id string) engine.Download {
		v, err := runtime.Of(watcher).Download(soon(t), id, "alice")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	running, over := s.download(t, a.ID), s.download(t, a.ID)
	g, last := s.taking(t, running.URL), s.taking(t, over.URL)
	g.read(1000)
	last.read(1000)
	eventually(t, "both bars to move", func() bool { return now(running.ID).Done > 0 && now(over.ID).Done > 0 })

	proxy.Refuse()
	proxy.CutAll()
	before := now(running.ID).Done
	g.read(large / 2)
	last.read(large - 1000) // a request that is over before Redis is back
	if v := now(running.ID); v.Done != before {
		t.Errorf("the bar is at %d although Redis is away, after %d", v.Done, before)
	}
	proxy.Accept()
	eventually(t, "the bar to follow", func() bool { return now(running.ID).Done > large/2 })
	eventually(t, "the other to complete", func() bool { return now(over.ID).State == engine.DownloadStateCompleted })
	g.read(large/2 - 1000)
	eventually(t, "it to complete", func() bool { return now(running.ID).State == engine.DownloadStateCompleted })
}
