package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

func TestPauseFreesTheWorkerAndResumeGoesOn(t *testing.T) {
	backends(t, func(t *testing.T, e *engine.Engine) {
		o := brief(e)
		o.Concurrency, o.RescueSlots = 1, 1
		w := build(t, o)
		asked := make(chan struct{})
		worker.Handle(w, "tally", countUp(func(step int) error {
			if step == 200 {
				<-asked // it is not over before that
			}
			return nil
		}))
		worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
		start(t, w)
		p := tally{Steps: 300}
		job := enqueue(t, e, "tally", func(s *engine.Spec) { s.Payload, s.MaxAttempts = p, 1 })
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint && r.Job.Percent >= 10 })
		for range 2 { // twice is no error
			if err := e.Pause(soon(t), job); err != nil {
				t.Fatal(err)
			}
		}
		close(asked)
		paused := awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobPaused })
		if paused.Job.State != engine.Paused || paused.Job.Pausing || paused.Job.Error != nil {
			t.Errorf("it rests as %+v", paused.Job)
		}
		// The only slot is free.
		if end := last(history(t, e, enqueue(t, e, "export"), nil)); end.State != engine.Succeeded {
			t.Errorf("another job ended as %s", end.State)
		}
		if err := e.Resume(soon(t), job); err != nil {
			t.Fatal(err)
		}
		all := history(t, e, job, nil)
		want := []engine.RecordType{engine.JobQueued, engine.JobStarted, engine.JobPausing, engine.JobPaused, engine.JobQueued, engine.JobResumed, engine.JobSucceeded}
		if got := milestones(all); !slices.Equal(got, want) {
			t.Errorf("milestones %v, want %v", got, want)
		}
		end := last(all)
		if string(end.Result) != fmt.Sprint(p.sum()) || end.Attempt != 2 || end.ResumedFrom == nil || *end.ResumedFrom < 10 {
			t.Errorf("result %s in attempt %d from %v, want %d in 2", end.Result, end.Attempt, end.ResumedFrom, p.sum())
		}
	})
}

func TestPauseOfWhatNoWorkerHas(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		if run.Attempt() == 1 {
			return worker.RetryAfter(errors.New("not yet"), time.Hour)
		}
		return nil
	})
	delayed := enqueue(t, e, "export", func(s *engine.Spec) { s.Delay = time.Hour })
	start(t, w)
	retrying := enqueue(t, e, "export")
	awaitRecord(t, e, retrying, func(r engine.Record) bool { return r.Type == engine.JobRetrying })
	for _, job := range []engine.JobID{delayed, retrying} {
		if err := e.Pause(soon(t), job); err != nil {
			t.Fatal(err)
		}
		v, err := e.Job(soon(t), job)
		if err != nil {
			t.Fatal(err)
		}
		if j, err := v.Job(); err != nil || j.State != engine.Paused || j.RetryAt != nil {
			t.Errorf("it rests as %+v, %v", j, err)
		}
		eventually(t, "asynq to let the task go", func() bool {
			a, err := runtime.Of(e).Current(soon(t), job)
			if err != nil {
				t.Fatal(err)
			}
			tasks, err := runtime.Of(e).Tasks(soon(t), []runtime.Attempt{a})
			return err == nil && !tasks[0].Waits()
		})
	}
	// A resumed job does not wait out its backoff; a delayed one waits for its time.
	if err := errors.Join(e.Resume(soon(t), retrying), e.Resume(soon(t), delayed)); err != nil {
		t.Fatal(err)
	}
	if end := last(history(t, e, retrying, nil)); end.State != engine.Succeeded || end.Attempt != 2 {
		t.Errorf("it ended as %s in attempt %d", end.State, end.Attempt)
	}
	if v, err := e.Job(soon(t), delayed); err != nil {
		t.Error(err)
	} else if j, _ := v.Job(); j.State != engine.Queued {
		t.Errorf("the delayed job is %s", j.State)
	}
}

// A handler that does not heed a pause may finish, and may still be canceled.
func TestHandlerMayFinishAfterAPause(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.CancelGrace = 100 * time.Millisecond
	w := build(t, o)
	asked, release := make(chan struct{}, 2), make(chan struct{})
	worker.Handle(w, "deaf", func(ctx context.Context, run *worker.Run, _ []byte) error {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), worker.ErrPaused) || !run.CheckpointDue() {
			t.Errorf("the cause is %v, a checkpoint is due: %t", context.Cause(ctx), run.CheckpointDue())
		}
		asked <- struct{}{}
		<-release
		return nil
	})
	start(t, w)
	finishes, canceled := enqueue(t, e, "deaf"), enqueue(t, e, "deaf")
	for _, job := range []engine.JobID{finishes, canceled} {
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobStarted })
		if err := e.Pause(soon(t), job); err != nil {
			t.Fatal(err)
		}
		<-asked
	}
	if err := e.Cancel(soon(t), canceled); err != nil {
		t.Fatal(err)
	}
	if all := history(t, e, canceled, nil); last(all).State != engine.Canceled || count(all, engine.JobPaused) != 0 {
		t.Errorf("the canceled one ended so:\n%s", tell(all))
	}
	close(release)
	if all := history(t, e, finishes, nil); last(all).State != engine.Succeeded || count(all, engine.JobPaused) != 0 {
		t.Errorf("the other ended so:\n%s", tell(all))
	}
}

