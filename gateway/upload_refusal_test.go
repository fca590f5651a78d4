package gateway_test

import (
	"bytes"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
)

func TestAnnouncementsThatAreRefused(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.UploadBytes = 1 << 20 })
	good := []string{"topic", string(topic), "type", "analysis"}
	with := func(pairs ...string) string { return metadata(append(good[:len(good):len(good)], pairs...)...) }
	for name, c := range map[string]struct {
		length, meta string
		status       int
		code, says   string
		header       []string
	}{
		"no length":           {"", with(), 400, "invalid", "Upload-Length", nil},
		"a negative length":   {"-1", with(), 400, "invalid", "Upload-Length", nil},
		"a length of letters": {"many", with(), 400, "invalid", "Upload-Length", nil},
		"nothing":             {"0", with(), 400, "invalid", "This file is empty.", nil},
		"too much":            {"1048577", with(), 413, "too_large", "at most 1048576 bytes", nil},
		"a length to come":    {"", with(), 400, "invalid", "Upload-Defer-Length", []string{"Upload-Defer-Length", "1"}},
		"a part of another":   {"9", with(), 400, "invalid", "Upload-Concat", []string{"Upload-Concat", "partial"}},
		"another method":      {"9", with(), 400, "invalid", "X-HTTP-Method-Override", []string{"X-HTTP-Method-Override", "PATCH"}},
		"another version":     {"9", with(), 412, "tus_version", "1.0.0", []string{"Tus-Resumable", "0.2.2"}},
		"no metadata":         {"9", "", 400, "invalid", "topic", nil},
		"no topic":            {"9", metadata("type", "analysis"), 400, "invalid", "topic", nil},
		"a malformed topic":   {"9", metadata("topic", "user:../x", "type", "analysis"), 400, "invalid", "topic", nil},
		"another's topic":     {"9", metadata("topic", "user:7", "type", "analysis"), 403, "forbidden", "", nil},
		"a read-only topic":   {"9", with(), 403, "forbidden", "", []string{"X-Who", "carol"}},
		"no type":             {"9", metadata("topic", string(topic)), 400, "invalid", "Type", nil},
		"a malformed type":    {"9", metadata("topic", string(topic), "type", "A/B"), 400, "invalid", "Type", nil},
		"no base64":           {"9", "topic not-base64!", 400, "invalid", `\"topic\" is not base64`, nil},
		"a key twice":         {"9", with("type", "analysis"), 400, "invalid", "twice", nil},
		"no UTF-8":            {"9", with("filename", "\xff\xfe"), 400, "invalid", "UTF-8", nil},
		"a long filename":     {"9", with("filename", strings.Repeat("x", 256)), 400, "invalid", "filename of 256 bytes", nil},
		"a long title":        {"9", with("title", strings.Repeat("x", 201)), 400, "invalid", "Title of 201", nil},
		"a malformed queue":   {"9", with("queue", "a b"), 400, "invalid", "Queue", nil},
		"a queue of rescues":  {"9", with("queue", "default-rescue"), 400, "invalid", "Queue", nil},
		"labels of a list":    {"9", with("labels", "[1]"), 400, "invalid", "labels", nil},
		"labels of numbers":   {"9", with("labels", `{"a":1}`), 400, "invalid", "labels", nil},
		"malformed labels":    {"9", with("labels", `{"A B":"x"}`), 400, "invalid", "label name", nil},
		"a payload of a list": {"9", with("payload", "[]"), 400, "invalid", "payload", nil},
		"a null payload":      {"9", with("payload", "null"), 400, "invalid", "payload", nil},
		"a torn payload":      {"9", with("payload", `{"a":`), 400, "invalid", "payload", nil},
	} {
		t.Run(name, func(t *testing.T) {
			header := append([]string{"Upload-Metadata", c.meta}, c.header...)
			if c.length != "" {
				header = append(header, "Upload-Length", c.length)
			}
			a := s.tus(t, http.MethodPost, "/v1/uploads", nil, header...)
			a.is(t, "announce", c.status, c.code)
			if !strings.Contains(a.body, c.says) || strings.Contains(a.body, "invalid request") || a.header.Get("Tus-Resumable") != "1.0.0" {
				t.Errorf("%+v, want it to say %q", a, c.says)
			}
		})
	}
	page, err := e.Jobs(soon(t), topic, engine.JobsQuery{})
	if err != nil || len(page.Jobs) != 0 || s.OpenUploads("alice") != 0 {
		t.Errorf("refused announcements left %d jobs, %v, and %d uploads", len(page.Jobs), err, s.OpenUploads("alice"))
	}
	for _, place := range []string{"open", "settled", "void"} {
		if left, err := os.ReadDir(d.dir + "/incoming/.uploads/" + place); err != nil || len(left) > 0 {
			t.Errorf("refused announcements left %v, %v", left, err)
		}
	}
}

