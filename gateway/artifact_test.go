package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
)

func TestArtifacts(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	p, other := start(t, e, topic), start(t, e, "user:7")
	job, foreign := p.job, other.job
	const page = `<script>alert(1)</script>`
	profile := p.artifact(d, topic, "profile.json", []byte(`{"rows":3}`))
	p.artifact(d, topic, "page.html", []byte(page))
	p.artifact(d, topic, "empty.csv", nil)
	other.artifact(d, "user:7", "profile.json", []byte(`{"rows":7}`))
	get := func(id string, header ...string) answer {
		return s.tus(t, http.MethodGet, "/v1/artifacts/"+id, nil, header...)
	}
	tag := `"` + profile.SHA256 + `"`
	a := get(profile.ID)
	if a.status != http.StatusOK || a.body != `{"rows":3}` || a.header.Get("Content-Type") != "application/json" || a.header.Get("ETag") != tag ||
		a.header.Get("Content-Disposition") != `attachment; filename="profile.json"` || a.header.Get("X-Content-Type-Options") != "nosniff" ||
		a.header.Get("Content-Security-Policy") != "sandbox; default-src 'none'" || a.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("artifact: %+v", a)
	}
	if a := get(string(job)+".page.html", "Range", "bytes=8-12"); a.status != http.StatusPartialContent || a.body != page[8:13] ||
		a.header.Get("Content-Range") != "bytes 8-12/25" || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("a range: %+v", a)
	}
	if a := get(string(job)+".page.html", "Range", "bytes=99-"); a.status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range beyond the end: %+v", a)
	}
	if a := get(profile.ID, "Range", "bytes=8-", "If-Range", tag); a.status != http.StatusPartialContent || a.body != "3}" {
		t.Errorf("the rest of the same file: %+v", a)
	}
	if a := get(profile.ID, "Range", "bytes=8-", "If-Range", `"other"`); a.status != http.StatusOK || a.body != `{"rows":3}` {
		t.Errorf("the rest of another file: %+v", a)
	}
	if a := get(profile.ID, "If-None-Match", tag); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("a file that the client has: %+v", a)
	}
	if a := get(string(job) + ".empty.csv"); a.status != http.StatusOK || a.body != "" {
		t.Errorf("an empty file: %+v", a)
	}
	if a := s.tus(t, http.MethodHead, "/v1/artifacts/"+profile.ID, nil); a.status != http.StatusOK || a.header.Get("Content-Length") != "10" || a.header.Get("ETag") != tag {
		t.Errorf("head: %+v", a)
	}
	if a := get(string(job)+".profile.json", "X-Who", "carol"); a.status != http.StatusOK {
		t.Errorf("a reader: %+v", a)
	}
	never, err := runtime.Of(e).NewJobID(topic)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, id := range []string{
		string(foreign) + ".profile.json", string(never) + ".profile.json", string(job) + ".other.json", string(job) + "..hidden",
		string(job) + ".sub%2Fx", string(job) + ".", string(job), string(job) + ".%2E%2E%2F" + string(foreign) + "%2Fprofile.json",
		"x", string(job) + "xprofile.json", string(job) + "." + strings.Repeat("x", 129), string(job) + ".a%20b", string(job) + ".x.attrs", "00" + strings.Repeat("!", 26) + ".x",
	} {
		a := get(id)
		a.is(t, id, http.StatusNotFound, "not_found")
		if bodies = append(bodies, a.body); a.body != bodies[0] {
			t.Errorf("%s tells more: %s", id, a.body)
		}
	}
	p.succeed()
	if a := get(string(job) + ".profile.json"); a.status != http.StatusOK {
		t.Errorf("an artifact of an ended job: %+v", a)
	}
}

