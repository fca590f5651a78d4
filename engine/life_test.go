package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

var (
	lost  = engine.JobError{Code: "worker_lost", Message: "no heartbeat"}
	retry = runtime.Report{Type: engine.JobRetrying, Error: &lost, RetryAt: time.Unix(1_900_000_000, 0), Retries: 1}
)

// jobActions are everything that can happen to a job.
var jobActions = map[string]func(*desk) error{
	"start":    func(d *desk) error { return d.start(max(1, currentAttempt(d))).Err },
	"progress": func(d *desk) error { return d.write(runtime.Report{Type: engine.JobProgress, Tenths: 500}).Err },
	"checkpoint": func(d *desk) error {
		return d.write(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte("c")}).Err
	},
	"artifact": func(d *desk) error { return d.write(runtime.Report{Type: engine.JobArtifact}).Err },
	"stage":    func(d *desk) error { return d.write(runtime.Report{Type: engine.JobStage}).Err },
	"log": func(d *desk) error {
		return d.write(runtime.Report{Type: engine.JobLog, Log: &engine.LogLine{Level: "info", Text: "x"}}).Err
	},
	"retry":     func(d *desk) error { return d.write(retry).Err },
	"hand back": func(d *desk) error { return d.write(runtime.Report{Type: engine.JobQueued}).Err },
	"pause":     func(d *desk) error { return d.write(runtime.Report{Type: engine.JobPaused}).Err },
	"succeed":   func(d *desk) error { return d.write(runtime.Report{Type: engine.JobSucceeded}).Err },
	"fail":      func(d *desk) error { return d.write(runtime.Report{Type: engine.JobFailed, Error: &lost}).Err },
	"give up":   func(d *desk) error { return d.write(runtime.Report{Type: engine.JobCanceled}).Err },
	"await":     func(d *desk) error { return d.write(runtime.Report{Type: engine.JobAwaiting}).Err },
	"Cancel":    func(d *desk) error { return d.e.Cancel(soon(d.t), d.job) },
	"Pause":     func(d *desk) error { return d.e.Pause(soon(d.t), d.job) },
	"Resume":    func(d *desk) error { return d.e.Resume(soon(d.t), d.job) },
	"Stall": func(d *desk) error {
		_, err := d.e.Stall(soon(d.t), d.job, lastBeat(d.t, d.e, d.job))
		return err
	},
	"Stall late": func(d *desk) error {
		_, err := d.e.Stall(soon(d.t), d.job, "1000000")
		return err
	},
	"Abandon": func(d *desk) error {
		return d.e.Abandon(soon(d.t), d.job, lastBeat(d.t, d.e, d.job), lost)
	},
	"Fail": func(d *desk) error { return d.e.Fail(soon(d.t), d.job, max(1, currentAttempt(d)), lost) },
}

func currentAttempt(d *desk) int {
	a, err := d.e.Current(soon(d.t), d.job)
	if err != nil && !errors.Is(err, engine.ErrEnded) {
		d.t.Fatal(err)
	}
	return a.Attempt
}

// A jobState is a state of a job: how it is reached, and what may happen then, each
// with the record that it leaves; everything else is refused.
type jobState struct {
	name    string
	reach   []string
	may     map[string]engine.RecordType
	refused error // with what
	// otherwise are those that are refused with something else.
	otherwise map[string]error
	state     engine.State
}

