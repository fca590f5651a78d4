package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// raced is a job whose handler comes to an outcome after some steps of a millisecond.
type raced struct {
	Steps   int     `json:"steps"`
	Outcome outcome `json:"outcome"`
}

type outcome string

const (
	done    outcome = "done"    // returns nil
	broken  outcome = "broken"  // an error that no retry cures
	panics  outcome = "panics"  //
	flaky   outcome = "flaky"   // an error in the first attempt, then done
	stays   outcome = "stays"   // an error once the context has ended, never before
	tidying outcome = "tidying" // the same, after a checkpoint and a line in the log
)

var outcomes = []outcome{done, done, done, done, broken, panics, stays, tidying}

func (p raced) run(ctx context.Context, run *worker.Run, _ raced) error {
	for i := 0; i < p.Steps || p.Outcome == stays || p.Outcome == tidying; i++ {
		run.Progress(int64(i), int64(p.Steps))
		if run.CheckpointDue() {
			if err := run.Checkpoint(i); err != nil {
				return err
			}
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			if p.Outcome == tidying {
				run.Log("info", "tidied up")
				return errors.Join(context.Cause(ctx), run.Checkpoint(i))
			}
			return context.Cause(ctx)
		}
	}
	switch {
	case p.Outcome == broken:
		return worker.Permanent(errors.New("broken"))
	case p.Outcome == panics:
		panic("at the disco")
	case p.Outcome == flaky && run.Attempt() == 1:
		return errors.New("flaky")
	}
	return run.Result(p.Steps)
}

// An interference is what somebody does to a job while workers have it.
type interference struct {
	name string
	do   func(ctx context.Context, e *engine.Engine, job engine.JobID) error
}

// interferences are all that handlers are raced with. A job that comes to rest is
// resumed, since its history is awaited to its end.
var interferences = []interference{
	{"cancel", func(ctx context.Context, e *engine.Engine, job engine.JobID) error { return e.Cancel(ctx, job) }},
	{"claim", claim},
	{"pause", func(ctx context.Context, e *engine.Engine, job engine.JobID) error { return e.Pause(ctx, job) }},
	{"pause and resume", func(ctx context.Context, e *engine.Engine, job engine.JobID) error {
		return errors.Join(e.Pause(ctx, job), e.Resume(ctx, job))
	}},
}

// claim takes a job from its worker as if that were silent, which it is not.
func claim(ctx context.Context, e *engine.Engine, job engine.JobID) error {
	beats, err := beating(ctx, e)
	if err != nil {
		return err
	}
	if beats[job] == "" {
		return engine.ErrState // it waits, or has ended
	}
	next, err := runtime.Of(e).Stall(ctx, job, beats[job])
	if err != nil || !next.Waiting {
		return err
	}
	return runtime.Of(e).Dispatch(ctx, next, runtime.RescueQueue(next.Queue))
}

// TestRacesOfHandlersHaveOneEnd races what handlers come to with what befalls their
// jobs meanwhile, in two workers.
func TestRacesOfHandlersHaveOneEnd(t *testing.T) {
	t.Parallel()
	url, d := redistest.Server(t).URL(), draws(t)
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	own := engine.Options{URL: url, Namespace: namespace}
	e := openWith(t, own)
	for range 2 {
		o := brief(openWith(t, own))
		o.Concurrency, o.RescueSlots, o.HeartbeatInterval, o.Lease = 16, 16, 20*time.Millisecond, 10*time.Second
		o.TickInterval, o.CheckpointInterval = 10*time.Millisecond, 10*time.Millisecond
		w := build(t, o)
		worker.Handle(w, "raced", func(ctx context.Context, run *worker.Run, p raced) error { return p.run(ctx, run, p) })
		start(t, w)
	}
	var mu sync.Mutex
	ends, accepted := map[engine.RecordType]int{}, map[string]int{}
	err := each(scale(500, 20_000), 24, func(i int) error {
		p := raced{Steps: d.below(30), Outcome: outcomes[d.below(len(outcomes))]}
		if i%50 == 0 {
			p.Outcome = flaky // its backoff takes up to a second
		}
		made, err := e.Enqueue(t.Context(), engine.Spec{Topic: engine.Topic(fmt.Sprint("user:", i)), Type: "raced", Payload: p, MaxAttempts: 2})
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		asked := make([]string, 1+d.below(2))
		errs := make([]error, len(asked))
		started := make(chan struct{}) // or it has ended
		resumed := make(chan error, 100)
		see := sync.OnceFunc(func() { close(started) })
		for k := range asked {
			what, after := interferences[d.below(len(interferences))], d.within(30*time.Millisecond)
			if k == 0 && (p.Outcome == stays || p.Outcome == tidying) {
				what = interferences[0] // or it never ends
			}
			anytime := d.below(5) == 0
			all.Go(func() {
				if !anytime {
					<-started
				}
				pause(t.Context(), after)
				if err := what.do(t.Context(), e, made.ID); err == nil {
					asked[k] = what.name
				} else if !refused(err) {
					errs[k] = fmt.Errorf("%s: %w", what.name, err)
				}
			})
		}
		records, err := trace(t.Context(), e, made.ID, func(r engine.Record) {
			switch r.Type {
			case engine.JobStarted:
				see()
			case engine.JobPaused:
				all.Go(func() {
					if err := e.Resume(t.Context(), made.ID); err != nil && !refused(err) {
						resumed <- err
					}
				})
			}
		})
		see()
		all.Wait()
		close(resumed)
		for e := range resumed {
			err = errors.Join(err, e)
		}
		if err := errors.Join(err, errors.Join(errs...)); err != nil {
			return err
		}
		found := flaws(records)
		end := last(records)
		if what := implausible(p, asked, end); what != "" {
			found = append(found, what)
		}
		if len(found) > 0 {
			return fmt.Errorf("%+v, raced with %q: %q\n%s", p, asked, found, tell(records))
		}
		mu.Lock()
		defer mu.Unlock()
		ends[records[len(records)-1].Type]++
		for _, name := range asked {
			accepted[name]++ // "" was refused
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("accepted: %v, ends: %v", accepted, ends)
	for _, what := range interferences {
		if accepted[what.name] == 0 {
			t.Errorf("%q was never accepted", what.name)
		}
	}
	for _, end := range []engine.RecordType{engine.JobSucceeded, engine.JobFailed, engine.JobCanceled} {
		if ends[end] == 0 {
			t.Errorf("none ended with %s", end)
		}
	}
}

// refused reports whether an interference came too late, or another was before it.
func refused(err error) bool {
	return errors.Is(err, engine.ErrEnded) || errors.Is(err, engine.ErrState) || errors.Is(err, runtime.ErrSuperseded)
}

// implausible says what is wrong with an end, given what the handler comes to by
// itself and what befell the job.
func implausible(p raced, asked []string, end *engine.Job) string {
	wasAsked := false
	for _, name := range asked {
		wasAsked = wasAsked || name == "cancel"
	}
	own := map[outcome]engine.State{done: engine.Succeeded, flaky: engine.Succeeded, broken: engine.Failed, panics: engine.Failed}[p.Outcome]
	switch {
	case end.State == engine.Canceled && wasAsked:
	case end.State == engine.Succeeded && own == engine.Succeeded && string(end.Result) == fmt.Sprint(p.Steps):
	case end.State == engine.Failed && own == engine.Failed && end.Error != nil:
	default:
		return fmt.Sprintf("it ended as %s with %s and %+v", end.State, end.Result, end.Error)
	}
	return ""
}