// What an announcement says becomes the job, and the gateway has the last word about
// the file; HEAD repeats what the client said, and nothing else.
func TestAnnouncementBecomesTheJob(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.EnqueueTypes = []gateway.EnqueueType{{Type: "analysis", Queue: "bulk"}} })
	sent := map[string]string{
		"topic": string(topic), "type": "analysis", "filename": "Bestellungen “2025”.csv", "filetype": "text/csv", "title": "Orders",
		"queue": "bulk", "labels": `{"team":"sales"}`, "payload": `{"delimiter":";","blob":"uploads/secret","size":1}`, "flag": "",
	}
	var pairs []string
	for k, v := range sent {
		pairs = append(pairs, k, v)
	}
	// With the first and all bytes: creation-with-upload.
	a := s.tus(t, http.MethodPost, "/v1/uploads", []byte("a;b\n1;2\n"), "Upload-Length", "8", "Upload-Metadata", metadata(pairs...),
		"Content-Type", "application/offset+octet-stream")
	if a.status != http.StatusCreated || a.header.Get("Upload-Offset") != "8" {
		t.Fatalf("announce: %+v", a)
	}
	job := engine.JobID(strings.TrimPrefix(a.header.Get("Location"), "/v1/uploads/"))
	if j := view(t, e, job); j.Title != "Orders" || j.Labels["team"] != "sales" || j.State != engine.Queued {
		t.Errorf("the job is %+v", j)
	}
	fence := runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}
	acks, err := runtime.Of(e).Commit(soon(t), runtime.Report{Type: engine.JobStarted, Job: job, Fence: fence})
	if err != nil || acks[0].Err != nil {
		t.Fatal(acks, err)
	}
	want := `{"blob":"incoming/user:42/` + string(job) + `","delimiter":";","name":"Bestellungen “2025”.csv","size":8}`
	if got := acks[0].Started; string(got.Payload) != want || got.Queue != "bulk" || got.Share != 50 || got.CheckpointTenths != 500 {
		t.Errorf("the attempt is given %s in queue %s, share %d from %d; want %s", got.Payload, got.Queue, got.Share, got.CheckpointTenths, want)
	}
	head := s.tus(t, http.MethodHead, "/v1/uploads/"+string(job), nil)
	got := strings.Split(head.header.Get("Upload-Metadata"), ",")
	if len(got) != len(sent) || head.header.Get("Upload-Length") != "8" || head.header.Get("Upload-Offset") != "8" {
		t.Errorf("head: %+v", head)
	}
	for _, pair := range got {
		key, _, _ := strings.Cut(pair, " ")
		if strings.TrimSpace(pair) != strings.TrimSpace(metadata(key, sent[key])) {
			t.Errorf("head tells %q", pair)
		}
	}
}

