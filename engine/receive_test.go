package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestReceiveRefuses(t *testing.T) {
	e, ctx := open(t, redistest.Server(t).URL(), nil), minutes(t)
	good := engine.Spec{Topic: "user:42", Type: "analysis"}
	id, err := e.NewJobID(good.Topic)
	must(t, err)
	foreign := engine.JobID("99" + string(id[2:]))
	spec := func(change func(*engine.Spec)) engine.Spec { s := good; change(&s); return s }
	for name, c := range map[string]struct {
		id    engine.JobID
		spec  engine.Spec
		share int
		idle  time.Duration
		shown runtime.Shown
		says  string
	}{
		"no share":               {id, good, 0, 0, runtime.Shown{}, "share"},
		"the whole bar":          {id, good, 91, 0, runtime.Shown{}, "share"},
		"a long key":             {id, spec(func(s *engine.Spec) { s.Key = strings.Repeat("k", 257) }), 50, 0, runtime.Shown{}, "Key"},
		"a delay":                {id, spec(func(s *engine.Spec) { s.Delay = time.Hour }), 50, 0, runtime.Shown{}, "Delay"},
		"a deadline":             {id, spec(func(s *engine.Spec) { s.Deadline = time.Now().Add(time.Hour) }), 50, 0, runtime.Shown{}, "Deadline"},
		"no type":                {id, spec(func(s *engine.Spec) { s.Type = "" }), 50, 0, runtime.Shown{}, "Type"},
		"an ID of another shard": {foreign, good, 50, 0, runtime.Shown{}, "NewJobID"},
		"no ID":                  {"", good, 50, 0, runtime.Shown{}, "NewJobID"},
		"a long message":         {id, good, 50, 0, runtime.Shown{Message: strings.Repeat("x", 1025)}, "message"},
		"no time at all":         {id, good, 50, time.Millisecond, runtime.Shown{}, "idle"},
		"a month and more":       {id, good, 50, 31 * 24 * time.Hour, runtime.Shown{}, "idle"},
	} {
		if _, _, err := e.Receive(ctx, c.id, c.spec, c.share, c.idle, c.shown); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrInvalid that names %s", name, err, c.says)
		}
	}
	if _, err := e.NewJobID("nobody"); !errors.Is(err, engine.ErrInvalidTopic) {
		t.Errorf("an ID for no topic: %v", err)
	}
	for _, err := range []error{e.Received(ctx, id, nil), e.CancelReception(ctx, id), e.Fail(ctx, id, 0, engine.JobError{})} {
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("of a job that never was: %v", err)
		}
	}
}

// Whoever finishes a reception, how often and at how many places at once, there is one
// task.
func TestReceivedHandsOverOnce(t *testing.T) {
	url := redistest.Server(t).URL()
	ctx, shared := minutes(t), func(o *engine.Options) { o.Namespace = "received" }
	one, two := open(t, url, shared), open(t, url, shared)
	spec := engine.Spec{Topic: "user:42", Type: "analysis", Queue: "bulk", MaxAttempts: 1}
	id, err := one.NewJobID(spec.Topic)
	must(t, err)
	_, _, err = one.Receive(ctx, id, spec, 40, 0, runtime.Shown{})
	must(t, err)
	errs := make(chan error)
	for range 4 {
		for _, e := range []*engine.Rig{one, two} {
			go func() { errs <- e.Received(ctx, id, nil) }()
		}
	}
	for range 8 {
		must(t, <-errs)
	}
	tasks, err := asynq.NewInspectorFromRedisClient(one.Redis()).ListPendingTasks(one.QueueName("bulk"))
	if err != nil || len(tasks) != 1 || tasks[0].ID != runtime.TaskID(id, 1) {
		t.Fatalf("tasks %+v, %v", tasks, err)
	}
	page, err := one.Replay(ctx, spec.Topic, engine.Beginning)
	must(t, err)
	if len(page.Entries) != 2 || page.Entries[1].Type() != engine.JobQueued {
		t.Errorf("%d records, want job.receiving and job.queued", len(page.Entries))
	}
	a, err := one.Current(ctx, id)
	must(t, err)
	if !a.Waiting || a.Attempt != 1 || a.Queue != "bulk" {
		t.Errorf("the job's attempt is %+v", a)
	}
	if err := one.CancelReception(ctx, id); !errors.Is(err, runtime.ErrSuperseded) {
		t.Errorf("cancel the reception of a queued job: %v", err)
	}
	must(t, one.Cancel(ctx, id))
	if err := one.Received(ctx, id, nil); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("receive for a canceled job: %v", err)
	}
}
