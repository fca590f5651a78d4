package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// control asks something of a job, and gives the job as it is answered.
func (s *server) control(t *testing.T, job engine.JobID, verb string) engine.Job {
	t.Helper()
	a := s.ask(t, http.MethodPost, "/v1/jobs/"+string(job)+"/"+verb, "", nil)
	if a.status != http.StatusAccepted {
		t.Fatalf("%s: %+v", verb, a)
	}
	var shown struct {
		Topic engine.Topic
		Job   engine.Job
	}
	a.into(t, &shown)
	if shown.Topic != topic || shown.Job.ID != job {
		t.Errorf("%s answers with %s of %s", verb, shown.Job.ID, shown.Topic)
	}
	return shown.Job
}

// A made is what a request that makes a job is answered with.
type made struct {
	ID       engine.JobID
	Topic    engine.Topic
	Existing bool
}

func (s *server) retry(t *testing.T, job engine.JobID, body string, status int) made {
	t.Helper()
	a := s.ask(t, http.MethodPost, "/v1/jobs/"+string(job)+"/retry", body, nil)
	var got made
	a.into(t, &got)
	if a.status != status || got.Existing != (status == http.StatusOK) || got.Topic != topic || got.ID == job ||
		a.header.Get("Location") != "/v1/jobs/"+string(got.ID) {
		t.Fatalf("retry %s: %+v", body, a)
	}
	return got
}

func TestPauseAndResume(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	waiting := enqueue(t, e, topic)
	for range 2 {
		if j := s.control(t, waiting, "pause"); j.State != engine.Paused {
			t.Errorf("paused, a waiting job is %s", j.State)
		}
	}
	for range 2 {
		if j := s.control(t, waiting, "resume"); j.State != engine.Queued {
			t.Errorf("resumed, a waiting job is %s", j.State)
		}
	}
	run := start(t, e, topic)
	if j := s.control(t, run.job, "pause"); j.State != engine.Running || !j.Pausing {
		t.Errorf("asked to pause, a running job is %s, pausing %v", j.State, j.Pausing)
	}
	if j := s.control(t, run.job, "resume"); j.State != engine.Running || j.Pausing {
		t.Errorf("resumed before it has paused, it is %s, pausing %v", j.State, j.Pausing)
	}
	s.control(t, run.job, "pause")
	run.write(runtime.Report{Type: engine.JobPaused})
	if j := s.control(t, run.job, "resume"); j.State != engine.Queued {
		t.Errorf("paused by its run and resumed, it is %s", j.State)
	}
}

func TestRetry(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	run := start(t, e, topic)
	run.write(
		runtime.Report{Type: engine.JobCheckpoint, Tenths: 400, Checkpoint: []byte("row 400")},
		runtime.Report{Type: engine.JobFailed, Tenths: 450, Error: &engine.JobError{Code: "error", Message: "the disk is full"}},
	)
	again := s.retry(t, run.job, "", http.StatusCreated)
	for _, body := range []string{"", `{}`, `{"from_start":true}`} {
		if got := s.retry(t, run.job, body, http.StatusOK); got.ID != again.ID {
			t.Errorf("without a key, %q gives job %s, want %s", body, got.ID, again.ID)
		}
	}
	anew := s.retry(t, run.job, `{"from_start":true,"key":"anew"}`, http.StatusCreated)
	for job, percent := range map[engine.JobID]float64{again.ID: 40, anew.ID: 0} {
		v, err := e.Job(soon(t), job)
		if err != nil {
			t.Fatal(err)
		}
		j, err := v.Job()
		if err != nil || j.RetryOf != run.job || j.State != engine.Queued || j.Title != "Orders 2025" || j.Percent != percent {
			t.Errorf("tried again it is %s, %v, want it queued at %v", v.JSON, err, percent)
		}
	}
}

// A job whose payload is kept no longer is not tried again, and its answer says why.
func TestRetryWithoutItsPayload(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	run := start(t, e, topic)
	run.write(runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: "error", Message: "the disk is full"}})
	shelves, err := e.Redis().Keys(soon(t), "*:p:"+string(run.job)).Result()
	if err != nil || len(shelves) != 1 {
		t.Fatalf("the payload is kept as %q: %v", shelves, err)
	}
	if err := e.Redis().Del(soon(t), shelves[0]).Err(); err != nil { // as it expires
		t.Fatal(err)
	}
	wantProblem(t, s.ask(t, http.MethodPost, "/v1/jobs/"+string(run.job)+"/retry", "", nil), http.StatusConflict, "state")
}