// Resumed before it has paused, a job goes on all the same.
func TestResumeBeforeThePause(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	asked, release := make(chan struct{}, 2), make(chan struct{})
	worker.Handle(w, "slow", func(ctx context.Context, run *worker.Run, _ []byte) error {
		if run.Attempt() > 1 {
			return nil
		}
		<-ctx.Done()
		asked <- struct{}{}
		<-release
		return context.Cause(ctx)
	})
	start(t, w)
	job := enqueue(t, e, "slow", func(s *engine.Spec) { s.MaxAttempts = 1 })
	awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobStarted })
	if err := e.Pause(soon(t), job); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := e.Resume(soon(t), job); err != nil {
		t.Fatal(err)
	}
	close(release)
	all := history(t, e, job, nil)
	if last(all).State != engine.Succeeded || count(all, engine.JobPaused) != 0 || count(all, engine.JobRetrying) != 0 {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// A job that is asked to pause and loses its worker rests; it is no crash.
func TestPauseOfALostRun(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	o.Lease, o.Queues = 250*time.Millisecond, []string{"elsewhere"}
	start(t, build(t, o))
	job := enqueue(t, e, "export")
	lose(t, e, job, 1)
	if err := e.Pause(soon(t), job); err != nil {
		t.Fatal(err)
	}
	r := awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobPaused || r.Type == engine.JobStalled })
	a, err := runtime.Of(e).Current(soon(t), job)
	if err != nil || r.Type != engine.JobPaused || a.Crashes != 0 || a.State != engine.Paused {
		t.Errorf("%s, then %+v, %v", r.Type, a, err)
	}
}

// What is asked of a job while no worker is up holds when there is one.
func TestRequestsReachAJobWhoseWorkerIsGone(t *testing.T) {
	t.Parallel()
	url := redistest.Server(t).URL()
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	e := openIn(t, url, namespace)
	p, err := spawn(soon(t), t, role{URL: url, Namespace: namespace, Slots: 4, Leases: patientLeases})
	if err != nil {
		t.Fatal(err)
	}
	var jobs []engine.JobID
	for range 3 {
		job := enqueue(t, e, "tally", func(s *engine.Spec) { s.Payload = tally{Steps: 5000} })
		jobs = append(jobs, job)
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint })
	}
	if _, err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Cancel(soon(t), jobs[0]), e.Pause(soon(t), jobs[1])); err != nil {
		t.Fatal(err)
	}
	o := brief(e)
	o.Lease = 250 * time.Millisecond
	w := build(t, o)
	worker.Handle(w, "tally", countUp(nil))
	start(t, w)
	if end := last(history(t, e, jobs[0], nil)); end.State != engine.Canceled {
		t.Errorf("the canceled job ended as %s", end.State)
	}
	awaitRecord(t, e, jobs[1], func(r engine.Record) bool { return r.Type == engine.JobPaused })
	awaitRecord(t, e, jobs[2], func(r engine.Record) bool { return r.Type == engine.JobResumed })
	if err := errors.Join(e.Cancel(soon(t), jobs[1]), e.Cancel(soon(t), jobs[2])); err != nil {
		t.Fatal(err)
	}
}

func TestRetryOfAnEndedJob(t *testing.T) {
	backends(t, func(t *testing.T, e *engine.Engine) {
		w := build(t, brief(e))
		broken := true
		worker.Handle(w, "tally", countUp(func(step int) error {
			if step == 60 && broken {
				return worker.Permanent(errors.New("the disk is full"))
			}
			return nil
		}))
		start(t, w)
		p := tally{Steps: 100}
		old := enqueue(t, e, "tally", func(s *engine.Spec) {
			s.Payload, s.Title, s.Labels = p, "Orders", map[string]string{"year": "2025"}
		})
		if end := last(history(t, e, old, nil)); end.State != engine.Failed {
			t.Fatalf("it ended as %s", end.State)
		}
		broken = false
		for _, c := range []struct {
			query engine.RetryQuery
			from  float64
		}{{engine.RetryQuery{}, 1}, {engine.RetryQuery{FromStart: true, Key: "anew"}, 0}} {
			got, err := e.Retry(soon(t), old, c.query)
			if err != nil {
				t.Fatal(err)
			}
			again, err := e.Retry(soon(t), old, c.query)
			if err != nil || !again.Existing || again.ID != got.ID {
				t.Errorf("once more: %+v, %v; want %s", again, err, got.ID)
			}
			all := history(t, e, got.ID, nil)
			end := last(all)
			if end.State != engine.Succeeded || string(end.Result) != fmt.Sprint(p.sum()) || end.RetryOf != old || end.Title != "Orders" || end.Labels["year"] != "2025" {
				t.Errorf("the retry ended as %+v", end)
			}
			if first := all[0].Job.Percent; first < c.from || (c.from == 0 && first != 0) {
				t.Errorf("it begins at %v %%, want from %v on", first, c.from)
			}
			if c.from > 0 && (end.ResumedFrom == nil || *end.ResumedFrom < c.from) {
				t.Errorf("it went on from %v", end.ResumedFrom)
			}
		}
		if _, err := e.Retry(soon(t), enqueue(t, e, "tally", func(s *engine.Spec) { s.Delay = time.Hour }), engine.RetryQuery{}); !errors.Is(err, engine.ErrState) {
			t.Errorf("retry of a job that waits: %v", err)
		}
	})
}
