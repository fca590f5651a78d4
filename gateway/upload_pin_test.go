package gateway_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
)

// lapse removes a job's record, as Redis does once retention has passed.
func lapse(t testing.TB, e *engine.Engine, job engine.JobID) {
	t.Helper()
	if err := e.Redis().Del(soon(t), lastNamespace()+":{"+string(job[:2])+"}:j:"+string(job)).Err(); err != nil {
		t.Fatal(err)
	}
}

// Bytes stay while something refers to them, whatever became of the job that brought them:
// a retry of a retry, a job that names them, a schedule that will.
func TestBytesStayWhileSomebodyRefersToThem(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	file := csv(1000)
	ctx := soon(t)
	forget := func(job engine.JobID) { t.Helper(); lapse(t, e, job) }
	retry := func(job engine.JobID) engine.JobID {
		t.Helper()
		if err := e.Cancel(ctx, job); err != nil {
			t.Fatal(err)
		}
		made, err := e.Retry(ctx, job, engine.RetryQuery{})
		if err != nil {
			t.Fatal(err)
		}
		forget(job)
		return made.ID
	}
	naming := func(job engine.JobID) []byte {
		return []byte(`{"blob":"incoming/` + string(topic) + "/" + string(job) + `"}`)
	}
	for name, c := range map[string]struct {
		refer func(job engine.JobID) (last engine.JobID)
		end   func(last engine.JobID)
	}{
		"a retry of a retry": {func(job engine.JobID) engine.JobID { return retry(retry(job)) }, forget},
		"an ended retry": {retry, func(last engine.JobID) {
			// It can be tried again in turn, for as long as its record is kept.
			if err := e.Cancel(ctx, last); err != nil {
				t.Fatal(err)
			}
			forget(last)
		}},
		"a job that names it": {func(job engine.JobID) engine.JobID {
			made, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "analysis", Payload: naming(job), Queue: "bulk"})
			if err != nil {
				t.Fatal(err)
			}
			forget(job)
			return made.ID
		}, forget},
		"a schedule": {func(job engine.JobID) engine.JobID {
			if _, _, err := e.PutSchedule(ctx, engine.Schedule{Topic: topic, Name: "nightly", Cron: "0 3 * * *", Type: "analysis", Payload: naming(job)}); err != nil {
				t.Fatal(err)
			}
			forget(job)
			return ""
		}, func(engine.JobID) {
			if err := e.DeleteSchedule(ctx, topic, "nightly"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			job := s.announce(t, len(file))
			s.patch(t, job, 0, file)
			last := c.refer(job)
			day, now := 24*time.Hour, time.Now().Add(runtime.Of(e).Retention())
			for range 20 {
				now = now.Add(day)
				s.SweepAt(ctx, now)
			}
			if !there(d.data(job)) || !there(d.ticket("settled", job)) {
				t.Fatal("the bytes are gone, or about to go")
			}
			c.end(last)
			s.SweepAt(ctx, now.Add(2*day))
			if !there(d.data(job)) {
				t.Error("the bytes go at the first look")
			}
			s.SweepAt(ctx, now.Add(4*day))
			if there(d.data(job)) || there(d.ticket("settled", job)) || there(d.ticket("orphaned", job)) {
				t.Error("the bytes stay when nothing refers to them any more")
			}
		})
	}
}

// A Redis that is empty for a while costs no bytes, however long ago they arrived.
func TestBytesOutlastAnEmptyRedis(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	file := csv(1000)
	job := s.announce(t, len(file))
	s.patch(t, job, 0, file)
	ctx := soon(t)
	key := lastNamespace() + ":{" + string(job[:2]) + "}:j:" + string(job)
	now := time.Now().Add(100 * 24 * time.Hour)
	if err := e.Redis().Rename(ctx, key, key+":away").Err(); err != nil {
		t.Fatal(err)
	}
	s.SweepAt(ctx, now)
	s.SweepAt(ctx, now.Add(23*time.Hour))
	if err := e.Redis().Rename(ctx, key+":away", key).Err(); err != nil {
		t.Fatal(err)
	}
	s.SweepAt(ctx, now.Add(24*time.Hour))
	s.SweepAt(ctx, now.Add(72*time.Hour))
	if !there(d.data(job)) || !there(d.ticket("settled", job)) {
		t.Error("the bytes are gone")
	}
}

// A gateway that is killed after it has queued a job and before it has settled the upload
// leaves an open ticket; the job's retry reads the bytes all the same.
func TestBytesOfAnEndedJobThatWasNotSettled(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	file := csv(1000)
	job := s.announce(t, len(file))
	s.patch(t, job, 0, file)
	if err := os.Rename(d.ticket("settled", job), d.ticket("open", job)); err != nil {
		t.Fatal(err)
	}
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Retry(soon(t), job, engine.RetryQuery{}); err != nil {
		t.Fatal(err)
	}
	s.SweepAt(soon(t), time.Now())
	if !there(d.data(job)) || !there(d.ticket("settled", job)) {
		t.Errorf("bytes there: %v, settled: %v", there(d.data(job)), there(d.ticket("settled", job)))
	}
	if a := s.tus(t, http.MethodHead, "/v1/uploads/"+string(job), nil); a.status != http.StatusOK {
		t.Errorf("head: %+v", a)
	}
}

// Its ticket may stay open for longer than the job's record is kept, when no gateway runs
// meanwhile. The bytes stay while a retry of the job needs them.
func TestBytesOfALapsedJobThatWasNotSettled(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	file := csv(1000)
	job := s.announce(t, len(file))
	s.patch(t, job, 0, file)
	if err := os.Rename(d.ticket("settled", job), d.ticket("open", job)); err != nil {
		t.Fatal(err)
	}
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
	retry, err := e.Retry(soon(t), job, engine.RetryQuery{})
	if err != nil {
		t.Fatal(err)
	}
	lapse(t, e, job)
	later := time.Now().Add(runtime.Of(e).Retention() + 25*time.Hour)
	s.SweepAt(soon(t), later)
	if !there(d.data(job)) || !there(d.ticket("open", job)) {
		t.Errorf("bytes there: %v, open: %v, while a retry needs them", there(d.data(job)), there(d.ticket("open", job)))
	}
	lapse(t, e, retry.ID)
	s.SweepAt(soon(t), later)
	if there(d.data(job)) || there(d.ticket("open", job)) {
		t.Errorf("bytes there: %v, open: %v, when nothing refers to them", there(d.data(job)), there(d.ticket("open", job)))
	}
}
