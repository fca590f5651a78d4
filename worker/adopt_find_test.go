package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker"
)

// Tasks that were enqueued before there was an Adopter are seen before they run, also many
// of them.
func TestWaitingTasksBecomeVisible(t *testing.T) {
	t.Parallel()
	e := real(t)
	ctx := soon(t)
	infos := []*asynq.TaskInfo{send(t, e, "export")}
	failOnce(t, e, infos[0])
	infos = append(infos, send(t, e, "export", asynq.ProcessIn(time.Hour)))
	for range 250 { // several pages
		infos = append(infos, send(t, e, "export"))
	}
	own := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = "default" }) // not to be adopted
	a := adopt(t, briefAdopt(e))
	for i, info := range infos {
		now, err := runtime.Of(e).Current(ctx, jobOf(t, e, info))
		if err != nil || now.State != engine.Queued || now.Task.ID != info.ID || !now.Adopted() || now.RunAt.IsZero() != (i > 1) {
			t.Fatalf("task %d is seen as %+v: %v", i, now, err)
		}
	}
	var listed int
	var page engine.JobsPage
	for more := true; more; more = page.Next != "" {
		var err error
		if page, err = e.Jobs(ctx, topic, engine.JobsQuery{After: page.Next, Limit: 500}); err != nil {
			t.Fatal(err)
		}
		listed += len(page.Jobs)
	}
	if listed != len(infos)+1 {
		t.Errorf("%d jobs of %d tasks and job %s", listed, len(infos), own)
	}
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error { return nil }))
	for _, info := range infos[2:] {
		if all := history(t, e, jobOf(t, e, info), nil); last(all).State != engine.Succeeded {
			t.Fatalf("it went\n%s", tell(all))
		}
	}
}

// A task whose topic is a mistake is looked at every few seconds, and named when it runs.
func TestAMistakenTopicIsNamedOnce(t *testing.T) {
	t.Parallel()
	e := real(t)
	var log logbook
	o := briefAdopt(e)
	o.Logger, o.ReconcileInterval = log.logger(), 20*time.Millisecond
	o.Topic = func(task *asynq.Task) engine.Topic {
		if task.Type() == "odd" {
			panic("not mine")
		}
		return topic
	}
	a := adopt(t, o)
	odd := send(t, e, "odd", asynq.ProcessIn(time.Hour))
	for range 5 { // looks
		jobOf(t, e, send(t, e, "export"))
	}
	ran := make(chan struct{}, 1)
	serve(t, e, briefServer(), handling(a, "odd", func(context.Context, *asynq.Task) error {
		ran <- struct{}{}
		return nil
	}))
	if err := inspect(e).RunTask(odd.Queue, odd.ID); err != nil {
		t.Fatal(err)
	}
	wait(t, "the task", ran)
	if n := strings.Count(log.String(), "asynq runs the task without a job"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// A task that ran between being listed and being looked at is not taken for a new one.
func TestATaskThatHasRunMeanwhileGetsNoSecondJob(t *testing.T) {
	t.Parallel()
	e := real(t)
	a := adopt(t, briefAdopt(e))
	s := serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error { return nil }))
	info := send(t, e, "export")
	job := jobOf(t, e, info)
	history(t, e, job, nil)
	eventually(t, "asynq to be done with it", func() bool { return standing(e, info) == "gone" })
	s.Shutdown()
	made, err := runtime.Of(e).AdoptWaiting(soon(t), []runtime.Adoption{{
		Task: runtime.Task{Queue: info.Queue, ID: info.ID}, Topic: topic, Type: "export", Try: 1,
	}})
	if err != nil || made != 0 || jobOf(t, e, info) != job {
		t.Errorf("%d jobs were made, and it is now %s: %v", made, jobOf(t, e, info), err)
	}
}

