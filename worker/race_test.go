package worker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A contested job is one that many want something of at once.
type contested struct {
	id    engine.JobID
	topic engine.Topic
	own   runtime.Fence // of its first attempt, which runs
	beat  string        // of that
}

// by is the fence of the first attempt's n-th report.
func (c contested) by(n uint64) runtime.Fence {
	f := c.own
	f.Seq = n
	return f
}

// An action is what may befall a job at any time, from any process. It returns nil if
// it was accepted.
type action struct {
	name string
	do   func(ctx context.Context, e *engine.Engine, c contested) error
	// ends are the records that may end a job by this action; none: it ends no job.
	ends []engine.RecordType
	// final: the actor whose call Redis accepts has ended the job.
	final bool
}

var (
	succeeded = []engine.RecordType{engine.JobSucceeded}
	failed    = []engine.RecordType{engine.JobFailed}
	canceled  = []engine.RecordType{engine.JobCanceled}
	lost      = []engine.RecordType{engine.JobFailed, engine.JobCanceled}
)

// actions are all that is raced.
var actions = []action{
	{"cancel", func(ctx context.Context, e *engine.Engine, c contested) error { return e.Cancel(ctx, c.id) }, canceled, false},
	{"succeed", reporting(runtime.Report{Type: engine.JobSucceeded, Result: []byte(`"done"`)}), succeeded, true},
	{"fail", reporting(runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: "error", Message: "no"}}), failed, true},
	{"end as canceled", reporting(runtime.Report{Type: engine.JobCanceled}), canceled, true},
	// What makes a job wait ends one that was being canceled.
	{"retry", reporting(runtime.Report{Type: engine.JobRetrying, RetryAt: time.Unix(1, 0), Retries: 1}), canceled, false},
	{"hand back", reporting(runtime.Report{Type: engine.JobQueued}), canceled, false},
	{"rest", reporting(runtime.Report{Type: engine.JobPaused}), canceled, false},
	{"await", reporting(runtime.Report{Type: engine.JobAwaiting}), canceled, false},
	{"pause", func(ctx context.Context, e *engine.Engine, c contested) error { return e.Pause(ctx, c.id) }, nil, false},
	{"resume", func(ctx context.Context, e *engine.Engine, c contested) error { return e.Resume(ctx, c.id) }, nil, false},
	{"checkpoint", reporting(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte("{}"), Tenths: 500}), nil, false},
	{"stall", func(ctx context.Context, e *engine.Engine, c contested) error {
		_, err := runtime.Of(e).Stall(ctx, c.id, c.beat)
		return err
	}, canceled, false},
	{"abandon", func(ctx context.Context, e *engine.Engine, c contested) error {
		return runtime.Of(e).Abandon(ctx, c.id, c.beat, engine.JobError{Code: "worker_lost", Message: "lost"})
	}, lost, true},
	{"fail from outside", func(ctx context.Context, e *engine.Engine, c contested) error {
		return runtime.Of(e).Fail(ctx, c.id, 1, engine.JobError{Code: "deadline", Message: "late"})
	}, failed, true},
	{"beat", func(ctx context.Context, e *engine.Engine, c contested) error {
		flags, err := runtime.Of(e).Heartbeat(ctx, []runtime.Beat{{Job: c.id, Attempt: 1, Token: c.own.Token}})
		if err == nil && flags[0] == runtime.FlagSuperseded {
			err = runtime.ErrSuperseded
		}
		return err
	}, nil, false},
	{"start the next attempt", func(ctx context.Context, e *engine.Engine, c contested) error {
		return commit(ctx, e, runtime.Report{Type: engine.JobStarted, Job: c.id, Fence: runtime.Fence{Attempt: 2, Token: runtime.NewToken(), Seq: 1}})
	}, nil, false},
}

// reporting is the first attempt's own report.
func reporting(r runtime.Report) func(context.Context, *engine.Engine, contested) error {
	return func(ctx context.Context, e *engine.Engine, c contested) error {
		r := r
		r.Job, r.Fence = c.id, c.by(2)
		return commit(ctx, e, r)
	}
}

func commit(ctx context.Context, e *engine.Engine, r runtime.Report) error {
	acks, err := runtime.Of(e).Commit(ctx, r)
	if err != nil {
		return err
	}
	if acks[0].Duplicate {
		// Another of the attempt's reports had the number.
		return errOutrun
	}
	return acks[0].Err
}

var errOutrun = errors.New("another report had the number")