var jobStates = []jobState{
	{
		name: "queued", state: engine.Queued, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"start": engine.JobStarted, "Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": engine.JobPaused, "Resume": ""},
	},
	{
		name: "running", reach: []string{"start"}, state: engine.Running, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{
			"progress": engine.JobProgress, "checkpoint": engine.JobCheckpoint, "stage": engine.JobStage, "artifact": engine.JobArtifact, "log": engine.JobLog,
			// Nobody has asked it to pause, and it has no children to wait for.
			"pause": engine.JobQueued, "await": engine.JobQueued,
			"retry": engine.JobRetrying, "hand back": engine.JobQueued, "succeed": engine.JobSucceeded,
			"fail": engine.JobFailed, "give up": engine.JobCanceled, "Cancel": engine.JobCanceling, "Stall": engine.JobStalled,
			"Abandon": engine.JobFailed, "Fail": engine.JobFailed, "Pause": engine.JobPausing, "Resume": "",
		},
	},
	{
		name: "pausing", reach: []string{"start", "Pause"}, state: engine.Running, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{
			"progress": engine.JobProgress, "checkpoint": engine.JobCheckpoint, "stage": engine.JobStage, "artifact": engine.JobArtifact, "log": engine.JobLog,
			"pause": engine.JobPaused, "await": engine.JobPaused, "retry": engine.JobPaused, "hand back": engine.JobPaused,
			"succeed": engine.JobSucceeded, "fail": engine.JobFailed, "give up": engine.JobCanceled, "Cancel": engine.JobCanceling,
			"Stall": engine.JobPaused, "Abandon": engine.JobFailed, "Fail": engine.JobFailed, "Pause": "", "Resume": engine.JobResumed,
		},
	},
	{
		name: "canceling", reach: []string{"start", "Cancel"}, state: engine.Running, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{
			"progress": engine.JobProgress, "checkpoint": engine.JobCheckpoint, "stage": engine.JobStage, "artifact": engine.JobArtifact, "log": engine.JobLog,
			"retry": engine.JobCanceled, "hand back": engine.JobCanceled, "pause": engine.JobCanceled, "await": engine.JobCanceled,
			"succeed": engine.JobSucceeded, "fail": engine.JobFailed, "give up": engine.JobCanceled, "Cancel": "",
			"Stall": engine.JobCanceled, "Abandon": engine.JobCanceled, "Fail": engine.JobFailed, "Resume": "",
		},
		otherwise: map[string]error{"Pause": engine.ErrState},
	},
	{
		name: "pausing and canceling", reach: []string{"start", "Pause", "Cancel"}, state: engine.Running, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{
			"progress": engine.JobProgress, "checkpoint": engine.JobCheckpoint, "stage": engine.JobStage, "artifact": engine.JobArtifact, "log": engine.JobLog,
			"retry": engine.JobCanceled, "hand back": engine.JobCanceled, "pause": engine.JobCanceled, "await": engine.JobCanceled,
			"succeed": engine.JobSucceeded, "fail": engine.JobFailed, "give up": engine.JobCanceled, "Cancel": "",
			"Stall": engine.JobCanceled, "Abandon": engine.JobCanceled, "Fail": engine.JobFailed, "Resume": engine.JobResumed,
		},
		otherwise: map[string]error{"Pause": engine.ErrState},
	},
	{
		name: "retrying", reach: []string{"start", "retry"}, state: engine.Retrying, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"start": engine.JobResumed, "Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": engine.JobPaused, "Resume": ""},
	},
	{
		name: "stalled", reach: []string{"start", "Stall"}, state: engine.Retrying, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"start": engine.JobResumed, "Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": engine.JobPaused, "Resume": ""},
	},
	{
		name: "handed back", reach: []string{"start", "hand back"}, state: engine.Queued, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"start": engine.JobResumed, "Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": engine.JobPaused, "Resume": ""},
	},
	{
		name: "paused", reach: []string{"start", "Pause", "pause"}, state: engine.Paused, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": "", "Resume": engine.JobQueued},
	},
	{
		name: "paused before its start", reach: []string{"Pause"}, state: engine.Paused, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": "", "Resume": engine.JobQueued},
	},
	{
		name: "paused while retrying", reach: []string{"start", "retry", "Pause"}, state: engine.Paused, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": "", "Resume": engine.JobQueued},
	},
	{
		name: "resumed", reach: []string{"start", "Pause", "pause", "Resume"}, state: engine.Queued, refused: runtime.ErrSuperseded,
		may: map[string]engine.RecordType{"start": engine.JobResumed, "Cancel": engine.JobCanceled, "Fail": engine.JobFailed, "Pause": engine.JobPaused, "Resume": ""},
	},
	{name: "succeeded", reach: []string{"start", "succeed"}, state: engine.Succeeded, refused: engine.ErrEnded},
	{name: "failed", reach: []string{"start", "fail"}, state: engine.Failed, refused: engine.ErrEnded},
	{name: "canceled", reach: []string{"Cancel"}, state: engine.Canceled, refused: engine.ErrEnded},
	{name: "canceled while running", reach: []string{"start", "Cancel", "give up"}, state: engine.Canceled, refused: engine.ErrEnded},
}

func TestAJobMovesOnlyAsItsLifeAllows(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		n := 0
		for _, s := range jobStates {
			for name, do := range jobActions {
				n++
				d := newDesk(t, e, engine.Topic(fmt.Sprintf("case:%d", n)))
				for _, step := range s.reach {
					if err := jobActions[step](d); err != nil {
						t.Fatalf("%s: %s: %v", s.name, step, err)
					}
				}
				d.news()
				before := d.view()
				if before.State != s.state {
					t.Fatalf("%s: the job is %s, want %s", s.name, before.State, s.state)
				}
				err, records := do(d), d.news()
				want, may := s.may[name]
				refused := s.refused
				if other := s.otherwise[name]; other != nil {
					refused = other
				}
				switch {
				case !may && (!errors.Is(err, refused) || len(records) > 0):
					t.Errorf("%s job, %s: error %v, records %v; want it refused: %v", s.name, name, err, records, refused)
				case !may && d.view().Rev != before.Rev:
					t.Errorf("%s job, %s: refused, and the job moved", s.name, name)
				case may && err != nil:
					t.Errorf("%s job, %s: %v", s.name, name, err)
				case may && want == "" && len(records) > 0:
					t.Errorf("%s job, %s: records %v, want none", s.name, name, records)
				case may && want != "" && (len(records) != 1 || records[0] != want):
					t.Errorf("%s job, %s: records %v, want %s", s.name, name, records, want)
				}
			}
		}
	})
}
