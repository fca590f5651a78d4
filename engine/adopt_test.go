package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

const adopter = engine.Topic("user:42")

// waitingTask enqueues a task as an asynq application does.
func waitingTask(t *testing.T, e *engine.Rig, opts ...asynq.Option) runtime.Adoption {
	t.Helper()
	info, err := asynq.NewClientFromRedisClient(e.Redis()).EnqueueContext(soon(t), asynq.NewTask("export", nil), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.Adoption{
		Task: runtime.Task{Queue: info.Queue, ID: info.ID}, Topic: adopter, Type: "export", Title: "Orders", Try: 1, MaxRetries: 25,
	}
}

func standingOf(t *testing.T, e *engine.Rig, a runtime.Adoption) runtime.Attempt {
	t.Helper()
	stand, err := e.Adopted(soon(t), []runtime.Adoption{a})
	if err != nil {
		t.Fatal(err)
	}
	return stand[0]
}

// adoptTask makes the job of a task.
func adoptTask(t *testing.T, e *engine.Rig, a runtime.Adoption) runtime.Attempt {
	t.Helper()
	if _, err := e.Adopt(soon(t), a, standingOf(t, e, a)); err != nil {
		t.Fatal(err)
	}
	return standingOf(t, e, a)
}

func TestConcurrentAdoptionsOfATaskGetTheSameJob(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	a := waitingTask(t, e)
	jobs := make([]engine.JobID, 20)
	var all sync.WaitGroup
	e.Batch(func() { // in one batch, so that one call of the script decides about many
		var submitted sync.WaitGroup
		for i := range jobs {
			submitted.Add(1)
			all.Go(func() {
				submitted.Done()
				var err error
				if jobs[i], err = e.Adopt(soon(t), a, runtime.Attempt{}); err != nil {
					t.Error(err)
				}
			})
		}
		submitted.Wait()
	})
	all.Wait()
	for _, job := range jobs {
		if job != jobs[0] || job == "" {
			t.Fatalf("jobs of one task: %q", jobs)
		}
	}
	page, err := e.Jobs(soon(t), adopter, engine.JobsQuery{})
	if err != nil || len(page.Jobs) != 1 {
		t.Fatalf("%d jobs: %v", len(page.Jobs), err)
	}
	j, err := page.Jobs[0].Job()
	if err != nil || j.ID != jobs[0] || j.State != engine.Queued || j.Title != "Orders" {
		t.Errorf("the job is %+v: %v", j, err)
	}
	if id, err := e.JobOfTask(soon(t), adopter, a.Task); err != nil || id != j.ID {
		t.Errorf("JobOfTask gives %q, %v", id, err)
	}
	// Neither another queue's task of that ID nor one whose names only add up to the same.
	for _, other := range []runtime.Task{{Queue: "low", ID: a.Task.ID}, {Queue: "default:" + a.Task.ID[:1], ID: a.Task.ID[1:]}} {
		if id, err := e.JobOfTask(soon(t), adopter, other); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%+v has job %q: %v", other, id, err)
		}
	}
}