// Whatever asynq's tools do to the task of an adopted job, its job has an end that says so,
// within ten seconds at the intervals that are the default.
func TestAdoptedJobsEndWithTheirTasks(t *testing.T) {
	t.Parallel()
	type tamper = func(e *engine.Engine, info *asynq.TaskInfo) error
	remove := func(e *engine.Engine, info *asynq.TaskInfo) error { return inspect(e).DeleteTask(info.Queue, info.ID) }
	archive := func(e *engine.Engine, info *asynq.TaskInfo) error { return inspect(e).ArchiveTask(info.Queue, info.ID) }
	type row struct {
		name   string
		tamper tamper
		end    engine.State
		code   string
		says   string
	}
	var rows []row
	for _, state := range []string{"pending", "scheduled", "retry"} {
		rows = append(rows,
			row{state + " and deleted", remove, engine.Canceled, "task_deleted", "deleted"},
			row{state + " and archived", archive, engine.Failed, "task_archived", "archived"})
	}
	rows = append(rows, row{"pending, and its queue is gone", func(e *engine.Engine, info *asynq.TaskInfo) error {
		return inspect(e).DeleteQueue(info.Queue, true)
	}, engine.Failed, "task_lost", "no queue default"})
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := real(t)
			var opts []asynq.Option
			if strings.HasPrefix(c.name, "scheduled") {
				opts = append(opts, asynq.ProcessIn(time.Hour))
			}
			info := send(t, e, "export", opts...)
			if strings.HasPrefix(c.name, "retry") {
				failOnce(t, e, info)
				c.says = map[bool]string{true: "no luck", false: c.says}[c.code == "task_archived"]
			}
			adopt(t, worker.AdoptOptions{Engine: e, Topic: func(*asynq.Task) engine.Topic { return topic }, Logger: quiet()})
			job := jobOf(t, e, info)
			if err := c.tamper(e, info); err != nil {
				t.Fatal(err)
			}
			end := last(history(t, e, job, nil))
			if end.State != c.end || end.Error == nil || end.Error.Code != c.code || !strings.Contains(end.Error.Message, c.says) {
				t.Errorf("it ended as %s, %+v; want %s, %s", end.State, end.Error, c.end, c.code)
			}
			if strings.Contains(fmt.Sprint(end), "secret") {
				t.Errorf("the payload is told: %+v", end)
			}
		})
	}
}

// During a rolling deploy a server that does not have the middleware yet takes tasks too.
func TestATaskDoneWithoutTheMiddlewareEndsItsJob(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		opts []asynq.Option
		end  engine.State
		code string
	}{
		{"and kept", []asynq.Option{asynq.Retention(time.Hour)}, engine.Succeeded, ""},
		{"and gone", nil, engine.Canceled, "task_deleted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := real(t)
			info := send(t, e, "export", c.opts...)
			adopt(t, briefAdopt(e))
			job := jobOf(t, e, info)
			serve(t, e, briefServer(), handling(nil, "export", func(context.Context, *asynq.Task) error { return nil }))
			end := last(history(t, e, job, nil))
			if end.State != c.end || (c.code != "") != (end.Error != nil) || (end.Error != nil && end.Error.Code != c.code) {
				t.Errorf("it ended as %s, %+v", end.State, end.Error)
			}
		})
	}
}

// Jobs that are not adopted are workers', whose settings decide about them.
func TestAdoptersLeaveOtherJobsToWorkers(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := briefAdopt(e)
	o.Lease = 250 * time.Millisecond
	adopt(t, o)
	own := enqueue(t, e, "export", func(s *engine.Spec) { s.Queue = "elsewhere" })
	lose(t, e, own, 1)
	for range 2 { // by the second one, the sweep has passed by the job that was lost before
		job := jobOf(t, e, send(t, e, "export"))
		lose(t, e, job, 1)
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobStalled })
	}
	if now, err := runtime.Of(e).Current(soon(t), own); err != nil || now.State != engine.Running || now.Attempt != 1 {
		t.Errorf("the job is %+v: %v", now, err)
	}
}

// A worker's sweep and reconciler meet adopted jobs, since they stand among its own: it
// does not hand them to asynq, and ends those whose task is gone.
func TestWorkersReconcileAdoptedJobs(t *testing.T) {
	t.Parallel()
	e := real(t)
	gone, stays := send(t, e, "export"), send(t, e, "export")
	o := briefAdopt(e)
	o.ReconcileInterval, o.SweepInterval, o.Lease = time.Minute, time.Minute, 10*time.Minute // the worker's business
	adopt(t, o)
	jobs := []engine.JobID{jobOf(t, e, gone), jobOf(t, e, stays)}
	lose(t, e, jobs[1], 1)

	w := brief(e)
	w.Lease, w.CrashLimit, w.Queues = 250*time.Millisecond, 1, []string{"elsewhere"}
	start(t, build(t, w))
	awaitRecord(t, e, jobs[1], func(r engine.Record) bool { return r.Type == engine.JobStalled && r.Job.State == engine.Retrying })
	if err := inspect(e).DeleteTask(gone.Queue, gone.ID); err != nil {
		t.Fatal(err)
	}
	if end := last(history(t, e, jobs[0], nil)); end.State != engine.Canceled || end.Error.Code != "task_deleted" {
		t.Errorf("it ended as %s, %+v", end.State, end.Error)
	}
	queues, err := inspect(e).Queues()
	if err != nil || len(queues) != 1 {
		t.Errorf("asynq has the queues %q: %v", queues, err)
	}
	if now, err := runtime.Of(e).Current(soon(t), jobs[1]); err != nil || !now.Waiting || now.Attempt != 2 {
		t.Errorf("the other job is %+v: %v", now, err)
	}
}
