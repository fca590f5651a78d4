package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// TestJobsUnderFaults has jobs come, run and end while Redis is struck, with workers that
// are well all the time.
func TestJobsUnderFaults(t *testing.T) {
	t.Parallel()
	for _, f := range redistest.Faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			underFault(t, f)
		})
	}
}

func underFault(t *testing.T, f redistest.Fault) {
	url, strike := f.Begin(t, draws(t).below)
	namespace := fmt.Sprintf("t%d", namespaces.Add(1))
	e := openIn(t, url, namespace)
	type attempt struct {
		job engine.JobID
		n   int
	}
	var overtaken, claimed sync.Map // of attempt: while its handler ran, and by a sweep
	tallying := countUp(nil)
	for range 2 {
		o := brief(openIn(t, url, namespace))
		o.HeartbeatInterval, o.Lease, o.SweepInterval = 500*time.Millisecond, 1500*time.Millisecond, 50*time.Millisecond
		w := build(t, o)
		worker.Handle(w, "tally", func(ctx context.Context, run *worker.Run, p tally) error {
			err := tallying(ctx, run, p)
			if errors.Is(context.Cause(ctx), worker.ErrSuperseded) {
				overtaken.Store(attempt{run.ID(), run.Attempt()}, true)
			}
			return err
		})
		start(t, w)
	}
	work := tally{Steps: 100, Pace: 10 * time.Millisecond}

	// Jobs come as fast as they end, and some more than there are slots.
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(scale(3, 30))*time.Minute)
	defer cancel()
	enough := make(chan struct{})
	var producing sync.WaitGroup
	var made, ended, gone atomic.Int64
	problems := make(chan string, 1000)
	for lane := range 12 {
		producing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				select {
				case <-enough:
					return
				default:
				}
				topic := engine.Topic(fmt.Sprintf("user:%d-%d", lane, n))
				job, err := insist(ctx, e, engine.Spec{Topic: topic, Type: "tally", Payload: work, Key: "once", MaxAttempts: 1})
				if err != nil {
					problems <- fmt.Sprintf("enqueue: %v", err)
					return
				}
				made.Add(1)
				all, err := settled(ctx, e, topic, job, f.Loses)
				switch {
				case errors.Is(err, engine.ErrNotFound) && f.Loses:
					gone.Add(1)
				case err != nil:
					problems <- fmt.Sprintf("job %s: %v", job, err)
					return
				case f.Loses && len(all) == 1 && all[0].Type == engine.JobFailed && all[0].Job.Error.Code == "record_lost":
					gone.Add(1) // Redis lost its acceptance, and kept its task
				default:
					ended.Add(1)
					if f.Loses {
						// A run whose end Redis lost is over, and is claimed like a lost worker's.
						all = slices.DeleteFunc(all, func(r engine.Record) bool {
							if r.Type == engine.JobStalled {
								claimed.Store(attempt{job, r.Job.Attempt}, true)
							}
							return r.Type == engine.JobStalled
						})
					}
					if found := harmed(all, fmt.Append(nil, work.sum())); len(found) > 0 {
						problems <- fmt.Sprintf("job %s: %q\n%s", job, found, tell(all))
					}
				}
			}
		})
	}
	more := func(n int64) { // than have ended
		for want := ended.Load() + n; ended.Load() < want && ctx.Err() == nil && len(problems) == 0; {
			pause(ctx, 10*time.Millisecond)
		}
	}
	for round := range scale(f.Rounds, f.Full) {
		more(6)
		strike(round)
	}
	more(12)
	close(enough)
	producing.Wait()
	close(problems)
	for p := range problems {
		t.Error(p)
	}
	claims := 0
	for of := range claimed.Range {
		claims++
		if _, ran := overtaken.Load(of); ran {
			t.Errorf("attempt %+v of a worker that is well was claimed", of)
		}
	}
	t.Logf("%d runs had ended, and Redis had lost that", claims)
	t.Logf("%d jobs, %d ended, %d were lost before they had", made.Load(), ended.Load(), gone.Load())
	if ctx.Err() != nil {
		t.Error("time is up")
	}
}

