package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A start whose answer was lost, and whose attempt is over meanwhile, is answered as it
// was, but nothing is given to run with.
func TestARepeatedStartOfAnAttemptThatIsOverGivesNothingToRun(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	lost := engine.JobError{Code: "worker_lost", Message: "x"}
	for over, end := range map[string]func(p *pen) error{
		"stalled":   func(p *pen) error { _, err := e.Stall(soon(t), p.r.Job, lastBeat(t, e, p.r.Job)); return err },
		"abandoned": func(p *pen) error { return e.Abandon(soon(t), p.r.Job, lastBeat(t, e, p.r.Job), lost) },
		"ended":     func(p *pen) error { return p.write(runtime.Report{Type: engine.JobFailed, Error: &lost}).Err },
	} {
		p, started := start(t, e, enqueue(t, e), 1)
		if started == nil {
			t.Fatal("the start gave nothing to run with")
		}
		if err := end(p); err != nil {
			t.Fatal(over, err)
		}
		p.r.Fence.Seq = 0
		if ack := p.write(runtime.Report{Type: engine.JobStarted}); !ack.Duplicate || ack.Started != nil {
			t.Errorf("%s: the repeated start was answered %+v", over, ack)
		}
	}
}

// Reports of many runs go in one call. The starts among them count as heartbeats as they do in
// calls of their own: each of them, in the order of the reports, also when its run ends at once.
func TestStartsCountAsHeartbeatsWhateverElseIsInTheirCall(t *testing.T) {
	for name, in := range map[string]func(e *engine.Rig, send func()){
		"one call":           (*engine.Rig).Batch,
		"calls of their own": nil,
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, redistest.Server(t).URL(), func(o *engine.Options) { o.Shards = 1 })
			twice, once, over := enqueue(t, e), enqueue(t, e), enqueue(t, e)
			run := func(job engine.JobID, attempt int, kinds ...engine.RecordType) (reports []runtime.Report) {
				fence := runtime.Fence{Attempt: attempt, Token: runtime.NewToken()}
				for _, kind := range kinds {
					fence.Seq++
					reports = append(reports, runtime.Report{Type: kind, Job: job, Fence: fence})
				}
				return reports
			}
			batches := [][]runtime.Report{
				run(twice, 1, engine.JobStarted, engine.JobQueued),
				run(once, 1, engine.JobStarted),
				run(twice, 2, engine.JobStarted),
				run(over, 1, engine.JobStarted, engine.JobSucceeded),
			}
			answers := make(chan error, len(batches))
			send := func(b []runtime.Report) {
				must(t, e.Submit(b, func(acks []runtime.Ack, err error) {
					for _, ack := range acks {
						err = errors.Join(err, ack.Err)
					}
					answers <- err
				}))
			}
			if in != nil {
				in(e, func() {
					for _, b := range batches {
						send(b)
					}
				})
			}
			for _, b := range batches {
				if in == nil {
					send(b)
				}
				must(t, <-answers)
			}
			beats, err := e.Silent(soon(t), []uint64{1 << 53})
			must(t, err)
			if b := beats[0]; b.Mark != 4 || len(b.Silent) != 2 || b.Silent[once] != "2" || b.Silent[twice] != "3" {
				t.Errorf("the heartbeats are %+v, want 4 of them, job %s with the second and %s with the third", b, once, twice)
			}
		})
	}
}

func TestAJobThatWasDeletedByHandIsForgotten(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), func(o *engine.Options) { o.Shards = 1 })
	kept, gone := enqueue(t, e), enqueue(t, e)
	start(t, e, gone, 1)
	keys, err := e.Redis().Keys(soon(t), "*:j:"+string(gone)).Result()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if err := e.Redis().Del(soon(t), keys...).Err(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []engine.JobID{kept, gone} {
		if err := e.Tidy(soon(t), id); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := e.Redis().ZRange(soon(t), shardKey(e, "live"), 0, -1).Result()
	if err != nil || fmt.Sprint(ids) != fmt.Sprint([]engine.JobID{kept}) {
		t.Errorf("live are %v, error %v; want only %s", ids, err, kept)
	}
	if beats, err := beating(soon(t), e); err != nil || len(beats) != 0 {
		t.Errorf("heartbeats of %v, error %v", beats, err)
	}
}

func TestCancelingADelayedJobTakesItsTaskOutOfAsynq(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	made, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:42", Type: "export", Delay: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	task := func() error {
		_, err := asynq.NewInspectorFromRedisClient(e.Redis()).GetTaskInfo(e.QueueName(engine.DefaultQueue), runtime.TaskID(made.ID, 1))
		return err
	}
	if err := task(); err != nil {
		t.Fatal(err)
	}
	if err := e.Cancel(soon(t), made.ID); err != nil {
		t.Fatal(err)
	}
	if err := task(); !errors.Is(err, asynq.ErrTaskNotFound) {
		t.Errorf("the task of the canceled job: %v", err)
	}
}

func TestCrashesAreCountedSinceTheCheckpoint(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	id := enqueue(t, e)
	for attempt, want := range []int{1, 2, 1} {
		p, _ := start(t, e, id, attempt+1)
		if attempt == 2 {
			p.write(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte("x")})
		}
		next, err := e.Stall(soon(t), id, fmt.Sprintf("%d.0", attempt+1))
		if err != nil || next.Crashes != want {
			t.Errorf("after attempt %d: %d crashes, error %v; want %d", attempt+1, next.Crashes, err, want)
		}
	}
}

// The record of a dispatch may come after a restart that has lost the task, since a commit is
// repeated until Redis answers. It then names the history since before the dispatch.
func TestADispatchNamesTheHistoryBeforeIt(t *testing.T) {
	for _, c := range []struct {
		name  string
		waits func(t *testing.T, e *engine.Rig) engine.JobID
	}{
		{"at first", func(t *testing.T, e *engine.Rig) engine.JobID { return enqueue(t, e) }},
		{"after a stall", func(t *testing.T, e *engine.Rig) engine.JobID {
			job := enqueue(t, e)
			start(t, e, job, 1)
			if _, err := e.Stall(soon(t), job, lastBeat(t, e, job)); err != nil {
				t.Fatal(err)
			}
			return job
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t, redistest.Server(t).URL(), nil)
			keep := func(history string) {
				if err := e.KeepHistory(soon(t), history); err != nil {
					t.Fatal(err)
				}
			}
			keep("before")
			job := c.waits(t, e)
			keep("after")
			now := func() runtime.Attempt {
				a, err := e.Current(soon(t), job)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			dispatched := func() string {
				if err := e.Dispatch(soon(t), now(), engine.DefaultQueue); err != nil {
					t.Fatal(err)
				}
				enqueue(t, e) // its commit comes after that of the dispatch
				a := now()
				if !a.Dispatched {
					t.Fatal("the dispatch is not recorded")
				}
				return a.History
			}
			if got := dispatched(); got != "before" {
				t.Errorf("the dispatch names history %q, want that of before", got)
			}
			if err := e.Requeue(soon(t), now(), engine.JobError{Code: engine.CodeTaskLost, Message: "x"}); err != nil {
				t.Fatal(err)
			}
			if a := now(); a.Dispatched {
				t.Error("queued again, it counts as dispatched")
			}
			if got := dispatched(); got != "after" {
				t.Errorf("the next dispatch names history %q, want that of after", got)
			}
		})
	}
}
