package gateway_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
)

// uploaded is the job of a file that has arrived and was canceled, with an artifact.
func (d *depot) uploaded(t testing.TB, s *server, e *engine.Engine, header ...string) engine.JobID {
	t.Helper()
	file := csv(1000)
	job := s.announce(t, len(file), header...)
	s.patch(t, job, 0, file)
	inState(t, e, job, engine.Queued)
	p := &pen{t: t, e: e, job: job, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	p.write(runtime.Report{Type: engine.JobStarted})
	for _, name := range []string{"profile.json", "rows.csv"} {
		p.artifact(d, topic, name, []byte("{}"))
	}
	p.write(runtime.Report{Type: engine.JobCanceled})
	return job
}

func (d *depot) artifacts(job engine.JobID) string {
	return filepath.Join(d.dir, "artifacts", string(topic), string(job))
}

// A retry goes on with the parts of a job that was removed: nobody sees what that one has written, and the
// parts go with the retry.
func TestRemovingAJobThatARetryGoesOnWith(t *testing.T) {
	t.Parallel()
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	remove := func(job engine.JobID) {
		t.Helper()
		if a := s.tus(t, http.MethodDelete, "/v1/jobs/"+string(job), nil); a.status != http.StatusNoContent {
			t.Fatalf("remove: %+v", a)
		}
	}
	first := start(t, e, topic)
	closed := first.artifact(d, topic, "closed.csv", []byte("a,b\n"))
	at := artifacts.Place{Topic: topic, Job: first.job, Name: "open.csv"}
	w, err := artifacts.NewWriter(soon(t), d.blobs, at, "1."+first.fence.Token, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("first half, ")); err != nil {
		t.Fatal(err)
	}
	state, err := w.Keep()
	if err != nil {
		t.Fatal(err)
	}
	text, err := artifacts.EncodeStates([]artifacts.State{state})
	if err != nil {
		t.Fatal(err)
	}
	first.write(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte("{}"), ArtifactState: text})
	first.fail()
	again, err := e.Retry(soon(t), first.job, engine.RetryQuery{})
	if err != nil {
		t.Fatal(err)
	}
	remove(first.job)
	if a := s.tus(t, http.MethodGet, "/v1/artifacts/"+closed.ID, nil); a.status != http.StatusNotFound {
		t.Errorf("an artifact of the removed job: %+v", a)
	}
	if !there(d.artifacts(first.job)) {
		t.Fatal("what the retry goes on with is gone")
	}

	p := &pen{t: t, e: e, job: again.ID, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	p.write(runtime.Report{Type: engine.JobStarted})
	at.Job = again.ID
	w, err = artifacts.NewWriter(soon(t), d.blobs, at, "1."+p.fence.Token, &state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("second half")); err != nil {
		t.Fatal(err)
	}
	m, err := w.Seal("text/csv", time.Now(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	// Its worker dies before it publishes the manifest.
	p.write(runtime.Report{Type: engine.JobArtifact, Artifacts: []engine.Artifact{m.Artifact}})
	p.succeed()
	if a := s.tus(t, http.MethodGet, "/v1/artifacts/"+m.ID, nil); a.status != http.StatusOK || a.body != "first half, second half" {
		t.Errorf("the retry's artifact: %+v", a)
	}
	remove(again.ID)
	for _, job := range []engine.JobID{first.job, again.ID} {
		if there(d.artifacts(job)) || there(filepath.Join(d.dir, "owners", string(job))) {
			t.Errorf("files of %s are still there", job)
		}
	}
}

// A removed job's artifacts and upload go with it, and all that asks for them hears that there are none.
func TestRemovingAJob(t *testing.T) {
	t.Parallel()
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	key := []string{"Upload-Metadata", metadata("topic", string(topic), "type", "analysis", "filename", "orders.csv", "key", "one")}
	job, other := d.uploaded(t, s, e, key...), d.uploaded(t, s, e)
	remove := func(job engine.JobID, header ...string) answer {
		t.Helper()
		return s.tus(t, http.MethodDelete, "/v1/jobs/"+string(job), nil, header...)
	}
	wantProblem(t, remove(job, "X-Who", "carol"), http.StatusForbidden, "forbidden")
	wantProblem(t, s.tus(t, http.MethodDelete, "/v1/jobs/"+string(job)+"?force=1", nil), http.StatusBadRequest, "invalid")
	if !there(d.data(job)) || !there(d.artifacts(job)) {
		t.Fatal("what was refused has deleted files")
	}
	if a := remove(job); a.status != http.StatusNoContent || a.body != "" {
		t.Fatalf("remove: %+v", a)
	}
	for _, path := range []string{d.data(job), d.ticket("settled", job), d.artifacts(job)} {
		if there(path) {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range []string{d.data(other), d.ticket("settled", other), d.artifacts(other)} {
		if !there(path) {
			t.Errorf("%s is gone, with another job", path)
		}
	}
	for _, ask := range []answer{
		remove(job), s.ask(t, http.MethodGet, "/v1/jobs/"+string(job), "", nil), s.ask(t, http.MethodGet, "/v1/artifacts/"+string(job)+".profile.json", "", nil),
		s.tus(t, http.MethodPatch, "/v1/uploads/"+string(job), nil, "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream"),
		s.ask(t, http.MethodPost, "/v1/jobs/"+string(job)+"/retry", "", nil),
	} {
		wantProblem(t, ask, http.StatusNotFound, "not_found")
	}
	if again := s.announce(t, 1000, key...); again == job {
		t.Error("the key of a removed upload gives it again")
	}
	foreign := enqueue(t, e, "user:7")
	wantProblem(t, remove(foreign), http.StatusNotFound, "not_found")
	wantProblem(t, remove("nonsense"), http.StatusNotFound, "not_found")
}

// What the state or the family of a job forbids is refused, and says what to do.
func TestRemovalsThatAreRefused(t *testing.T) {
	t.Parallel()
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	waiting, run, receiving := enqueue(t, e, topic), start(t, e, topic), s.announce(t, 100)
	for job, because := range map[engine.JobID]string{waiting: "it is queued", run.job: "it is running", receiving: "it is receiving"} {
		a := s.tus(t, http.MethodDelete, "/v1/jobs/"+string(job), nil)
		wantProblem(t, a, http.StatusConflict, "state")
		if !strings.Contains(a.body, because) || !strings.Contains(a.body, "cancel it, or wait for its end") {
			t.Errorf("refused: %s", a.body)
		}
	}
	if !there(d.ticket("open", receiving)) {
		t.Error("the upload of a job that stays is gone")
	}
	run.succeed()
	if a := s.tus(t, http.MethodDelete, "/v1/jobs/"+string(run.job), nil); a.status != http.StatusNoContent {
		t.Errorf("an ended job: %+v", a)
	}
}

// A retry keeps the upload of a removed job, which goes with the retry. The file of a job that ended
// before all of it had arrived goes as well.
func TestRemovingAJobWhoseUploadIsReferredTo(t *testing.T) {
	t.Parallel()
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	job := d.uploaded(t, s, e)
	retry, err := e.Retry(soon(t), job, engine.RetryQuery{})
	if err != nil {
		t.Fatal(err)
	}
	remove := func(job engine.JobID) {
		t.Helper()
		if a := s.tus(t, http.MethodDelete, "/v1/jobs/"+string(job), nil); a.status != http.StatusNoContent {
			t.Fatalf("remove: %+v", a)
		}
	}
	remove(job)
	if !there(d.data(job)) || there(d.artifacts(job)) {
		t.Fatalf("the upload is there: %v, want it; the artifacts: %v, want none", there(d.data(job)), there(d.artifacts(job)))
	}
	if err := e.Cancel(soon(t), retry.ID); err != nil {
		t.Fatal(err)
	}
	remove(retry.ID)
	if there(d.data(job)) || there(d.ticket("settled", job)) {
		t.Error("the upload outlasts the last job that names it")
	}

	half := s.announce(t, 1000)
	s.patch(t, half, 0, []byte("a,b\n1,2\n"))
	if err := e.Cancel(soon(t), half); err != nil {
		t.Fatal(err)
	}
	remove(half)
	if there(d.data(half)) || there(d.ticket("open", half)) || there(d.ticket("settled", half)) {
		t.Error("the half of a file outlasts its job")
	}
}

// Files of a job that was removed elsewhere go when a gateway of their folder looks, as at its start.
func TestFilesOfJobsThatWereRemovedElsewhere(t *testing.T) {
	t.Parallel()
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	job := d.uploaded(t, s, e)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Stop(soon(t)))
	must(e.Remove(soon(t), job))
	orphan := d.ticket("orphaned", job)
	must(os.Rename(d.ticket("settled", job), orphan)) // as the sweep has it
	d.serve(t, e, nil)
	eventually(t, "the files are gone", func() bool { return !there(d.data(job)) && !there(orphan) && !there(d.artifacts(job)) })
	if outlived, err := runtime.Of(e).Outlived(soon(t), engine.DefaultQueue, runtime.TaskPayload{Job: job, Attempt: 1, Topic: topic}); err != nil || !outlived {
		t.Errorf("a task of the removed job: %v, %v", outlived, err)
	}
}
