package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

func everySecond() engine.Schedule {
	return engine.Schedule{Topic: topic, Name: "pulse", Cron: "@every 1s", Type: "pulse"}
}

func putSchedule(t testing.TB, e *engine.Engine, s engine.Schedule) {
	t.Helper()
	if _, _, err := e.PutSchedule(soon(t), s); err != nil {
		t.Fatal(err)
	}
}

// pulsing is a worker that sees to schedules and sends the job of each run of type pulse.
func pulsing(t testing.TB, o worker.Options, ran chan<- engine.JobID) *worker.Worker {
	t.Helper()
	o.ScheduleInterval = 50 * time.Millisecond
	w := build(t, o)
	worker.Handle(w, "pulse", func(ctx context.Context, run *worker.Run, _ []byte) error {
		select {
		case ran <- run.ID():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return w
}

// runs waits for n of them.
func runs(t testing.TB, ran <-chan engine.JobID, n int) {
	t.Helper()
	ctx := soon(t)
	for i := range n {
		select {
		case <-ran:
		case <-ctx.Done():
			t.Fatalf("%d runs of %d came", i, n)
		}
	}
}

// queued are the jobs of the topic in the order of their records.
func queued(t testing.TB, e *engine.Engine) []engine.JobID {
	t.Helper()
	var jobs []engine.JobID
	for after := engine.Beginning; ; {
		page, err := stream.Of(e).Replay(soon(t), topic, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range page.Entries {
			if entry.Type() != engine.JobQueued {
				continue
			}
			r, err := entry.Record()
			if err != nil {
				t.Fatal(err)
			}
			if r.Job.Attempt == 0 { // it was not handed back
				jobs = append(jobs, r.Job.ID)
			}
		}
		if len(page.Entries) == 0 || page.Entries[len(page.Entries)-1].ID == page.Head {
			return jobs
		}
		after = page.Entries[len(page.Entries)-1].ID
	}
}

// wantEverySecond holds the jobs to be one for each second from the first on.
func wantEverySecond(t testing.TB, e *engine.Engine) {
	t.Helper()
	jobs := queued(t, e)
	for i, job := range jobs {
		if want := jobs[0].Time().Add(time.Duration(i) * time.Second); !job.Time().Equal(want) {
			t.Fatalf("job %d is of the tick %s, want %s; the ticks are %s", i, job.Time(), want, times(jobs))
		}
	}
}

func times(jobs []engine.JobID) string {
	var texts []string
	for _, job := range jobs {
		texts = append(texts, job.Time().Format(time.TimeOnly))
	}
	return strings.Join(texts, " ")
}

func TestThreeWorkersMakeOneJobATick(t *testing.T) {
	t.Parallel()
	url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
	ran := make(chan engine.JobID, 100)
	e := openIn(t, url, namespace)
	for range 3 {
		start(t, pulsing(t, brief(openIn(t, url, namespace)), ran))
	}
	putSchedule(t, e, everySecond())
	runs(t, ran, 4)
	if n := len(queued(t, e)); n < 4 {
		t.Fatalf("%d jobs are there", n)
	}
	wantEverySecond(t, e)
	if err := e.DeleteSchedule(soon(t), topic, "pulse"); err != nil {
		t.Fatal(err)
	}
	ended := map[engine.JobID]int{}
	for _, job := range queued(t, e) {
		all := history(t, e, job, nil)
		ended[job]++
		if j := last(all); j.State != engine.Succeeded || j.Attempt != 1 || j.Labels[engine.ScheduleLabel] != "pulse" {
			t.Errorf("it ended so:\n%s", tell(all))
		}
	}
	for job, n := range ended {
		if n != 1 {
			t.Errorf("job %s was queued %d times", job, n)
		}
	}
}

// Workers that were away for hours do with the ticks of that time what the schedules say.
func TestTicksWhileNoWorkerRan(t *testing.T) {
	t.Parallel()
	for policy, want := range map[engine.MissedPolicy]int{engine.MissedSkip: 0, engine.MissedLatest: 1, engine.MissedAll: 5} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
			e := openIn(t, url, namespace)
			// Half an hour from its next tick, and from the one before.
			cron := fmt.Sprintf("%d * * * *", time.Now().Add(30*time.Minute).Minute())
			s := engine.Schedule{Topic: topic, Name: "hourly", Cron: cron, Type: "pulse", Missed: policy}
			ran := make(chan engine.JobID, 100)
			var log logbook
			again := func() *worker.Worker {
				o := brief(openIn(t, url, namespace))
				// A tick of right now would be no missed one.
				o.ScheduleGrace, o.Schedules, o.Logger = 10*time.Millisecond, []engine.Schedule{s}, log.logger()
				return pulsing(t, o, ran)
			}
			standing := func() engine.Scheduled {
				all, err := e.Schedules(soon(t), topic, s)
				if err != nil || len(all) != 1 {
					t.Fatalf("%+v, %v", all, err)
				}
				return all[0]
			}
			one, two := again(), again()
			for _, w := range []*worker.Worker{one, two} {
				if err := w.Start(soon(t)); err != nil {
					t.Fatal(err)
				}
			}
			field := string(topic) + "|hourly"
			key := namespace + ":{schedules}:ticks"
			eventually(t, "the schedule to be seen", func() bool {
				seen, err := e.Redis().HExists(soon(t), key, field).Result()
				return err == nil && seen
			})
			stop(t, one)
			stop(t, two)
			newest := standing().NextAt.Add(-time.Hour)
			if err := e.Redis().HSet(soon(t), key, field, newest.Add(-5*time.Hour).UnixMilli()).Err(); err != nil {
				t.Fatal(err)
			}
			start(t, again())
			start(t, again())
			eventually(t, "the missed ticks to be seen to", func() bool { return standing().LastAt.Equal(newest) })
			runs(t, ran, want)
			jobs := queued(t, e)
			if len(jobs) != want {
				t.Fatalf("the ticks with jobs are %s, want %d", times(jobs), want)
			}
			for i, job := range jobs {
				if at := newest.Add(time.Duration(i-want+1) * time.Hour); !job.Time().Equal(at) {
					t.Errorf("job %d is of %s, want %s", i, job.Time(), at)
				}
			}
			if said := strings.Contains(log.String(), "were missed and have no job"); said != (want < 5) {
				t.Errorf("the log:\n%s", log.String())
			}
		})
	}
}

// Ticks that come while Redis is away have their jobs when it is back.
func TestSchedulesOutlastARestartOfRedis(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t, redistest.WithAOF())
	e := open(t, r.URL())
	var log logbook
	o := brief(e)
	o.Logger = log.logger()
	ran := make(chan engine.JobID, 100)
	putSchedule(t, e, everySecond())
	start(t, pulsing(t, o, ran))
	runs(t, ran, 2)
	before := len(queued(t, e))
	r.Kill()
	eventually(t, "the outage to be noticed", func() bool { return strings.Contains(log.String(), "cannot read schedules") })
	pause(soon(t), 2500*time.Millisecond) // so that two ticks fall into it
	r.Restart()
	runs(t, ran, 4)
	if n := len(queued(t, e)); n < before+4 {
		t.Errorf("%d jobs before, %d after", before, n)
	}
	wantEverySecond(t, e)
	for _, line := range []string{"cannot read schedules", "schedules can be read again"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", line, n, log.String())
		}
	}
}