// To all but its owner an upload is as unknown as one that never was.
func TestUploadsOfOthers(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	job := s.announce(t, 1000)
	never, err := runtime.Of(e).NewJobID(topic)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("intruding")
	for name, c := range map[string]struct{ id, who string }{
		"another of the topic": {string(job), "bob"}, "a reader": {string(job), "carol"}, "an unknown one": {string(never), "alice"},
		"no ID": {"..%2F..%2Fx", "alice"}, "a path": {string(job) + "%2F..%2F" + string(job), "alice"}, "a ticket": {string(job) + ".json", "alice"},
		"a short one": {"x", "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			var unknown []answer
			for _, do := range [][]string{
				{http.MethodHead},
				{http.MethodPatch},
				{http.MethodDelete},
				{http.MethodPost, "X-HTTP-Method-Override", "PATCH"},
				{http.MethodPost, "X-HTTP-Method-Override", "DELETE"},
				{http.MethodPost, "X-HTTP-Method-Override", "HEAD"},
			} {
				a := s.tus(t, do[0], "/v1/uploads/"+c.id, body, append(do[1:], "X-Who", c.who, "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")...)
				a.is(t, strings.Join(do, " "), http.StatusNotFound, "not_found")
				if unknown = append(unknown, a); do[0] != http.MethodHead && a.body != unknown[1].body {
					t.Errorf("%s tells more: %s", do, a.body)
				}
			}
		})
	}
	// Overriding with what is no method of an upload, or where there is none.
	s.tus(t, http.MethodPost, "/v1/uploads/"+string(job), body).is(t, "post", http.StatusMethodNotAllowed, "method")
	s.tus(t, http.MethodPost, "/v1/uploads/"+string(job), body, "X-HTTP-Method-Override", "GET").is(t, "get", http.StatusMethodNotAllowed, "method")
	s.tus(t, http.MethodGet, "/v1/uploads/"+string(job), nil).is(t, "get", http.StatusMethodNotAllowed, "method")
	// An answer to POST has a body of the length that it says.
	if a := s.tus(t, http.MethodPost, "/v1/uploads/"+string(job), nil, "X-HTTP-Method-Override", "HEAD"); a.status != http.StatusOK ||
		a.header.Get("Upload-Length") != "1000" || a.header.Get("Content-Length") != "0" {
		t.Errorf("overridden head: %+v", a)
	}
	// The header means nothing on any other method.
	if a := s.tus(t, http.MethodHead, "/v1/uploads/"+string(job), nil, "X-HTTP-Method-Override", "DELETE"); a.status != http.StatusOK {
		t.Errorf("head: %+v", a)
	}
	if n := s.offset(t, job); n != 0 {
		t.Errorf("an intruder wrote %d bytes", n)
	}
	if j := view(t, e, job); j.State != engine.Receiving {
		t.Errorf("an intruder left %+v", j)
	}
}

func TestPatchesThatAreRefused(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	job := s.announce(t, 10)
	s.patch(t, job, 0, []byte("12345"))
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
		header []string
	}{
		"no offset":         {"67890", 400, "invalid", []string{"Upload-Offset", ""}},
		"an offset behind":  {"67890", 409, "upload_offset", []string{"Upload-Offset", "4"}},
		"an offset ahead":   {"67890", 409, "upload_offset", []string{"Upload-Offset", "6"}},
		"a negative offset": {"67890", 400, "invalid", []string{"Upload-Offset", "-5"}},
		"too many bytes":    {"678901", 413, "too_large", nil},
		"another type":      {"67890", 415, "content_type", []string{"Content-Type", "application/json"}},
		"another length":    {"67890", 400, "invalid", []string{"Upload-Length", "20"}},
		"no version":        {"67890", 412, "tus_version", []string{"Tus-Resumable", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s.patch(t, job, 5, []byte(c.body), c.header...).is(t, "patch", c.status, c.code)
			if n := s.offset(t, job); n != 5 {
				t.Errorf("a refused patch leaves the upload at %d", n)
			}
		})
	}
}

