package gateway_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/analysis"
)

// csv is a file of about as many bytes.
func csv(size int) []byte {
	return append([]byte("name,amount\n"), bytes.Repeat([]byte("alice,12.50\nbob,7\n"), size/18)...)
}

// A file arrives in parts, over a cut connection, and its analysis follows: one job,
// one bar.
func TestUploadIsAnalysed(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	file := csv(1 << 20)
	job := s.announce(t, len(file))
	if got := s.offset(t, job); got != 0 {
		t.Fatalf("a new upload has the offset %d", got)
	}
	if j := view(t, e, job); j.State != engine.Receiving || j.Title != "orders.csv" || j.Percent != 0 || j.Attempt != 0 ||
		j.Stage == nil || *j.Stage != (engine.Stage{Name: "receive"}) ||
		j.Progress == nil || *j.Progress != (engine.Progress{Total: int64(len(file)), Unit: "bytes"}) {
		t.Errorf("announced: %+v", j)
	}
	part := len(file) / 4
	if a := s.patch(t, job, 0, file[:part]); a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != strconv.Itoa(part) {
		t.Fatalf("patch: %+v", a)
	}
	// Half of the next part, and the connection is gone.
	st := s.sending(t, job, part, part)
	st.send(file[part : part+part/2])
	eventually(t, "the bytes to arrive", func() bool {
		info, err := os.Stat(d.data(job))
		return err == nil && info.Size() == int64(part+part/2)
	})
	st.conn.Close()
	eventually(t, "the bar to show them", func() bool { return view(t, e, job).Percent == 18.7 })
	at := s.offset(t, job)
	if at != part+part/2 {
		t.Fatalf("after the cut the offset is %d, want %d", at, part+part/2)
	}
	// For clients that can send POST alone.
	a := s.tus(t, http.MethodPost, "/v1/uploads/"+string(job), file[at:3*part], "X-HTTP-Method-Override", "PATCH",
		"Upload-Offset", strconv.Itoa(at), "Content-Type", "application/offset+octet-stream")
	if a.status != http.StatusNoContent {
		t.Fatalf("overridden patch: %+v", a)
	}
	if a := s.patch(t, job, 3*part, file[3*part:]); a.status != http.StatusNoContent {
		t.Fatalf("last patch: %+v", a)
	}
	if got := s.offset(t, job); got != len(file) {
		t.Errorf("a finished upload has the offset %d", got)
	}
	if a := s.patch(t, job, len(file), nil); a.status != http.StatusNoContent {
		t.Errorf("the last patch again: %+v", a)
	}
	if j := view(t, e, job); j.State != engine.Queued || j.Percent != 50 {
		t.Errorf("finished: %+v", j)
	}
	if b, err := d.blobs.ReadAll(t.Context(), "incoming/user:42/"+string(job)); err != nil || !bytes.Equal(b, file) {
		t.Errorf("the blob differs: %v", err)
	}

	w, err := worker.New(worker.Options{Engine: e, Logger: quiet(), Blobs: d.blobs})
	if err != nil {
		t.Fatal(err)
	}
	analysis.Register(w, d.blobs, analysis.Options{})
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	inState(t, e, job, engine.Succeeded)
	if err := w.Stop(soon(t)); err != nil {
		t.Fatal(err)
	}
	all := historyOf(t, e, job)
	if all[0].Type != engine.JobReceiving || countOf(all, engine.JobQueued) != 1 || countOf(all, engine.JobStarted) != 1 || countOf(all, engine.JobSucceeded) != 1 {
		t.Errorf("the job's history is %+v", all)
	}
	for _, r := range all {
		if r.Type == engine.JobStage && (r.Job.Stage.Index == 0 || r.Job.Stage.Count != 3 || r.Job.Percent < 50) {
			t.Errorf("a stage of the analysis is %+v at %v%%", r.Job.Stage, r.Job.Percent)
		}
	}
	if got := s.offset(t, job); got != len(file) {
		t.Errorf("after the analysis the offset is %d", got)
	}

	var result struct {
		Rows    int64
		Profile struct {
			ID   string
			Size int
		}
	}
	if err := json.Unmarshal(all[len(all)-1].Job.Result, &result); err != nil || result.Rows != 116508 {
		t.Errorf("result %+v, %v", result, err)
	}
	profile := s.ask(t, http.MethodGet, "/v1/artifacts/"+result.Profile.ID, "", nil)
	if profile.status != http.StatusOK || len(profile.body) != result.Profile.Size || !strings.Contains(profile.body, `"amount"`) {
		t.Errorf("artifact: %+v", profile)
	}
}

