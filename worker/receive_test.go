package worker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// received makes a job whose input has arrived, which fills half of the bar.
func received(t *testing.T, e *engine.Engine, jobType string) engine.JobID {
	t.Helper()
	id, err := runtime.Of(e).NewJobID(topic)
	if err != nil {
		t.Fatal(err)
	}
	stage := engine.Stage{Name: "receive"}
	_, fence, err := runtime.Of(e).Receive(soon(t), id, engine.Spec{Topic: topic, Type: jobType}, 50, 0, runtime.Shown{Stage: stage})
	if err != nil {
		t.Fatal(err)
	}
	fence.Seq = 1
	acks, err := runtime.Of(e).Commit(soon(t), runtime.Report{Type: engine.JobProgress, Job: id, Fence: fence, Tenths: 250, Shown: &runtime.Shown{Stage: stage}})
	if err != nil || acks[0].Err != nil {
		t.Fatal(acks, err)
	}
	if err := runtime.Of(e).Received(soon(t), id, nil); err != nil {
		t.Fatal(err)
	}
	return id
}

// receiving makes a job whose input is to arrive, and gives its receiver's fence.
func receiving(t *testing.T, e *engine.Engine, idle time.Duration) (engine.JobID, runtime.Fence) {
	t.Helper()
	id, err := runtime.Of(e).NewJobID(topic)
	if err != nil {
		t.Fatal(err)
	}
	_, fence, err := runtime.Of(e).Receive(soon(t), id, engine.Spec{Topic: topic, Type: "analysis"}, 50, idle, runtime.Shown{})
	if err != nil {
		t.Fatal(err)
	}
	return id, fence
}

// A receiving job whose gateway is lost, with its folder, has an end; one whose receiver has
// reported within its idle limit and the margin goes on, and so does one without a limit.
func TestAJobWhoseReceiverIsLostEnds(t *testing.T) {
	t.Parallel()
	clock := redistest.NewClock(t)
	s := redistest.Server(t, redistest.WithClock(clock))
	e := open(t, s.URL())
	clock.Shift(-12 * time.Hour)
	lost, _ := receiving(t, e, 6*time.Hour)
	again, _ := receiving(t, e, 6*time.Hour)
	within, _ := receiving(t, e, 11*time.Hour+30*time.Minute) // the margin is an hour
	endless, _ := receiving(t, e, 0)
	slow, fence := receiving(t, e, time.Hour)
	clock.Shift(0)
	report := func() {
		fence.Seq++
		acks, err := runtime.Of(e).Commit(soon(t), runtime.Report{Type: engine.JobProgress, Job: slow, Fence: fence, Tenths: 1, Shown: &runtime.Shown{}})
		if err != nil || acks[0].Err != nil {
			t.Fatal(acks, err)
		}
	}
	report()
	start(t, build(t, brief(direct(t, s, e)))) // whose first look at the clock is the right one
	for _, job := range []engine.JobID{lost, again} {
		all := history(t, e, job, nil)
		if end := last(all); end.State != engine.Failed || end.Error == nil || end.Error.Code != "upload_expired" || !strings.Contains(end.Error.Message, "6h") {
			t.Errorf("it ended so:\n%s", tell(all))
		}
	}
	for name, job := range map[string]engine.JobID{"within its limit": within, "without a limit": endless, "that reports": slow} {
		if a, err := runtime.Of(e).Current(soon(t), job); err != nil || a.State != engine.Receiving {
			t.Errorf("the one %s is %q, %v", name, a.State, err)
		}
	}
	report()
}

