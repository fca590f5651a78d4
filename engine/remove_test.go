package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// keysOf lists the keys of the engine's Redis, but for streams and the list of removed jobs, that name a
// job or hold its ID.
func keysOf(t testing.TB, e *engine.Rig, job engine.JobID) (named []string) {
	t.Helper()
	ctx, r := minutes(t), e.Redis()
	var keys []string
	list := func(ctx context.Context, node redis.Cmdable) error {
		found, err := node.Keys(ctx, "*").Result()
		keys = append(keys, found...)
		return err
	}
	var nodes sync.Mutex
	if c, cluster := r.(*redis.ClusterClient); cluster {
		must(t, c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			nodes.Lock()
			defer nodes.Unlock()
			return list(ctx, node)
		}))
	} else {
		must(t, list(ctx, r))
	}
	for _, key := range keys {
		var content []string
		kind, err := r.Type(ctx, key).Result()
		must(t, err)
		switch kind {
		case "string":
			content = []string{r.Get(ctx, key).Val()}
		case "zset":
			content = r.ZRange(ctx, key, 0, -1).Val()
		case "hash":
			content = r.HVals(ctx, key).Val()
		case "list":
			content = r.LRange(ctx, key, 0, -1).Val()
		}
		own := strings.HasPrefix(key, e.Namespace()+":{") && !strings.HasSuffix(key, "}:removed") && !strings.Contains(key, ":op:~")
		if strings.Contains(key, string(job)) || own && slices.ContainsFunc(content, func(s string) bool { return strings.Contains(s, string(job)) }) {
			named = append(named, key)
		}
	}
	return named
}

// removedAs checks the record of a removal, which shows the job as it ended.
func removedAs(t testing.TB, e *engine.Rig, topic engine.Topic, after engine.Cursor, job engine.JobID, state engine.State) engine.Cursor {
	t.Helper()
	for u, err := range e.Follow(soon(t), engine.FollowQuery{Topic: topic, After: after}) {
		must(t, err)
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Record()
		must(t, err)
		if r.Type != engine.JobRemoved || r.Job.ID != job || r.Job.State != state || r.Job.Rev != r.ID.N() {
			t.Errorf("the record is %s of %+v; want that job %s, %s, was removed", r.Type, r.Job, job, state)
		}
		return u.Cursor
	}
	t.Error("there is no record of the removal")
	return after
}

// fan makes children of a desk's running job, in a queue that is not served.
func (d *desk) fan(name string, n int) []*desk {
	d.t.Helper()
	children, names, ctx := make([]engine.Child, n), make([]string, n), minutes(d.t)
	for i := range children {
		names[i] = fmt.Sprint(i)
		children[i] = engine.Child{Name: names[i], Spec: engine.Spec{Type: "export"}}
	}
	children, plan, err := runtime.PlanFanOut(name, d.topic, crowded, children)
	must(d.t, err, d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err, d.e.Spawn(ctx, d.job, d.r.Fence, 0, name, children))
	jobs, err := d.e.Outcomes(ctx, d.job, name, names)
	must(d.t, err)
	desks := make([]*desk, n)
	for i, j := range jobs {
		desks[i] = &desk{pen: &pen{t: d.t, e: d.e, r: runtime.Report{Job: j.ID}}, topic: d.topic, job: j.ID}
	}
	return desks
}

// succeed runs the job's next attempt to its end.
func (d *desk) succeed(attempt int) {
	d.t.Helper()
	must(d.t, d.start(attempt).Err, d.write(runtime.Report{Type: engine.JobSucceeded}).Err)
}