// Artifacts outlive what Redis knows of their job. What has expired, or had to go, is gone, to those who
// could read it; to others there never was any.
func TestArtifactsOutliveTheirJob(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	p, other := start(t, e, topic), start(t, e, "user:7")
	a := p.artifact(d, topic, "report.csv", []byte("a,b\n"))
	foreign := other.artifact(d, "user:7", "report.csv", []byte("a,b\n"))
	p.succeed()
	other.succeed()
	for _, job := range []engine.JobID{p.job, other.job} {
		if err := e.Redis().Del(soon(t), fmt.Sprintf("%s:{%s}:j:%s", lastNamespace(), job[:2], job)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	get := func(id string) answer { return s.tus(t, http.MethodGet, "/v1/artifacts/"+id, nil) }
	if got := get(a.ID); got.status != http.StatusOK || got.body != "a,b\n" {
		t.Errorf("of a job that Redis has forgotten: %+v", got)
	}
	get(foreign.ID).is(t, "another's", http.StatusNotFound, "not_found")

	at := artifacts.Place{Topic: topic, Job: p.job, Name: a.Name}
	m, err := artifacts.Published(soon(t), d.blobs, at)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Second)
	for want, change := range map[string]func(*artifacts.Manifest){
		"expired": func(m *artifacts.Manifest) { m.ExpiresAt = &past },
		"room":    func(m *artifacts.Manifest) { m.Gone = artifacts.OverQuota },
	} {
		changed := *m
		change(&changed)
		if err := artifacts.Publish(soon(t), d.blobs, &changed); err != nil {
			t.Fatal(err)
		}
		got := get(a.ID)
		got.is(t, want, http.StatusGone, "gone")
		if !strings.Contains(got.body, want) {
			t.Errorf("%s: %s", want, got.body)
		}
	}
}

// The uploaded file of a job is for every client that may read the job, once a worker has begun it.
func TestUploadedFileOfAJob(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	file := []byte("id,total\n1,2\n")
	get := func(job engine.JobID, header ...string) answer {
		return s.tus(t, http.MethodGet, "/v1/jobs/"+string(job)+"/upload", nil, header...)
	}
	var bodies []string
	unknown := func(what string, job engine.JobID, header ...string) {
		t.Helper()
		a := get(job, header...)
		a.is(t, what, http.StatusNotFound, "not_found")
		if bodies = append(bodies, a.body); a.body != bodies[0] {
			t.Errorf("%s tells more: %s", what, a.body)
		}
	}
	job := s.announce(t, len(file), "Upload-Metadata", metadata("topic", string(topic), "type", "export", "title", "Umsätze / März.csv"))
	unknown("before a byte has come", job)
	s.patch(t, job, 0, file[:5])
	unknown("while bytes are missing", job)
	s.patch(t, job, 5, file[5:])
	eventually(t, "the job to be queued", func() bool { return view(t, e, job).State == engine.Queued })
	unknown("before a worker has begun", job)
	p := &pen{t: t, e: e, job: job, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	p.write(runtime.Report{Type: engine.JobStarted})
	if a := get(job); a.status != http.StatusOK || a.body != string(file) || a.header.Get("Content-Type") != "application/octet-stream" ||
		a.header.Get("Content-Disposition") != `attachment; filename="Ums_tze _ M_rz.csv"; filename*=UTF-8''Ums%C3%A4tze%20_%20M%C3%A4rz.csv` ||
		a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the file: %+v", a)
	}
	if a := get(job, "Range", "bytes=3-7"); a.status != http.StatusPartialContent || a.body != string(file[3:8]) {
		t.Errorf("a range: %+v", a)
	}
	if a := get(job, "X-Who", "carol"); a.status != http.StatusOK {
		t.Errorf("a reader: %+v", a)
	}
	p.fail()
	again, err := e.Retry(soon(t), job, engine.RetryQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if a := get(again.ID); a.status != http.StatusOK || a.body != string(file) {
		t.Errorf("the file of a retry: %+v", a)
	}
	unknown("of a job without a file", enqueue(t, e, topic))
	unknown("of a foreign job", enqueue(t, e, "user:7"))
	unknown("of no job", "x")
}