// tryOnce starts and, with end, ends the attempt of a task's try.
func tryOnce(t *testing.T, e *engine.Rig, a runtime.Adoption, end *runtime.Report) runtime.Attempt {
	t.Helper()
	at := adoptTask(t, e, a)
	if err := e.Tie(soon(t), a.Task, at.Job); err != nil {
		t.Fatal(err)
	}
	fence := runtime.Fence{Attempt: at.Attempt, Token: runtime.NewToken(), Seq: 1}
	reports := []runtime.Report{{Type: engine.JobStarted, Job: at.Job, Fence: fence, Try: a.Try}}
	if end != nil {
		fence.Seq++
		end.Job, end.Fence = at.Job, fence
		reports = append(reports, *end)
	}
	acks, err := e.Commit(soon(t), reports...)
	for _, ack := range acks {
		err = errors.Join(err, ack.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return standingOf(t, e, a)
}

// A job's end covers the same task when it comes again, and not another task of its
// name or an archived one that is run again.
func TestWhichTasksAJobsEndCovers(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	why := &engine.JobError{Code: "error", Message: "no luck"}
	end := func(r runtime.Report) func(t *testing.T, a runtime.Adoption) runtime.Attempt {
		return func(t *testing.T, a runtime.Adoption) runtime.Attempt { return tryOnce(t, e, a, &r) }
	}
	for name, c := range map[string]struct {
		end   func(t *testing.T, a runtime.Adoption) runtime.Attempt
		over  [2]bool // the same try again, and the next one
		retry bool    // what begins anew is a retry
	}{
		"succeeded": {end(runtime.Report{Type: engine.JobSucceeded}), [2]bool{false, true}, false},
		"failed":    {end(runtime.Report{Type: engine.JobFailed, Error: why}), [2]bool{false, true}, true},
		"canceled":  {end(runtime.Report{Type: engine.JobCanceled}), [2]bool{true, true}, false},
		"canceled while it waited": {func(t *testing.T, a runtime.Adoption) runtime.Attempt {
			if err := e.Cancel(soon(t), adoptTask(t, e, a).Job); err != nil {
				t.Fatal(err)
			}
			return standingOf(t, e, a)
		}, [2]bool{false, false}, false},
		"ended for its archived task": {func(t *testing.T, a runtime.Adoption) runtime.Attempt {
			if err := e.Fail(soon(t), adoptTask(t, e, a).Job, 1, *why); err != nil {
				t.Fatal(err)
			}
			return standingOf(t, e, a)
		}, [2]bool{false, false}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := waitingTask(t, e)
			last := c.end(t, a)
			next := a
			next.Try++
			if got := [2]bool{a.Over(last), next.Over(last)}; !last.State.Ended() || got != c.over {
				t.Errorf("the job is %s, and over for the same try and the next %v, want %v", last.State, got, c.over)
			}
			if err := asynq.NewInspectorFromRedisClient(e.Redis()).DeleteTask(a.Task.Queue, a.Task.ID); err != nil && !errors.Is(err, asynq.ErrTaskNotFound) {
				t.Fatal(err)
			}
			another := waitingTask(t, e, asynq.TaskID(a.Task.ID))
			for another.Try = range 3 {
				if stand := standingOf(t, e, another); stand.Job != last.Job || another.Over(stand) {
					t.Errorf("try %d of another task of the name is over: %+v", another.Try, stand)
				}
			}
			id, err := e.Adopt(soon(t), a, last)
			if err != nil || id == last.Job {
				t.Fatalf("Adopt gives %s again: %v", id, err)
			}
			v, err := e.Job(soon(t), id)
			if err != nil {
				t.Fatal(err)
			}
			if j, err := v.Job(); err != nil || (j.RetryOf == last.Job) != c.retry {
				t.Errorf("it is a retry of %q: %v", j.RetryOf, err)
			}
		})
	}
}

// What ties a task to its job stays as long as the job.
func TestThePointerOfATaskGoesWithItsJob(t *testing.T) {
	s := redistest.Server(t)
	e := open(t, s.URL(), func(o *engine.Options) { o.Retention = time.Minute })
	a := waitingTask(t, e)
	last := tryOnce(t, e, a, &runtime.Report{Type: engine.JobSucceeded})
	key := fmt.Sprintf("%s:{%s}:a:7:default:%s", e.Namespace(), last.Job[:2], a.Task.ID)
	if d, err := e.Redis().PTTL(soon(t), key).Result(); err != nil || d <= 0 || d > time.Minute {
		t.Errorf("of the ended job it goes in %s: %v", d, err)
	}
	if _, err := e.Adopt(soon(t), a, last); err != nil {
		t.Fatal(err)
	}
	if d, err := e.Redis().PTTL(soon(t), key).Result(); err != nil || d != -1 {
		t.Errorf("of a live job it goes in %s: %v", d, err)
	}
}

func TestAdoptedJobsAreNeverHandedToAsynq(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	inspector := asynq.NewInspectorFromRedisClient(e.Redis())
	a := waitingTask(t, e)
	at := adoptTask(t, e, a)
	if err := errors.Join(e.Dispatch(soon(t), at, "elsewhere"), e.FollowUp(soon(t), at.Job), e.Resume(soon(t), at.Job)); err != nil {
		t.Error(err)
	}
	if queues, err := inspector.Queues(); err != nil || len(queues) != 1 {
		t.Errorf("asynq has the queues %q: %v", queues, err)
	}
	tasks, err := inspector.ListPendingTasks("default")
	if err != nil || len(tasks) != 1 || tasks[0].ID != a.Task.ID {
		t.Errorf("asynq has the tasks %v: %v", tasks, err)
	}
	if err := e.Pause(soon(t), at.Job); !errors.Is(err, engine.ErrState) || !strings.Contains(err.Error(), "pause asynq's queue default") {
		t.Errorf("Pause says %v", err)
	}
	if stand, err := e.Tasks(soon(t), []runtime.Attempt{at}); err != nil || stand[0] != (runtime.Tasks{Own: runtime.TaskWaits, Queue: true}) {
		t.Errorf("its tasks are %+v, %v", stand, err)
	}
	if err := e.Cancel(soon(t), at.Job); err != nil {
		t.Fatal(err)
	}
	if tasks, err := inspector.ListPendingTasks("default"); err != nil || len(tasks) != 0 {
		t.Errorf("asynq keeps the task of a canceled job: %v, %v", tasks, err)
	}
	if _, err := e.Retry(soon(t), at.Job, engine.RetryQuery{}); !errors.Is(err, engine.ErrState) || !strings.Contains(err.Error(), a.Task.ID) {
		t.Errorf("Retry says %v", err)
	}
}

func TestTakeOverRaisesTheFence(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	a := waitingTask(t, e)
	at := tryOnce(t, e, a, nil)
	next, err := e.TakeOver(soon(t), at)
	if err != nil || !next.Waiting || next.Attempt != 2 || next.State != engine.Retrying {
		t.Errorf("next is %+v: %v", next, err)
	}
	if _, err := e.TakeOver(soon(t), at); !errors.Is(err, runtime.ErrSuperseded) {
		t.Errorf("the second one says %v", err)
	}
}
