package gateway_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
)

// everybody says who a request is from by a header: alice and bob may do everything
// with user:42, carol may only read it.
type everybody struct{ auth.Dev }

func (everybody) Authenticate(r *http.Request) (*auth.Principal, error) {
	who := r.Header.Get("X-Who")
	if who == "" {
		who = "alice"
	}
	rights := auth.Read
	if who != "carol" {
		rights |= auth.Enqueue | auth.Control
	}
	return &auth.Principal{Subject: who, Grants: []auth.Grant{{Topics: string(topic), Rights: rights}}}, nil
}

// A depot is a data folder, and the gateways and workers that share it.
type depot struct {
	dir   string
	blobs *blob.Bucket
}

func newDepot(t testing.TB) *depot {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blobs")
	blobs, err := fileblob.OpenBucket(dir, &fileblob.Options{CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	return &depot{dir, blobs}
}

// serve runs a gateway with uploads.
func (d *depot) serve(t testing.TB, e *engine.Engine, change func(*gateway.Options)) *server {
	t.Helper()
	return serve(t, e, func(o *gateway.Options) {
		o.Auth, o.Blobs, o.BlobDir = everybody{}, d.blobs, d.dir
		o.SweepInterval = 20 * time.Millisecond
		o.ControlTimeout = time.Minute // of tests without Redis
		if change != nil {
			change(o)
		}
	})
}

func (d *depot) data(job engine.JobID) string {
	return filepath.Join(d.dir, "incoming", string(topic), string(job))
}

func (d *depot) ticket(place string, job engine.JobID) string {
	return filepath.Join(d.dir, "incoming", ".uploads", place, string(job)+".json")
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// metadata encodes pairs of keys and values.
func metadata(pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
	}
	return strings.Join(all, ",")
}

// tus sends a request of the protocol. body may be nil.
func (s *server) tus(t testing.TB, method, path string, body []byte, header ...string) answer {
	t.Helper()
	return s.tusFrom(t, method, path, bytes.NewReader(body), header...)
}

func (s *server) tusFrom(t testing.TB, method, path string, body io.Reader, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(soon(t), method, s.url(path), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// announce makes an upload of a CSV.
func (s *server) announce(t testing.TB, size int, header ...string) engine.JobID {
	t.Helper()
	a := s.tus(t, http.MethodPost, "/v1/uploads", nil, append([]string{
		"Upload-Length", strconv.Itoa(size), "Upload-Metadata", metadata("topic", string(topic), "type", "analysis", "filename", "orders.csv"),
	}, header...)...)
	job, ok := strings.CutPrefix(a.header.Get("Location"), "/v1/uploads/")
	if a.status != http.StatusCreated || !ok {
		t.Fatalf("announce: %+v", a)
	}
	return engine.JobID(job)
}

// patch sends bytes from an offset on.
func (s *server) patch(t testing.TB, job engine.JobID, offset int, part []byte, header ...string) answer {
	t.Helper()
	return s.tus(t, http.MethodPatch, "/v1/uploads/"+string(job), part, append([]string{
		"Upload-Offset", strconv.Itoa(offset), "Content-Type", "application/offset+octet-stream",
	}, header...)...)
}

// offset asks for the offset of an upload.
func (s *server) offset(t testing.TB, job engine.JobID) int {
	t.Helper()
	a := s.tus(t, http.MethodHead, "/v1/uploads/"+string(job), nil)
	n, err := strconv.Atoi(a.header.Get("Upload-Offset"))
	if a.status != http.StatusOK || err != nil {
		t.Fatalf("head: %+v", a)
	}
	return n
}

// A sending is a PATCH whose bytes the test sends as it likes.
type sending struct {
	t    testing.TB
	conn net.Conn
}

func (s *server) sending(t testing.TB, job engine.JobID, offset, length int) *sending {
	t.Helper()
	return s.dialed(t, job, offset, "Content-Length: "+strconv.Itoa(length))
}

// dialed begins a PATCH whose body is as a header says.
func (s *server) dialed(t testing.TB, job engine.JobID, offset int, body string) *sending {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test may have
	st := &sending{t, conn}
	st.send([]byte("PATCH /v1/uploads/" + string(job) + " HTTP/1.1\r\nHost: " + s.addr + "\r\nTus-Resumable: 1.0.0\r\n" +
		"Content-Type: application/offset+octet-stream\r\nUpload-Offset: " + strconv.Itoa(offset) + "\r\n" + body + "\r\n\r\n"))
	return st
}

func (s *sending) send(b []byte) {
	s.t.Helper()
	if _, err := s.conn.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// answer reads what the gateway says, up to its closing the connection or the end of
// the answer: that of a problem, or of a header without a body.
func (s *sending) answer() string {
	s.t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	var text bytes.Buffer
	b := make([]byte, 4096)
	for !strings.HasSuffix(text.String(), "}\n") && !strings.HasPrefix(text.String(), "HTTP/1.1 204") {
		n, err := s.conn.Read(b)
		text.Write(b[:n])
		if err != nil {
			break
		}
	}
	return text.String()
}

// eventually looks until what is looked for is there.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx := soon(t)
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("waited for %s", what)
		}
	}
}

// view reads a job.
func view(t testing.TB, e *engine.Engine, job engine.JobID) engine.Job {
	t.Helper()
	v, err := e.Job(soon(t), job)
	if err != nil {
		t.Fatal(err)
	}
	j, err := v.Job()
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func inState(t testing.TB, e *engine.Engine, job engine.JobID, want engine.State) {
	t.Helper()
	eventually(t, "job "+string(job)+" to be "+string(want), func() bool { return view(t, e, job).State == want })
}

// historyOf reads a job's history so far, and holds it to what every job promises.
func historyOf(t testing.TB, e *engine.Engine, job engine.JobID) []engine.Record {
	t.Helper()
	var all []engine.Record
	percent, ends := 0.0, 0
	page, err := stream.Of(e).Replay(soon(t), topic, engine.Beginning)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range page.Entries {
		if entry.JobID() != job {
			continue
		}
		r, err := entry.Record()
		if err != nil {
			t.Fatal(err)
		}
		if r.Job.Percent < percent {
			t.Errorf("percent fell from %v to %v in %s", percent, r.Job.Percent, entry.JSON)
		}
		if percent = r.Job.Percent; r.Type.Terminal() {
			ends++
		}
		all = append(all, r)
	}
	if ends > 1 {
		t.Errorf("job %s has %d ends", job, ends)
	}
	return all
}

func countOf(all []engine.Record, kind engine.RecordType) int {
	n := 0
	for _, r := range all {
		if r.Type == kind {
			n++
		}
	}
	return n
}

// artifact has a run write a file and close it.
func (p *pen) artifact(d *depot, topic engine.Topic, name string, data []byte) engine.Artifact {
	p.t.Helper()
	by := fmt.Sprintf("%d.%s", p.fence.Attempt, p.fence.Token)
	w, err := artifacts.NewWriter(soon(p.t), d.blobs, artifacts.Place{Topic: topic, Job: p.job, Name: name}, by, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		p.t.Fatal(err)
	}
	m, err := w.Seal(artifacts.TypeOf(name), time.Now(), time.Time{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(runtime.Report{Type: engine.JobArtifact, Artifacts: []engine.Artifact{m.Artifact}})
	if err := artifacts.Publish(soon(p.t), d.blobs, m); err != nil {
		p.t.Fatal(err)
	}
	return m.Artifact
}
