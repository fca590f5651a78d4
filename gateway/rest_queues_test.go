package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Answers about jobs say how the queues are served in which they wait. A user sees only those, and
// only of jobs whose topic the user may read; an admin sees all, with what is in them.
func TestQueuesAreForThoseWhoseJobsWait(t *testing.T) {
	redis := redistest.Server(t)
	e := open(t, redis.URL(), nil)
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{"reader": {Subject: "r", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}}, "root": {Subject: "root", Admin: true}}
	})
	enqueue := func(to engine.Topic, queue, jobType string) engine.JobID {
		t.Helper()
		made, err := e.Enqueue(soon(t), engine.Spec{Topic: to, Type: jobType, Queue: queue})
		if err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	mine, again, foreign := enqueue(topic, "exports", "export"), enqueue(topic, "exports", "report"), enqueue("user:43", "secret", "export")
	names := map[string]int{}
	for _, q := range []string{"exports", runtime.RescueQueue("exports"), runtime.TypeQueue("exports", "export"), runtime.TypeQueue("exports", "secret")} {
		names[e.QueueName(q)] = 1
	}
	if err := asynq.NewInspectorFromRedisClient(e.Redis()).PauseQueue(e.QueueName("exports")); err != nil {
		t.Fatal(err)
	}
	worker := asynq.NewServerFromRedisClient(e.Redis(), asynq.Config{Queues: names, LogLevel: asynq.FatalLevel})
	if err := worker.Start(asynq.NotFoundHandler()); err != nil {
		t.Fatal(err)
	}
	defer worker.Shutdown()

	get := func(who, path string) answer {
		t.Helper()
		return s.ask(t, http.MethodGet, path, "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+who) })
	}
	queues := func(who, path string) []engine.Queue {
		t.Helper()
		a := get(who, path)
		var body struct{ Queues []engine.Queue }
		a.into(t, &body)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %+v", path, a)
		}
		return body.Queues
	}
	all := queues("root", "/v1/queues")
	for deadline := soon(t); !slices.ContainsFunc(all, func(q engine.Queue) bool { return q.Workers == 1 }); all = queues("root", "/v1/queues") {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline.Done():
			t.Fatalf("the worker does not show: %+v", all)
		}
	}
	if len(all) != 2 || all[0].Name != "exports" || all[1].Name != "secret" || all[0].Counts == nil || all[0].Counts.Waiting != 2 || !all[0].Paused ||
		!slices.Equal(all[0].Types, []string{"export", "secret"}) || all[1].Workers != 0 {
		t.Errorf("an admin sees the queues %+v", all)
	}

	named := "/v1/queues?job=" + string(mine)
	for _, path := range []string{
		named, named + "&job=" + string(foreign), named + "&job=" + string(another(again)) + "&job=x&job=", "/v1/jobs?topic=" + string(topic) + "&type=export", "/v1/jobs/" + string(mine),
	} {
		got := queues("reader", path)
		if len(got) != 1 || got[0].Name != "exports" || !got[0].Paused || got[0].Workers != 1 || got[0].Counts != nil || !slices.Equal(got[0].Types, []string{"export"}) {
			t.Errorf("%s shows a reader the queues %+v", path, got)
		}
		if strings.Contains(get("reader", path).body, "secret") {
			t.Errorf("%s shows a reader another's queue, or a type of others", path)
		}
	}
	if got := queues("reader", named+"&job="+string(again)); len(got) != 1 || got[0].Holds("report") != engine.HoldPaused {
		t.Errorf("two jobs of a queue have the queues %+v", got)
	}
	of := func(job engine.JobID) string { return get("reader", "/v1/queues?job="+string(job)).body }
	if unknown := of(another(again)); of(foreign) != unknown || unknown != "{\"queues\":[]}\n" {
		t.Errorf("a foreign job's queue is %q, an unknown one's %q", of(foreign), unknown)
	}
	wantProblem(t, get("reader", "/v1/queues"), http.StatusForbidden, "forbidden")
	wantProblem(t, get("reader", "/v1/queues?queue=secret"), http.StatusBadRequest, "invalid")
	wantProblem(t, get("reader", "/v1/queues?"+strings.Repeat("job=x&", engine.MaxQueueJobs+1)), http.StatusBadRequest, "invalid")
	wantProblem(t, get("reader", "/v1/jobs?topic="+string(topic)+"&job=a&job=b"), http.StatusBadRequest, "invalid")
	wantProblem(t, get("nobody", named), http.StatusUnauthorized, "unauthenticated")
	redis.Kill()
	gone := get("root", "/v1/queues")
	for deadline := soon(t); gone.status == http.StatusOK && deadline.Err() == nil; gone = get("root", "/v1/queues") { // it is a second old at most
		<-time.After(20 * time.Millisecond)
	}
	wantProblem(t, gone, http.StatusServiceUnavailable, "unavailable")
}

// another is a job's ID with another last character: of the same shard, and of no job.
func another(job engine.JobID) engine.JobID {
	last := len(job) - 1
	if job[last] == '0' {
		return job[:last] + "1"
	}
	return job[:last] + "0"
}
