package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
)

// trace follows a job from its beginning to its end. see, if not nil, is called with
// each record as it comes.
func trace(ctx context.Context, e *engine.Engine, job engine.JobID, see func(engine.Record)) ([]engine.Record, error) {
	var all []engine.Record
	for u, err := range e.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: job}, After: engine.Beginning}) {
		if err != nil {
			return all, fmt.Errorf("follow job %s: %w; it has come to\n%s", job, err, tell(all))
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Entry.Record()
		if err != nil {
			return all, err
		}
		all = append(all, r)
		if see != nil {
			see(r)
		}
	}
	return all, nil
}

// flaws holds a job's records to what every job promises, and says what they break.
func flaws(all []engine.Record) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	percent, attempt, ends := 0.0, 0, 0
	for _, r := range all {
		if r.Job.Percent < percent {
			say("percent fell from %v to %v in %s %s", percent, r.Job.Percent, r.ID, r.Type)
		}
		if r.Job.Attempt < attempt {
			say("a record of attempt %d after those of %d: %s %s", r.Job.Attempt, attempt, r.ID, r.Type)
		}
		if ends > 0 {
			say("a record after the end: %s %s", r.ID, r.Type)
		}
		if r.Type.Terminal() {
			ends++
		}
		percent, attempt = r.Job.Percent, r.Job.Attempt
	}
	if ends != 1 {
		say("%d ends", ends)
	}
	return found
}

// survival holds the records of a job whose worker was lost as often as lost says to
// what they promise beside: result is an undisturbed run's.
func survival(all []engine.Record, lost int, result json.RawMessage) []string {
	found := flaws(all)
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if len(all) == 0 {
		return append(found, "no records")
	}
	for of, want := range map[engine.RecordType]int{
		engine.JobQueued: 1, engine.JobStarted: 1, engine.JobStalled: lost, engine.JobResumed: lost, engine.JobRetrying: 0, engine.JobSucceeded: 1,
	} {
		if n := count(all, of); n != want {
			say("%d %s, want %d", n, of, want)
		}
	}
	end := all[len(all)-1].Job
	if !bytes.Equal(end.Result, result) {
		say("result %s, want %s", end.Result, result)
	}
	if end.Attempt != 1+lost {
		say("it ended in attempt %d, want %d", end.Attempt, 1+lost)
	}
	checkpoint, stalled := 0.0, false
	for _, r := range all {
		switch r.Type {
		case engine.JobCheckpoint:
			checkpoint = r.Job.Percent
		case engine.JobStalled:
			stalled = true
			continue
		case engine.JobResumed:
			stalled = false
			if r.Job.ResumedFrom == nil || *r.Job.ResumedFrom != checkpoint {
				say("attempt %d began at %v%%, the last checkpoint is %v%%", r.Job.Attempt, r.Job.ResumedFrom, checkpoint)
			}
		}
		if stalled {
			say("a record of the lost worker after job.stalled: %s %s", r.ID, r.Type)
		}
	}
	return found
}

// The checkers of histories see what they are for.
func TestCheckersOfHistoriesSeeMistakes(t *testing.T) {
	t.Parallel()
	from := func(percent float64) *float64 { return &percent }
	sound := func() []engine.Record {
		record := func(of engine.RecordType, attempt int, percent float64) engine.Record {
			return engine.Record{Type: of, Job: &engine.Job{Attempt: attempt, Percent: percent}}
		}
		all := []engine.Record{
			record(engine.JobQueued, 0, 0), record(engine.JobStarted, 1, 0), record(engine.JobCheckpoint, 1, 30), record(engine.JobProgress, 1, 40),
			record(engine.JobStalled, 1, 40), record(engine.JobResumed, 2, 40), record(engine.JobProgress, 2, 70), record(engine.JobSucceeded, 2, 100),
		}
		all[5].Job.ResumedFrom = from(30)
		all[7].Job.Result = json.RawMessage("45")
		return all
	}
	if found := survival(sound(), 1, json.RawMessage("45")); len(found) > 0 {
		t.Fatalf("a sound history is found to have flaws: %q", found)
	}
	for what, plant := range map[string]func(all []engine.Record) []engine.Record{
		"no records":                 func([]engine.Record) []engine.Record { return nil },
		"the bar falls":              func(all []engine.Record) []engine.Record { all[6].Job.Percent = 39.9; return all },
		"no end":                     func(all []engine.Record) []engine.Record { return all[:7] },
		"two ends":                   func(all []engine.Record) []engine.Record { return append(all, all[7]) },
		"a tick after the end":       func(all []engine.Record) []engine.Record { return append(all, all[6]) },
		"it failed":                  func(all []engine.Record) []engine.Record { all[7].Type = engine.JobFailed; return all },
		"never stalled":              func(all []engine.Record) []engine.Record { return append(all[:4:4], all[5:]...) },
		"a retry":                    func(all []engine.Record) []engine.Record { all[4].Type = engine.JobRetrying; return all },
		"a handed back attempt":      func(all []engine.Record) []engine.Record { all[4].Type = engine.JobQueued; return all },
		"the result is another":      func(all []engine.Record) []engine.Record { all[7].Job.Result = json.RawMessage("44"); return all },
		"resumed from nowhere":       func(all []engine.Record) []engine.Record { all[5].Job.ResumedFrom = nil; return all },
		"resumed from before":        func(all []engine.Record) []engine.Record { all[5].Job.ResumedFrom = from(0); return all },
		"a ghost's tick":             func(all []engine.Record) []engine.Record { all[6].Job.Attempt = 1; return all },
		"a tick while nobody has it": func(all []engine.Record) []engine.Record { all[4], all[3] = all[3], all[4]; return all },
	} {
		if found := survival(plant(sound()), 1, json.RawMessage("45")); len(found) == 0 {
			t.Errorf("not seen: %s", what)
		}
	}
}