// testRemove removes jobs of every shard, and what Redis and asynq keep of them.
func testRemove(t *testing.T, ctx context.Context, e *engine.Rig) {
	for i, topic := range topicsOf("remove") {
		spec := engine.Spec{Topic: topic, Type: "export", Key: "one", Labels: map[string]string{"a": "b"}, Payload: []byte("rows"), Deadline: time.Now().Add(time.Hour)}
		made, err := e.Enqueue(ctx, spec)
		must(t, err)
		d := &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: made.ID}}, topic: topic, job: made.ID}
		if err := e.Remove(ctx, d.job); !errors.Is(err, engine.ErrState) || !strings.Contains(err.Error(), "it is queued, and only a job that has ended is removed") {
			t.Fatalf("a waiting job: %v", err)
		}
		d.start(1)
		if err := e.Remove(ctx, d.job); !errors.Is(err, engine.ErrState) {
			t.Fatalf("a running job: %v", err)
		}
		must(t, d.write(runtime.Report{Type: engine.JobCheckpoint, Tenths: 200, Checkpoint: []byte("x")}).Err)
		must(t, d.write(runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: "error", Message: "no"}}).Err)
		snapshot, err := e.Snapshot(ctx, topic, "")
		must(t, err)

		must(t, e.Remove(ctx, d.job))
		removedAs(t, e, topic, snapshot.Cursor, d.job, engine.Failed)
		if i == 0 {
			if keys := keysOf(t, e, d.job); len(keys) > 0 {
				t.Errorf("%v are left of job %s", keys, d.job)
			}
		}
		for what, err := range map[string]error{
			"remove": e.Remove(ctx, d.job), "cancel": e.Cancel(ctx, d.job), "pause": e.Pause(ctx, d.job), "read": second(e.Job(ctx, d.job)),
			"retry": second(e.Retry(ctx, d.job, engine.RetryQuery{})),
		} {
			if !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("%s of a removed job: %v", what, err)
			}
		}
		if page, err := e.Jobs(ctx, topic, engine.JobsQuery{}); err != nil || len(page.Jobs) != 0 {
			t.Errorf("the list has %v, %v", page.Jobs, err)
		}
		again, err := e.Enqueue(ctx, spec)
		if err != nil || again.Existing || again.ID == d.job {
			t.Errorf("the key of a removed job gives %+v, %v", again, err)
		}
		must(t, e.Cancel(ctx, again.ID), e.Remove(ctx, again.ID))
		// A task of it that turns up makes no failed job of it, nor does a tick or a call that comes twice.
		payload := runtime.TaskPayload{Job: d.job, Attempt: 1, Topic: topic, At: time.Now().UnixMilli()}
		if outlived, err := e.Outlived(ctx, engine.DefaultQueue, payload); !outlived || err != nil {
			t.Errorf("a task of a removed job has not outlived it: %v, %v", outlived, err)
		}
		must(t, e.FailLost(ctx, payload, "export", engine.JobError{Code: engine.CodeRecordLost, Message: "lost"}))
		if _, err := e.Job(ctx, d.job); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("the removed job is back: %v", err)
		}
		gone, err := e.Removed(ctx, time.Time{})
		if err != nil || !slices.Contains(gone, d.job) {
			t.Errorf("removed are %v, %v; want job %s among them", gone, err, d.job)
		}
	}
	if err := e.Remove(ctx, "nonsense"); !errors.Is(err, engine.ErrInvalidJobID) {
		t.Errorf("an ID that is none: %v", err)
	}
	if err := e.Remove(ctx, "9901JDG5CW2QK3V9Y7H4N8R6ZTXB"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a shard that there is not: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// A parent goes with its children, and theirs. One whose child lives stays, and so does a child whose
// parent lives, and with it all of its own.
func TestRemovingFamilies(t *testing.T) {
	t.Parallel()
	e, ctx := open(t, redistest.Server(t).URL(), nil), minutes(t)
	must(t, e.DeclareGroup(ctx, "archive"))
	parent := newDesk(t, e, "user:42")
	must(t, parent.start(1).Err)
	children := parent.fan("parts", 3*64+1)
	must(t, children[0].start(1).Err)
	grand := children[0].fan("lines", 2)
	stays := func(id engine.JobID, why string) {
		t.Helper()
		if err := e.Remove(ctx, id); !errors.Is(err, engine.ErrState) || !strings.Contains(err.Error(), why) {
			t.Errorf("removed a job of a family: %v; want that it is %s", err, why)
		}
	}
	grand[0].succeed(1)
	stays(grand[0].job, "a child of job "+string(children[0].job)+", which has not ended and reads what its children came to")
	must(t, children[0].write(runtime.Report{Type: engine.JobSucceeded}).Err) // although one of its own may live
	stays(children[0].job, "a child of job "+string(parent.job))
	if _, err := e.Job(ctx, grand[0].job); err != nil {
		t.Errorf("a child of a job that stays is gone: %v", err)
	}
	must(t, e.Remove(ctx, grand[0].job)) // its parent has ended
	for _, child := range children[1:10] {
		child.succeed(1)
	}
	must(t, parent.write(runtime.Report{Type: engine.JobSucceeded}).Err)
	stays(parent.job, "its child "+string(grand[1].job)+" is ")
	must(t, e.Cancel(ctx, grand[1].job))
	stays(parent.job, " is queued; try again once that has ended")
	if _, err := e.Job(ctx, children[1].job); err != nil {
		t.Errorf("a child of a job that stays is gone: %v", err)
	}
	for _, child := range children[10:] {
		must(t, e.Cancel(ctx, child.job))
	}
	must(t, e.Redis().Del(ctx, e.JobKey(children[5].job)).Err()) // Redis may forget some before the others
	must(t, e.Remove(ctx, parent.job))
	family := slices.Concat([]*desk{parent}, children, grand)
	for _, d := range []*desk{parent, children[0], children[len(children)-1], grand[0], grand[1]} {
		if keys := keysOf(t, e, d.job); len(keys) > 0 {
			t.Errorf("%v are left of job %s", keys, d.job)
		}
	}
	page, err := e.Jobs(ctx, parent.topic, engine.JobsQuery{})
	if err != nil || len(page.Jobs) > 0 {
		t.Errorf("the list has %d jobs, %v", len(page.Jobs), err)
	}
	heard := 0
	for _, kind := range outbox(t, e, "archive", 10_000, false) {
		if kind == engine.JobRemoved {
			heard++
		}
	}
	if want := len(family) - 1; heard != want { // all but the one that was forgotten
		t.Errorf("consumers hear of %d removals, want %d", heard, want)
	}
}

// asynq's archive keeps no task of a removed job, of whichever attempt.
func TestRemovingTakesTasksOutOfTheArchive(t *testing.T) {
	t.Parallel()
	e, ctx := open(t, redistest.Server(t).URL(), nil), minutes(t)
	job := enqueue(t, e)
	inspector := asynq.NewInspectorFromRedisClient(e.Redis())
	queue := e.QueueName(engine.DefaultQueue)
	must(t, e.Cancel(ctx, job), archiveAnew(ctx, e, job))
	archived, err := inspector.ListArchivedTasks(queue)
	must(t, err)
	if len(archived) != 1 {
		t.Fatalf("the archive has %d tasks, want the job's", len(archived))
	}
	must(t, e.Remove(ctx, job))
	if archived, err := inspector.ListArchivedTasks(queue); err != nil || len(archived) != 0 {
		t.Errorf("the archive keeps %v, %v", archived, err)
	}
}

// archiveAnew puts a task of a job's attempt into asynq's archive.
func archiveAnew(ctx context.Context, e *engine.Rig, job engine.JobID) error {
	queue, id := e.QueueName(engine.DefaultQueue), runtime.TaskID(job, 1)
	if _, err := asynq.NewClientFromRedisClient(e.Redis()).EnqueueContext(ctx, asynq.NewTask("export", nil), asynq.TaskID(id), asynq.Queue(queue)); err != nil {
		return err
	}
	return asynq.NewInspectorFromRedisClient(e.Redis()).ArchiveTask(queue, id)
}

// An upload that a retry names stays when its own job is removed, and may go with the retry.
func TestRemovingLetsGoOfUploads(t *testing.T) {
	t.Parallel()
	clock := redistest.NewClock(t)
	e, ctx := open(t, redistest.Server(t, redistest.WithClock(clock)).URL(), nil), minutes(t)
	const topic = engine.Topic("user:42")
	upload, err := e.NewJobID(topic)
	must(t, err)
	payload, err := json.Marshal(map[string]string{"blob": runtime.UploadKey(topic, upload)})
	must(t, err)
	spec := engine.Spec{Topic: topic, Type: "analysis", Payload: payload, Key: "file"}
	_, fence, err := e.Receive(ctx, upload, spec, 50, 0, runtime.Shown{})
	must(t, err)
	if fence.Token == "" || e.Received(ctx, upload, nil) != nil {
		t.Fatal("the upload's job is not queued")
	}
	must(t, e.Cancel(ctx, upload))
	retry, err := e.Retry(ctx, upload, engine.RetryQuery{})
	must(t, err)
	pinned := func() bool {
		held, err := e.Pinned(ctx, topic, []engine.JobID{upload})
		must(t, err)
		return held[upload]
	}
	must(t, e.Remove(ctx, upload))
	if !pinned() {
		t.Error("the retry does not keep the upload of a removed job")
	}
	if _, err := e.ReceivedAs(ctx, topic, "file"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the upload's key: %v", err)
	}
	clock.Shift(time.Hour)
	now, err := e.Redis().Time(ctx).Result()
	must(t, err)
	since := now.Add(-30 * time.Minute)
	if gone, err := e.Removed(ctx, since); err != nil || len(gone) != 0 {
		t.Errorf("removed within half an hour: %v, %v", gone, err)
	}
	must(t, e.Cancel(ctx, retry.ID), e.Remove(ctx, retry.ID))
	gone, err := e.Removed(ctx, since)
	slices.Sort(gone)
	if want := []engine.JobID{upload, retry.ID}; err != nil || fmt.Sprint(gone) != fmt.Sprint(want) || pinned() {
		t.Errorf("to look at are %v, %v; want %v, the upload too; pinned: %v", gone, err, want, pinned())
	}
	if again, err := e.Enqueue(ctx, spec); err != nil || again.Existing {
		t.Errorf("the key gives %+v, %v", again, err)
	}
}

// A mark that comes with the removal does not bring the job's hash back.
func TestAMarkOfARemovedJobIsDropped(t *testing.T) {
	t.Parallel()
	e, ctx := open(t, redistest.Server(t).URL(), nil), minutes(t)
	job := enqueue(t, e)
	must(t, e.Cancel(ctx, job), e.RemoveMarked("user:42", job))
	if keys := keysOf(t, e, job); len(keys) > 0 {
		t.Errorf("%v are left of job %s", keys, job)
	}
}