// A schedule of the options takes the place of the stored one, and one that cannot be
// used is named in the log, once, and keeps nobody from ticking.
func TestConfiguredScheduleReplacesAStoredOne(t *testing.T) {
	t.Parallel()
	url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
	e := openIn(t, url, namespace)
	stored := everySecond()
	stored.Type, stored.Title = "other", "stored"
	putSchedule(t, e, stored)
	broken := `{"cron":"@daily","time_zone":"Mars/Olympus","type":"pulse"}`
	if err := errors.Join(
		e.Redis().HSet(soon(t), namespace+":{schedules}", string(topic)+"|broken", broken).Err(),
		e.Redis().HSet(soon(t), namespace+":{schedules}:times", string(topic)+"|broken", "Mars/Olympus @daily").Err(),
	); err != nil {
		t.Fatal(err)
	}
	var log logbook
	o := brief(e)
	o.Logger, o.Schedules = log.logger(), []engine.Schedule{everySecond()}
	ran := make(chan engine.JobID, 100)
	start(t, pulsing(t, o, ran))
	runs(t, ran, 2)
	for _, job := range queued(t, e) {
		if v, err := e.Job(soon(t), job); err != nil || strings.Contains(string(v.JSON), "stored") {
			t.Errorf("the job is %s, %v", v.JSON, err)
		}
	}
	if n := strings.Count(log.String(), "a schedule does not tick"); n != 1 || !strings.Contains(log.String(), "Mars/Olympus") {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// A schedule whose jobs cannot be made is named once as well, however often its ticks come.
func TestAScheduleWithoutAWritableTopicIsNamedOnce(t *testing.T) {
	t.Parallel()
	url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
	e := openIn(t, url, namespace)
	putSchedule(t, e, everySecond())
	stuck := everySecond()
	stuck.Topic = "user:stuck"
	putSchedule(t, e, stuck)
	first, err := e.Enqueue(soon(t), engine.Spec{Topic: stuck.Topic, Type: "other"})
	if err != nil {
		t.Fatal(err)
	}
	stream := fmt.Sprintf("%s:{%s}:s:%s", namespace, first.ID[:2], stuck.Topic)
	if err := errors.Join(e.Redis().Del(soon(t), stream).Err(), e.Redis().Set(soon(t), stream, "x", 0).Err()); err != nil {
		t.Fatal(err)
	}
	var log logbook
	o := brief(e)
	o.Logger = log.logger()
	ran := make(chan engine.JobID, 100)
	start(t, pulsing(t, o, ran))
	runs(t, ran, 3)
	if n := strings.Count(log.String(), "a schedule does not tick"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

func TestSchedulesOfOptionsAreChecked(t *testing.T) {
	t.Parallel()
	good, bad := everySecond(), everySecond()
	bad.TimeZone = "Mars/Olympus"
	for _, c := range []struct {
		o    worker.Options
		want string
	}{
		{worker.Options{Schedules: []engine.Schedule{bad}}, `invalid Schedules: pulse of user:42: invalid TimeZone "Mars/Olympus"`},
		{worker.Options{Schedules: []engine.Schedule{good, good}}, "invalid Schedules: pulse of user:42 is named twice"},
		{worker.Options{ScheduleInterval: time.Millisecond}, "invalid ScheduleInterval 1ms: want 10ms to 10m0s"},
		{worker.Options{ScheduleGrace: 2 * time.Hour}, "invalid ScheduleGrace 2h0m0s: want 10ms to 1h0m0s"},
	} {
		if err := c.o.Validate(); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if err := (worker.Options{Schedules: []engine.Schedule{good}}).Validate(); err != nil {
		t.Error(err)
	}
}

// So is one whose jobs no worker takes. Its ticks are skipped, and the others' are not.
func TestAScheduleIntoAQueueThatIsNotServedIsNamedOnce(t *testing.T) {
	t.Parallel()
	e := real(t)
	putSchedule(t, e, everySecond())
	stuck := everySecond()
	stuck.Name, stuck.Queue = "stuck", "unserved"
	putSchedule(t, e, stuck)
	var log logbook
	o := brief(e)
	o.Logger = log.logger()
	ran := make(chan engine.JobID, 100)
	start(t, pulsing(t, o, ran))
	const words = "a schedule's ticks are skipped"
	runs(t, ran, 10)
	for !strings.Contains(log.String(), words) {
		runs(t, ran, 1)
	}
	runs(t, ran, 3)
	if n := strings.Count(log.String(), words); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	list, err := e.Schedules(soon(t), topic)
	if err != nil || list[0].Err != nil || list[1].Err == nil {
		t.Errorf("the list says %+v, %v", list, err)
	}
}