// Redis was away for longer than an upload may be idle, while the upload went on: its first
// report afterwards, not the last before, is what counts.
func TestAnOutageOfRedisEndsNoUpload(t *testing.T) {
	t.Parallel()
	clock := redistest.NewClock(t)
	s := redistest.Server(t, redistest.WithClock(clock))
	e := open(t, s.URL())
	clock.Shift(-12 * time.Hour)
	job, fence := receiving(t, e, time.Hour)
	clock.Shift(0)
	o := brief(direct(t, s, e))
	o.ReconcileInterval = 3 * time.Second // ten of which the receiver has
	start(t, build(t, o))
	// The reconciler has come by, and by the job.
	before := forgotten(t, e)
	eventually(t, "the reconciler to come by", before)
	fence.Seq = 1
	acks, err := runtime.Of(e).Commit(soon(t), runtime.Report{Type: engine.JobProgress, Job: job, Fence: fence, Tenths: 1, Shown: &runtime.Shown{}})
	if err != nil || acks[0].Err != nil {
		t.Fatal("the upload's report after the outage:", acks, err)
	}
	if a, err := runtime.Of(e).Current(soon(t), job); err != nil || a.State != engine.Receiving {
		t.Errorf("it is %q, %v", a.State, err)
	}
}

// One bar from the first byte: what was received stays, the stages share the rest,
// and an attempt without a checkpoint goes on from what was received.
func TestStagesComeAfterTheReception(t *testing.T) {
	e := real(t)
	w := build(t, brief(e))
	tried := false
	worker.Handle(w, "tally", func(_ context.Context, run *worker.Run, _ []byte) error {
		run.Stages(worker.Stage{Name: "read", Weight: 3}, worker.Stage{Name: "write", Weight: 1})
		run.Stage("read")
		run.Progress(1, 2)
		run.Stage("write")
		if !tried {
			tried = true
			return errors.New("the disk is full")
		}
		return nil
	})
	worker.Handle(w, "plain", func(_ context.Context, run *worker.Run, _ []byte) error {
		run.Progress(1, 4)
		return run.Checkpoint("here")
	})
	start(t, w)

	all := history(t, e, received(t, e, "tally"), nil)
	want := []engine.RecordType{
		engine.JobReceiving, engine.JobQueued, engine.JobStarted, engine.JobStage, engine.JobStage, engine.JobRetrying,
		engine.JobResumed, engine.JobStage, engine.JobStage, engine.JobSucceeded,
	}
	if got := milestones(all); !slices.Equal(got, want) {
		t.Fatalf("milestones %v, want %v", got, want)
	}
	var stages []engine.Stage
	for _, r := range all {
		switch r.Type {
		case engine.JobQueued:
			if r.Job.Percent != 50 || r.Job.Attempt != 0 {
				t.Errorf("queued at %v%%, attempt %d; want 50%%, none", r.Job.Percent, r.Job.Attempt)
			}
		case engine.JobStarted:
			if r.Job.Attempt != 1 || r.Job.ResumedFrom != nil {
				t.Errorf("started: attempt %d from %v", r.Job.Attempt, r.Job.ResumedFrom)
			}
		case engine.JobResumed:
			if r.Job.Attempt != 2 || r.Job.ResumedFrom == nil || *r.Job.ResumedFrom != 50 {
				t.Errorf("resumed: attempt %d from %v, want what was received", r.Job.Attempt, r.Job.ResumedFrom)
			}
		case engine.JobStage:
			stages = append(stages, *r.Job.Stage)
			if r.Job.Stage.Name == "write" && r.Job.Percent != 87.5 {
				t.Errorf("the last stage begins at %v%%, want 87.5: 50 received and three quarters of the rest", r.Job.Percent)
			}
		}
	}
	read, write := engine.Stage{Name: "read", Index: 1, Count: 3}, engine.Stage{Name: "write", Index: 2, Count: 3}
	if !slices.Equal(stages, []engine.Stage{read, write, read, write}) {
		t.Errorf("stages %+v", stages)
	}

	all = history(t, e, received(t, e, "plain"), nil)
	at := slices.IndexFunc(all, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint })
	if at < 0 {
		t.Fatalf("no checkpoint:\n%s", tell(all))
	}
	if j := all[at].Job; j.Percent != 62.5 || j.Stage == nil || *j.Stage != (engine.Stage{Name: "plain", Index: 1, Count: 2}) {
		t.Errorf("a run without stages shows %v%% in %+v", j.Percent, j.Stage)
	}
}
