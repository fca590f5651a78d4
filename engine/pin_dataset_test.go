package engine_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A job pins the dataset that its payload names, in the commit that makes it, until it can no longer be
// tried again. One that is being deleted has no new pins, but by what held it before.
func TestDatasetPins(t *testing.T) {
	e, ctx := open(t, redistest.Server(t).URL(), func(o *engine.Options) { o.RetryFailed = time.Hour }), minutes(t)
	const topic = engine.Topic("user:42")
	dataset, err := e.NewJobID(topic)
	must(t, err)
	naming := func(id engine.JobID) json.RawMessage {
		b, err := json.Marshal(map[string]any{"dataset": id, "blob": 17, "format": "csv"})
		must(t, err)
		return b
	}
	accept := func(of engine.Topic) (engine.JobID, error) {
		t.Helper()
		made, err := e.Enqueue(ctx, engine.Spec{Topic: of, Type: "export", Payload: naming(dataset)})
		return made.ID, err
	}
	pinned := func() bool {
		t.Helper()
		held, err := e.DatasetPinned(ctx, topic, dataset)
		must(t, err)
		return held
	}
	// Topics of one shard, whose keys differ in the topic alone.
	neighbour := engine.Topic("")
	for i := 0; neighbour == ""; i++ {
		if other := engine.Topic("user:420" + strings.Repeat("0", i)); e.ShardOf(other) == e.ShardOf(topic) {
			neighbour = other
		}
	}
	if _, err := accept(neighbour); err != nil || pinned() {
		t.Fatalf("another topic's job pins it: %v", err)
	}

	holder, err := accept(topic)
	must(t, err)
	father, err := accept(topic)
	must(t, err)
	parent := &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: father}}, topic: topic, job: father}
	if !pinned() {
		t.Fatal("a job that names it does not pin it")
	}
	must(t, e.DoomDataset(ctx, topic, dataset))
	if _, err := accept(topic); !errors.Is(err, engine.ErrNoDataset) || !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a job that names a dataset which is being deleted: %v", err)
	}
	if _, err := accept(neighbour); err != nil {
		t.Errorf("another topic's dataset of that ID is refused: %v", err)
	}

	nightly := engine.Schedule{Topic: topic, Name: "nightly", Cron: "@every 1s", Type: "export", Payload: naming(dataset), Missed: engine.MissedAll}
	_, _, err = e.PutSchedule(ctx, nightly)
	must(t, err)
	rewind(t, e, nightly, time.Now().Add(-5*time.Second))
	if fired, err := e.Fire(ctx, scheduled(t, e, nightly), time.Hour); err != nil || len(fired.Jobs) > 0 || fired.Skipped == 0 || !errors.Is(fired.Held, engine.ErrNoDataset) {
		t.Errorf("the ticks of its schedule: %+v, %v", fired, err)
	}

	parent.start(1)
	children := []engine.Child{
		{Name: "a", Spec: engine.Spec{Type: "export", Payload: naming(dataset)}},
		{Name: "b", Spec: engine.Spec{Type: "export", Payload: naming(holder)}},
	}
	children, plan, err := runtime.PlanFanOut("all", topic, "", children)
	must(t, err, parent.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err, e.DoomDataset(ctx, topic, holder))
	if err := e.Spawn(ctx, parent.job, parent.r.Fence, 0, "all", children[:1]); err != nil {
		t.Fatalf("a child of a job that holds the dataset: %v", err)
	}
	if err := e.Spawn(ctx, parent.job, parent.r.Fence, 0, "all", children[1:]); !errors.Is(err, engine.ErrNoDataset) {
		t.Errorf("a child that names another dataset which is being deleted: %v", err)
	}
	child := runtime.ChildID(parent.job, "all", "a")
	must(t, e.Cancel(ctx, holder), e.Cancel(ctx, child)) // which ends the parent
	again, err := e.Retry(ctx, holder, engine.RetryQuery{})
	if err != nil {
		t.Fatalf("a retry of a job that holds the dataset: %v", err)
	}
	must(t, e.Cancel(ctx, again.ID))
	for _, job := range []engine.JobID{holder, again.ID, parent.job} {
		if !pinned() {
			t.Errorf("job %s can be tried again, and the dataset is not pinned", job)
		}
		must(t, e.Remove(ctx, job))
	}
	if pinned() {
		t.Error("it is pinned by jobs that are removed")
	}
}
