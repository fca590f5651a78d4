package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A taking is a call of the asynq web UI's API, below its queues, that takes a job's task
// away.
type taking struct {
	what       string
	job        func() string
	attempt    int
	method     string
	path       string
	body       func(task string) any
	end, error string // the job's then
}

// TestTasksTakenAwayInTheAsynqUI deletes and archives tasks through the API of the asynq
// web UI, with a worker of default intervals beside, and listens to what watchers hear.
func TestTasksTakenAwayInTheAsynqUI(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	// One that fails waits for an hour, as a scheduled task.
	s.worker = start(t, "worker", nil, s.program, "worker", "--data", s.data, "--set", "worker.backoff_min=1h", "--set", "worker.backoff_max=2h")
	watch := s.watch()

	const unserved, served = "unserved", "tidemark"
	pending := func() string { return s.enqueue("unknown", unserved, 0, nil) }
	scheduled := func() string { return s.enqueue("unknown", unserved, time.Hour, nil) }
	retrying := func() string {
		job := s.enqueue("analysis", served, 0, map[string]string{"blob": s.unreadable()})
		watch.await("a failed attempt", 0, func(l line) bool {
			return l.text("type") == "job.retrying" && l.within("job").text("id") == job
		})
		return job
	}
	cases := []taking{
		{"pending, deleted", pending, 1, http.MethodDelete, unserved + "/pending_tasks/{task}", nil, "canceled", "task_deleted"},
		{"pending, archived", pending, 1, http.MethodPost, unserved + "/pending_tasks/{task}:archive", nil, "failed", "task_archived"},
		{"scheduled, deleted", scheduled, 1, http.MethodDelete, unserved + "/scheduled_tasks/{task}", nil, "canceled", "task_deleted"},
		{"scheduled, archived", scheduled, 1, http.MethodPost, unserved + "/scheduled_tasks/{task}:archive", nil, "failed", "task_archived"},
		{"retrying, deleted in a batch", retrying, 2, http.MethodPost, served + "/scheduled_tasks:batch_delete", func(task string) any {
			return map[string][]string{"task_ids": {task}}
		}, "canceled", "task_deleted"},
		{"retrying, archived", retrying, 2, http.MethodPost, served + "/scheduled_tasks/{task}:archive", nil, "failed", "task_archived"},
	}
	t.Run("at once", func(t *testing.T) { // since each waits for the reconciler
		for _, c := range cases {
			t.Run(c.what, func(t *testing.T) {
				t.Parallel()
				s.takeAway(t, watch, c)
			})
		}
	})
	s.activeTasksAreRefused(watch)
	s.stop()
}

// takeAway is one case: what is done to the task of a job, and what its watchers are to
// hear.
func (s *site) takeAway(t *testing.T, watch *process, c taking) {
	job := c.job()
	task := fmt.Sprintf("%s.%d", job, c.attempt)
	queue, _, _ := strings.Cut(c.path, "/")
	s.awaitTask(t, queue, task)
	var body any
	if c.body != nil {
		body = c.body(task)
	}
	from := watch.said()
	status, text := s.asynq(t, c.method, strings.ReplaceAll(c.path, "{task}", task), body)
	if status/100 != 2 {
		t.Fatalf("the asynq web UI answers %d: %s", status, text)
	}
	end, _ := watch.await("the job's end", from, func(l line) bool {
		j := l.within("job")
		return j.text("id") == job && j.text("ended_at") != ""
	})
	j := end.within("job")
	if j.text("state") != c.end || j.within("error").text("code") != c.error || j.within("error").text("message") == "" {
		t.Errorf("watchers hear %v", end)
	}
}

// activeTasksAreRefused tries the same with the task of a job that runs, which its worker,
// frozen meanwhile, then brings to its end.
func (s *site) activeTasksAreRefused(watch *process) {
	t := s.t
	file, _ := writeTable(t, "active.csv", tableBytes)
	from := watch.said()
	send := start(t, "analyze", nil, s.program, "analyze", "--server", "http://"+s.addr, file)
	running, _ := watch.await("a running analysis", from, func(l line) bool {
		return l.within("job").text("type") == "analysis" && l.within("job").text("state") == "running"
	})
	s.pauseWorker()
	job := running.within("job").text("id")
	if status, text := s.asynq(t, http.MethodGet, "tidemark/tasks/"+job+".1", nil); status != http.StatusOK || !bytes.Contains(text, []byte(`"state":"active"`)) {
		t.Errorf("the task of the job that runs: %d %s", status, text)
	}
	for _, path := range []string{"pending_tasks/", "scheduled_tasks/", "archived_tasks/"} {
		if status, text := s.asynq(t, http.MethodDelete, "tidemark/"+path+job+".1", nil); status/100 == 2 {
			t.Errorf("an active task is deleted as one of %s: %d %s", path, status, text)
		}
	}
	if status, text := s.asynq(t, http.MethodPost, "tidemark/pending_tasks/"+job+".1:archive", nil); status/100 == 2 {
		t.Errorf("an active task is archived: %d %s", status, text)
	}
	s.resumeWorker()
	watch.await("the analysis's end", 0, func(l line) bool {
		return l.within("job").text("id") == job && l.text("type") == "job.succeeded"
	})
	<-send.ended
}

// unreadable makes a blob whose attributes cannot be read, and returns its key. The store fails, which
// may be otherwise the next time, so an analysis of it is retried.
func (s *site) unreadable() string {
	s.t.Helper()
	const key = "damaged.csv"
	path := filepath.Join(s.data, "blobs", key)
	for name, content := range map[string]string{path: "a,b\n1,2\n", path + ".attrs": "{"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return key
}

// enqueue makes a job.
func (s *site) enqueue(jobType, queue string, delay time.Duration, payload any) string {
	s.t.Helper()
	body, _ := json.Marshal(map[string]any{ // strings and a number
		"topic": topic, "type": jobType, "queue": queue, "delay_ms": delay.Milliseconds(), "payload": payload,
	})
	status, text := s.request(s.t, http.MethodPost, "/v1/jobs", body)
	var made struct{ ID string }
	if err := json.Unmarshal(text, &made); err != nil || status != http.StatusCreated {
		s.t.Fatalf("enqueue: %d %s", status, text)
	}
	return made.ID
}

// asynq calls the API of the asynq web UI, below its queues.
func (s *site) asynq(t *testing.T, method, path string, body any) (int, []byte) {
	t.Helper()
	var encoded []byte
	if body != nil {
		encoded, _ = json.Marshal(body) // strings
	}
	return s.request(t, method, "/admin/asynq/api/queues/"+path, encoded)
}

// awaitTask waits until the asynq web UI shows a task.
func (s *site) awaitTask(t *testing.T, queue, task string) {
	t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if status, _ := s.asynq(t, http.MethodGet, queue+"/tasks/"+task, nil); status == http.StatusOK {
			return
		}
		<-time.After(20 * time.Millisecond) // it has no signal
	}
	t.Fatalf("the asynq web UI does not show task %s", task)
}

func (s *site) request(t *testing.T, method, path string, body []byte) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}