// oddTopics are those whose names a blob store escapes, or nearly.
var oddTopics = []string{
	"user:.", "user:..", "user:...", "user:x..", "user:a..b", "user:__0x41__", "user:__0x41__0x2F__x..",
	"user:__0xzz__", "user:__0x__", "user:___0x2e__", "user:__0x5f____0x41", "user:__0x110000__", "user:__0x-41__", "user:__0x123456789abcdef01__",
}

// A blob store of files escapes some keys: the bytes must be where it looks, and whatever
// the topic.
func TestBytesAreWhereTheBlobStoreLooks(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.Auth = auth.Dev{} })
	file := []byte("a,b\n1,2\n")
	for _, odd := range oddTopics {
		a := s.tus(t, http.MethodPost, "/v1/uploads", file[:4], "Upload-Length", "8",
			"Upload-Metadata", metadata("topic", odd, "type", "analysis"), "Content-Type", "application/offset+octet-stream")
		if a.status != http.StatusCreated {
			t.Fatalf("announce for %s: %+v", odd, a)
		}
		job := engine.JobID(strings.TrimPrefix(a.header.Get("Location"), "/v1/uploads/"))
		if a := s.patch(t, job, 4, file[4:]); a.status != http.StatusNoContent {
			t.Fatalf("patch for %s: %+v", odd, a)
		}
		b, err := d.blobs.ReadAll(t.Context(), "incoming/"+odd+"/"+string(job))
		if err != nil || !bytes.Equal(b, file) {
			t.Errorf("the blob of topic %s: %q, %v", odd, b, err)
		}
	}
	// Escaped it is longer than a file's name may be.
	long := "user:" + strings.Repeat("__0x1", 25) + "__"
	a := s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "8", "Upload-Metadata", metadata("topic", long, "type", "analysis"))
	wantProblem(t, a, http.StatusBadRequest, "invalid")
	if left, err := os.ReadDir(d.dir + "/incoming/.uploads/open"); len(left) > 0 || err != nil || s.OpenUploads(auth.DevSubject) > 0 {
		t.Errorf("%+v left %v, %v", a, left, err)
	}
	// Nothing else makes a file's name of a topic.
	if _, err := e.Enqueue(t.Context(), engine.Spec{Topic: engine.Topic(long), Type: "analysis"}); err != nil {
		t.Error(err)
	}
}

// Whoever lost the answer to an announcement announces again, and gets the same upload.
func TestAnnouncingAgainWithAKey(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	meta := func(key string) string {
		return metadata("topic", string(topic), "type", "analysis", "filename", "orders.csv", "key", key)
	}
	answers := make(chan answer)
	for range 8 {
		go func() {
			answers <- s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "1000", "Upload-Metadata", meta("k"))
		}()
	}
	made := map[string]int{}
	for range 8 {
		if a := <-answers; a.status == http.StatusCreated {
			made[a.header.Get("Location")]++
		} else {
			a.is(t, "beside another announcement", http.StatusLocked, "upload_locked")
		}
	}
	if len(made) != 1 {
		t.Fatalf("announcements with one key made %v", made)
	}
	job := s.announce(t, 1000, "Upload-Metadata", meta("k"))
	if made["/v1/uploads/"+string(job)] == 0 {
		t.Fatalf("again it is %s, and was %v", job, made)
	}
	s.patch(t, job, 0, make([]byte, 300))
	again := s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "1000", "Upload-Metadata", meta("k"))
	if again.status != http.StatusCreated || again.header.Get("Location") != "/v1/uploads/"+string(job) || again.header.Get("Upload-Offset") != "300" {
		t.Errorf("once bytes have arrived: %+v", again)
	}
	if other := s.announce(t, 1000, "Upload-Metadata", meta("k"), "X-Who", "bob"); other == job {
		t.Error("another client's key gives the same upload")
	}
	if other := s.announce(t, 1001, "Upload-Metadata", meta("k")); other == job {
		t.Error("a file of another length is the same upload")
	}
	if other := s.announce(t, 1000, "Upload-Metadata", meta("l")); other == job {
		t.Error("another key gives the same upload")
	}
	if page, err := e.Jobs(soon(t), topic, engine.JobsQuery{}); err != nil || len(page.Jobs) != 4 {
		t.Errorf("%d jobs, %v; want 4", len(page.Jobs), err)
	}
	if a := s.tus(t, http.MethodDelete, "/v1/uploads/"+string(job), nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %+v", a)
	}
	s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "1000", "Upload-Metadata", meta("k")).is(t, "of one that was canceled", http.StatusGone, "upload_gone")
}