// TestRacesHaveOneEnd races some of the actions on each of many jobs, from two
// processes' connections: whatever their order, each job ends once, as one of the
// actors whose calls Redis accepted has ended it.
func TestRacesHaveOneEnd(t *testing.T) {
	t.Parallel()
	url, d := redistest.Server(t).URL(), draws(t)
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	o := engine.Options{URL: url, Namespace: namespace}
	engines := []*engine.Engine{openWith(t, o), openWith(t, o)}
	seed := uint64(d.below(1 << 62))
	var mu sync.Mutex
	accepted, ends := map[string]int{}, map[engine.RecordType]int{}
	err := each(scale(600, 20_000), 16, func(i int) error {
		// The same draws whichever lane takes it.
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		winners, end, err := race(t.Context(), engines, r, i)
		if err != nil {
			return fmt.Errorf("race %d: %w", i, err)
		}
		mu.Lock()
		defer mu.Unlock()
		ends[end]++
		for _, name := range winners {
			accepted[name]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("accepted: %v, ends: %v", accepted, ends)
	for _, a := range actions {
		if accepted[a.name] == 0 {
			t.Errorf("%q was never accepted", a.name)
		}
	}
	for _, end := range []engine.RecordType{engine.JobSucceeded, engine.JobFailed, engine.JobCanceled} {
		if ends[end] == 0 {
			t.Errorf("none ended with %s", end)
		}
	}
}

// race makes a job whose first attempt runs, lets 2 to 6 actions loose on it, and then
// ends it if none of them has. It returns the names of the actions that were accepted,
// and the job's end.
func race(ctx context.Context, engines []*engine.Engine, r *rand.Rand, i int) (winners []string, end engine.RecordType, err error) {
	c := contested{topic: engine.Topic(fmt.Sprint("user:race-", i)), own: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	made, err := engines[0].Enqueue(ctx, engine.Spec{Topic: c.topic, Type: "race"})
	if err != nil {
		return nil, "", err
	}
	c.id = made.ID
	if err := commit(ctx, engines[0], runtime.Report{Type: engine.JobStarted, Job: c.id, Fence: c.by(1)}); err != nil {
		return nil, "", err
	}
	beats, err := beating(ctx, engines[0])
	if err != nil {
		return nil, "", err
	}
	c.beat = beats[c.id]

	raced := make([]action, 2+r.IntN(5))
	answers := make([]error, len(raced))
	var all sync.WaitGroup
	for k := range raced {
		raced[k] = actions[r.IntN(len(actions))]
		e, after := engines[r.IntN(len(engines))], time.Duration(r.IntN(1500))*time.Microsecond
		if r.IntN(3) == 0 {
			after = 0 // at once with others
		}
		all.Go(func() {
			pause(ctx, after)
			answers[k] = raced[k].do(ctx, e, c)
		})
	}
	all.Wait()

	mayEnd, final := map[engine.RecordType]bool{}, 0
	for k, a := range raced {
		switch err := answers[k]; {
		case err == nil:
			winners = append(winners, a.name)
			for _, end := range a.ends {
				mayEnd[end] = true
			}
			if a.final {
				final++
			}
		case errors.Is(err, errOutrun), errors.Is(err, runtime.ErrSuperseded), errors.Is(err, engine.ErrEnded), errors.Is(err, engine.ErrState):
		default:
			return nil, "", fmt.Errorf("%s: %w", a.name, err)
		}
	}
	if final > 1 {
		return nil, "", fmt.Errorf("%d actions were told that they had ended the job: %q", final, winners)
	}
	needed, err := finish(ctx, engines[0], c.id)
	if err != nil {
		return nil, "", err
	}
	records, err := recorded(ctx, engines[0], c.topic)
	if err != nil {
		return nil, "", err
	}
	if found := flaws(records); len(found) > 0 {
		return nil, "", fmt.Errorf("after %q: %q\n%s", winners, found, tell(records))
	}
	end = records[len(records)-1].Type
	if !needed && !mayEnd[end] {
		return nil, "", fmt.Errorf("it ended with %s after %q\n%s", end, winners, tell(records))
	}
	return winners, end, nil
}

// finish ends a job that has not ended: it is canceled, and an attempt that runs is
// lost.
func finish(ctx context.Context, e *engine.Engine, job engine.JobID) (needed bool, err error) {
	err = e.Cancel(ctx, job)
	if errors.Is(err, engine.ErrEnded) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	beats, err := beating(ctx, e)
	if err == nil && beats[job] != "" {
		_, err = runtime.Of(e).Stall(ctx, job, beats[job])
	}
	return true, err
}

// recorded reads a topic's records.
func recorded(ctx context.Context, e *engine.Engine, topic engine.Topic) ([]engine.Record, error) {
	var all []engine.Record
	for after := engine.Beginning; ; {
		page, err := stream.Of(e).Replay(ctx, topic, after)
		if err != nil || len(page.Entries) == 0 {
			return all, err
		}
		for _, entry := range page.Entries {
			r, err := entry.Record()
			if err != nil {
				return nil, err
			}
			all = append(all, r)
			after = entry.ID
		}
	}
}

// beating reads the last heartbeat of every running job.
func beating(ctx context.Context, e *engine.Engine) (map[engine.JobID]string, error) {
	shards, err := runtime.Of(e).Silent(ctx, slices.Repeat([]uint64{1 << 53}, runtime.Of(e).Shards()))
	all := map[engine.JobID]string{}
	for _, s := range shards {
		maps.Copy(all, s.Silent)
	}
	return all, err
}
