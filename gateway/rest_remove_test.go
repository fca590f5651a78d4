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
)

// uploaded is the job of a file that has arrived and was canceled, with an artifact.
func (d *depot) uploaded(t testing.TB, s *server, e *engine.Engine, header ...string) engine.JobID {
	t.Helper()
	file := csv(1000)
	job := s.announce(t, len(file), header...)
	s.patch(t, job, 0, file)
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"profile.json", "rows.csv"} {
		if err := d.blobs.WriteAll(soon(t), "artifacts/"+string(job)+"/"+name, []byte("{}"), nil); err != nil {
			t.Fatal(err)
		}
	}
	return job
}

func (d *depot) artifacts(job engine.JobID) string {
	return filepath.Join(d.dir, "artifacts", string(job))
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