// adopt makes the job of a task of asynq that is not Tidemark's.
func adopt(t *testing.T, e *engine.Engine) engine.JobID {
	t.Helper()
	info, err := asynq.NewClientFromRedisClient(e.Redis()).EnqueueContext(soon(t), asynq.NewTask("export", nil))
	if err != nil {
		t.Fatal(err)
	}
	a := runtime.Adoption{Task: runtime.Task{Queue: info.Queue, ID: info.ID}, Topic: topic, Type: "export", Try: 1, MaxRetries: 25}
	stand, err := runtime.Of(e).Adopted(soon(t), []runtime.Adoption{a})
	if err != nil {
		t.Fatal(err)
	}
	job, err := runtime.Of(e).Adopt(soon(t), a, stand[0])
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func TestRequestsThatAJobsStateRefuses(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	over := start(t, e, topic)
	over.succeed()
	for _, verb := range []string{"cancel", "pause", "resume"} {
		wantProblem(t, s.ask(t, "POST", "/v1/jobs/"+string(over.job)+"/"+verb, "", nil), http.StatusConflict, "ended")
	}
	run := start(t, e, topic)
	detail := func(job engine.JobID, verb string) string {
		t.Helper()
		a := s.ask(t, "POST", "/v1/jobs/"+string(job)+"/"+verb, "", nil)
		wantProblem(t, a, http.StatusConflict, "state")
		var p struct{ Detail string }
		a.into(t, &p)
		return p.Detail
	}
	refused := func(job engine.JobID, verb, because, instead string) {
		t.Helper()
		if got := detail(job, verb); !strings.HasPrefix(got, "the job's state does not allow it: it "+because) || !strings.Contains(got, instead) {
			t.Errorf("%s is refused with %q, want why, %q, and what to do, %q", verb, got, because, instead)
		}
	}
	refused(run.job, "retry", "is running, ", "cancel it")
	s.control(t, run.job, "cancel")
	refused(run.job, "pause", "is canceling, ", "try it again")
	adopted := adopt(t, e)
	refused(adopted, "pause", "is adopted, ", "cancel it, or pause asynq's queue default")
	s.control(t, adopted, "cancel")
	refused(adopted, "retry", "was adopted, ", "enqueue another")
	id, err := runtime.Of(e).NewJobID(topic)
	if err != nil {
		t.Fatal(err)
	}
	upload, _, err := runtime.Of(e).Receive(soon(t), id, engine.Spec{Topic: topic, Type: "export"}, 50, 0, runtime.Shown{})
	if err != nil {
		t.Fatal(err)
	}
	s.control(t, upload.ID, "cancel")
	wantProblem(t, s.ask(t, "POST", "/v1/jobs/"+string(upload.ID)+"/retry", "", nil), http.StatusBadRequest, "invalid")
	for _, body := range []string{`{`, `{"from":"start"}`, `{"key":"` + strings.Repeat("k", 257) + `"}`} {
		wantProblem(t, s.ask(t, "POST", "/v1/jobs/"+string(over.job)+"/retry", body, nil), http.StatusBadRequest, "invalid")
	}
}

func TestWhoMayControl(t *testing.T) {
	e := real(t)
	mine, foreign := enqueue(t, e, topic), enqueue(t, e, "user:43")
	unknown := engine.JobID(string(mine[:2]) + "01JD0000000000000000000000")
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{
			"reader":     {Subject: "r", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}},
			"producer":   {Subject: "p", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read | auth.Enqueue}}},
			"controller": {Subject: "c", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read | auth.Control}}},
			"blind":      {Subject: "b", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Enqueue | auth.Control}}},
		}
	})
	as := func(token, verb string, job engine.JobID) answer {
		t.Helper()
		return s.ask(t, "POST", "/v1/jobs/"+string(job)+"/"+verb, "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
	}
	verbs := []string{"pause", "resume", "cancel", "retry"}
	for _, verb := range verbs {
		other := "producer"
		if verb == "retry" {
			other = "controller"
		}
		for _, token := range []string{"reader", other} {
			t.Run(verb+" as "+token, func(t *testing.T) { wantProblem(t, as(token, verb, mine), http.StatusForbidden, "forbidden") })
		}
		t.Run(verb+" what cannot be read", func(t *testing.T) { wantProblem(t, as("blind", verb, mine), http.StatusNotFound, "not_found") })
		t.Run(verb+" what is foreign", func(t *testing.T) {
			a, b := as("controller", verb, foreign), as("controller", verb, unknown)
			wantProblem(t, a, http.StatusNotFound, "not_found")
			if a.body != b.body {
				t.Errorf("foreign %s, unknown %s: they can be told apart", a.body, b.body)
			}
		})
	}
	for _, verb := range verbs[:3] {
		if a := as("controller", verb, mine); a.status != http.StatusAccepted {
			t.Errorf("%s with the right: %+v", verb, a)
		}
	}
	if a := as("producer", "retry", mine); a.status != http.StatusCreated {
		t.Errorf("retry with the right: %+v", a)
	}
}