// A length that overflows when it is added to the offset must not pass for a small one.
func TestPatchOfAnOverflowingLength(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	job := s.announce(t, 10)
	s.patch(t, job, 0, []byte("12345"))
	st := s.sending(t, job, 5, math.MaxInt64)
	st.send(bytes.Repeat([]byte("x"), 1000))
	if said := st.answer(); !strings.HasPrefix(said, "HTTP/1.1 413 ") || !strings.Contains(said, `"code":"too_large"`) {
		t.Errorf("answered %q", said)
	}
	if n := s.offset(t, job); n != 5 {
		t.Errorf("the upload of 10 bytes has the offset %d, want 5", n)
	}
}

// What a client garbles is no error of the gateway.
func TestPatchOfMalformedChunks(t *testing.T) {
	e, d := real(t), newDepot(t)
	var log bytes.Buffer
	s := d.serve(t, e, func(o *gateway.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	job := s.announce(t, 10)
	st := s.dialed(t, job, 0, "Transfer-Encoding: chunked")
	st.send([]byte("3\r\nabc\r\nzz\r\n"))
	if said := st.answer(); !strings.HasPrefix(said, "HTTP/1.1 503 ") || !strings.Contains(said, `"code":"upload_cut"`) {
		t.Errorf("answered %q", said)
	}
	if n := s.offset(t, job); n != 3 {
		t.Errorf("the offset is %d, want what had arrived, 3", n)
	}
	if err := s.Stop(t.Context()); err != nil || log.Len() > 0 {
		t.Errorf("logged %q, %v", &log, err)
	}
}

func TestUploadsOfAPrincipalAreBounded(t *testing.T) {
	e, d := real(t), newDepot(t)
	few := func(o *gateway.Options) { o.UploadsPerPrincipal = 2 }
	s := d.serve(t, e, few)
	file := []byte("a,b\n1,2\n")
	first := s.announce(t, len(file))
	s.announce(t, len(file))
	again := func(s *server, who string) answer {
		return s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "8", "X-Who", who,
			"Upload-Metadata", metadata("topic", string(topic), "type", "analysis"))
	}
	a := again(s, "alice")
	a.is(t, "one more", http.StatusTooManyRequests, "too_many_uploads")
	if !strings.Contains(a.body, "may have 2") {
		t.Errorf("the bound is not named: %s", a.body)
	}
	if a := again(s, "bob"); a.status != http.StatusCreated {
		t.Errorf("another principal: %+v", a)
	}
	// The count is of the folder, not of the process.
	next := d.serve(t, e, few)
	again(next, "alice").is(t, "after a restart", http.StatusTooManyRequests, "too_many_uploads")
	s.patch(t, first, 0, file)
	if a := again(s, "alice"); a.status != http.StatusCreated {
		t.Errorf("after one is finished: %+v", a)
	}
	eventually(t, "the other gateway to see both", func() bool { return next.OpenUploads("alice") == 2 && next.OpenUploads("bob") == 1 })
}

func TestDiscovery(t *testing.T) {
	s := newDepot(t).serve(t, real(t), nil)
	for _, path := range []string{"/v1/uploads", "/v1/uploads/x"} {
		a := s.tus(t, http.MethodOptions, path, nil)
		if a.status != http.StatusNoContent || a.header.Get("Tus-Version") != "1.0.0" || a.header.Get("Tus-Resumable") != "1.0.0" ||
			a.header.Get("Tus-Extension") != "creation,creation-with-upload,termination" || a.header.Get("Tus-Max-Size") != strconv.Itoa(5<<30) {
			t.Errorf("%s: %+v", path, a)
		}
	}
}

func TestNoUploadsWithoutAFolder(t *testing.T) {
	s := serve(t, real(t), nil)
	s.tus(t, http.MethodPost, "/v1/uploads", nil).is(t, "announce", http.StatusNotFound, "not_found")
}
