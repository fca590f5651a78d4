package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

func TestArtifacts(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	job, foreign := enqueue(t, e, topic), enqueue(t, e, "user:7")
	const page = `<script>alert(1)</script>`
	for key, text := range map[string]string{
		"artifacts/" + string(job) + "/profile.json":     `{"rows":3}`,
		"artifacts/" + string(job) + "/page.html":        page,
		"artifacts/" + string(job) + "/.hidden":          "hidden",
		"artifacts/" + string(job) + "/sub/x":            "deeper",
		"artifacts/" + string(foreign) + "/profile.json": `{"rows":7}`,
		"incoming/user:42/" + string(job):                "bytes",
	} {
		if err := d.blobs.WriteAll(t.Context(), key, []byte(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	get := func(id string, header ...string) answer {
		return s.tus(t, http.MethodGet, "/v1/artifacts/"+id, nil, header...)
	}
	a := get(string(job) + ".profile.json")
	if a.status != http.StatusOK || a.body != `{"rows":3}` || a.header.Get("Content-Type") != "application/json" ||
		a.header.Get("Content-Disposition") != `attachment; filename="profile.json"` || a.header.Get("X-Content-Type-Options") != "nosniff" ||
		a.header.Get("Content-Security-Policy") != "sandbox; default-src 'none'" {
		t.Errorf("artifact: %+v", a)
	}
	if a := get(string(job)+".page.html", "Range", "bytes=8-12"); a.status != http.StatusPartialContent || a.body != page[8:13] ||
		a.header.Get("Content-Range") != "bytes 8-12/25" || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("a range: %+v", a)
	}
	if a := get(string(job)+".page.html", "Range", "bytes=99-"); a.status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range beyond the end: %+v", a)
	}
	if a := s.tus(t, http.MethodHead, "/v1/artifacts/"+string(job)+".profile.json", nil); a.status != http.StatusOK || a.header.Get("Content-Length") != "10" {
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
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
	if j := view(t, e, job); j.State != engine.Canceled {
		t.Fatal(j)
	}
	if a := get(string(job) + ".profile.json"); a.status != http.StatusOK {
		t.Errorf("an artifact of an ended job: %+v", a)
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
		a.header.Get("Content-Disposition") != "attachment; filename*=utf-8''Ums%C3%A4tze%20_%20M%C3%A4rz.csv" ||
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