// insist enqueues until it is answered, as a producer with a key may.
func insist(ctx context.Context, e *engine.Engine, s engine.Spec) (engine.JobID, error) {
	for {
		got, err := e.Enqueue(ctx, s)
		if err == nil || ctx.Err() != nil || (!errors.Is(err, engine.ErrUnreachable) && !errors.Is(err, engine.ErrOutOfMemory)) {
			return got.ID, err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// settled waits until a job has ended, and then reads all records of its topic. loses: Redis may lose that it has.
func settled(ctx context.Context, e *engine.Engine, topic engine.Topic, job engine.JobID, loses bool) ([]engine.Record, error) {
	for {
		_, err := runtime.Of(e).Current(ctx, job)
		if errors.Is(err, engine.ErrEnded) {
			var all []engine.Record
			all, err = recorded(ctx, e, topic)
			// Redis may have lost the end in between.
			if n := len(all); err == nil && (!loses || n > 0 && all[n-1].Job.State.Ended()) {
				return all, nil
			}
		}
		if err != nil && !errors.Is(err, engine.ErrUnreachable) && !errors.Is(err, engine.ErrOutOfMemory) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// harmed holds the records of a job of workers that were well to what is promised whatever
// befalls Redis.
func harmed(all []engine.Record, result []byte) []string {
	found := flaws(all)
	for _, r := range all {
		switch r.Type {
		case engine.JobStalled, engine.JobRetrying, engine.JobFailed, engine.JobCanceled:
			found = append(found, fmt.Sprintf("%s of attempt %d: %+v", r.Type, r.Job.Attempt, r.Job.Error))
		}
	}
	if len(all) > 0 && !slices.Equal(last(all).Result, result) {
		found = append(found, fmt.Sprintf("result %s, want %s", last(all).Result, result))
	}
	return found
}

func TestCheckerOfFaultsSeesMistakes(t *testing.T) {
	t.Parallel()
	record := func(of engine.RecordType, attempt int, percent float64) engine.Record {
		return engine.Record{Type: of, Job: &engine.Job{Attempt: attempt, Percent: percent}}
	}
	sound := func() []engine.Record {
		all := []engine.Record{
			record(engine.JobQueued, 0, 0), record(engine.JobStarted, 1, 0), record(engine.JobProgress, 1, 40),
			record(engine.JobCheckpoint, 1, 50), record(engine.JobSucceeded, 1, 100),
		}
		all[4].Job.Result = []byte("45")
		return all
	}
	if found := harmed(sound(), []byte("45")); len(found) > 0 {
		t.Fatalf("a sound history is found to have flaws: %q", found)
	}
	for what, plant := range map[string]func([]engine.Record) []engine.Record{
		"a healthy worker lost": func(all []engine.Record) []engine.Record {
			return slices.Insert(all, 3, record(engine.JobStalled, 1, 40))
		},
		"a false task_deleted": func(all []engine.Record) []engine.Record {
			all[4].Type, all[4].Job.Error = engine.JobCanceled, &engine.JobError{Code: "task_deleted"}
			return all
		},
		"a false record_lost": func(all []engine.Record) []engine.Record { all[4].Type = engine.JobFailed; return all },
		"a retry that cost":   func(all []engine.Record) []engine.Record { all[3].Type = engine.JobRetrying; return all },
		"two ends":            func(all []engine.Record) []engine.Record { return append(all, all[4]) },
		"no end":              func(all []engine.Record) []engine.Record { return all[:4] },
		"the bar falls":       func(all []engine.Record) []engine.Record { all[3].Job.Percent = 39; return all },
		"a step lost":         func(all []engine.Record) []engine.Record { all[4].Job.Result = []byte("44"); return all },
		"no records":          func([]engine.Record) []engine.Record { return nil },
	} {
		if len(harmed(plant(sound()), []byte("45"))) == 0 {
			t.Errorf("not seen: %s", what)
		}
	}
}
