package gateway_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
)

// A listener is a subscription, and what it has heard of how jobs end.
type listener struct {
	held
	loses bool // Redis may lose what it has acknowledged
	// inside reports whether the handler of an attempt has not returned.
	inside func(job engine.JobID, attempt int) bool
	ends   map[engine.JobID]uint64 // the rev of each end, in the history that is valid
	ended  map[engine.JobID]bool   // in any history, unless it was heard to live in a later one
}

func newListener() *listener {
	return &listener{held: held{jobs: map[engine.JobID]engine.Job{}}, ends: map[engine.JobID]uint64{}, ended: map[engine.JobID]bool{}}
}

// hear takes a frame, and says what is wrong with it.
func (l *listener) hear(f frame) error {
	l.records = nil
	if err := l.take(f); err != nil {
		return err
	}
	if f.Type == "subscribed" && f.Reason == "rewritten" {
		clear(l.ends)
	}
	views := f.Jobs
	for _, r := range l.records {
		switch r.Type {
		case engine.JobRetrying, engine.JobFailed, engine.JobCanceled:
			if !l.lost(*r.Job) {
				return fmt.Errorf("%s of a job that nothing ails", r.Type)
			}
		case engine.JobStalled:
			// A run whose end Redis has lost is over, and is claimed like a lost worker's.
			if !l.loses || l.inside(r.Job.ID, r.Job.Attempt) {
				return fmt.Errorf("%s of a worker that is well", r.Type)
			}
		}
		views = append(views, *r.Job)
	}
	for _, j := range views {
		rev, over := l.ends[j.ID]
		switch {
		case over && j.Rev != rev && (j.Rev > rev || j.State.Ended()):
			return fmt.Errorf("job %s ended at %d, and is %s at %d", j.ID, rev, j.State, j.Rev)
		case j.State.Ended():
			l.ends[j.ID], l.ended[j.ID] = j.Rev, true
		case !over:
			delete(l.ended, j.ID)
		}
	}
	return nil
}

// lost says that Redis has lost a job's acceptance and kept a task of it. It has failed with
// record_lost and has no title.
func (l *listener) lost(j engine.Job) bool {
	return l.loses && j.State == engine.Failed && j.Title == "" && j.Error != nil && j.Error.Code == "record_lost"
}

// owes says what all jobs of the topic, each with its key as its title, show to be missing.
func (l *listener) owes(all []engine.Job) []string {
	var found []string
	keys := map[string]engine.JobID{}
	for _, j := range all {
		lost := l.lost(j)
		if other, twice := keys[j.Title]; twice && !lost {
			found = append(found, fmt.Sprintf("key %s made the jobs %s and %s", j.Title, other, j.ID))
		}
		keys[j.Title] = j.ID
		h, holds := l.jobs[j.ID]
		if (j.State != engine.Succeeded && !lost) || !l.ended[j.ID] || (holds && h.Rev != j.Rev) {
			found = append(found, fmt.Sprintf("job %s is %s at %d, heard to end: %t, held: %s at %d; error %+v", j.ID, j.State, j.Rev, l.ended[j.ID], h.State, h.Rev, j.Error))
		}
	}
	return found
}

func TestListenerSeesMistakes(t *testing.T) {
	t.Parallel()
	at := func(n int) engine.Cursor { return engine.Cursor(fmt.Sprintf("1-%d", n)) }
	view := func(n int, state engine.State, percent float64) engine.Job {
		return engine.Job{ID: "j", Title: "0", Rev: uint64(n), State: state, Percent: percent}
	}
	kind := engine.JobProgress
	records := func(after int, views ...engine.Job) frame {
		f := frame{Type: "records", After: at(after)}
		for _, j := range views {
			f.Cursor = at(int(j.Rev))
			text, err := json.Marshal(engine.Record{ID: f.Cursor, Type: kind, Topic: topic, Job: &j})
			if err != nil {
				t.Fatal(err)
			}
			f.Records = append(f.Records, text)
		}
		return f
	}
	snapshot := func(n int, jobs ...engine.Job) frame {
		return frame{Type: "snapshot", Part: 1, Final: true, Cursor: at(n), Jobs: jobs}
	}
	verdict := func(mode, reason string) frame { return frame{Type: "subscribed", Mode: mode, Reason: reason} }
	// A job ends, Redis loses that, and it ends again; the snapshot shows its end, which the
	// records behind the cursor repeat.
	frames := func() []frame {
		return []frame{
			verdict("snapshot", "fresh"), snapshot(10),
			records(10, view(11, engine.Queued, 0), view(12, engine.Running, 40)),
			records(12, view(13, engine.Running, 60), view(14, engine.Succeeded, 100)),
			verdict("snapshot", "rewritten"), snapshot(90, view(92, engine.Running, 40)),
			records(90, view(91, engine.Running, 40), view(92, engine.Running, 40)),
			verdict("snapshot", "trimmed"), snapshot(93, view(95, engine.Succeeded, 100)),
			records(93, view(94, engine.Running, 60), view(95, engine.Succeeded, 100)),
			{Type: "live", Cursor: at(95)},
		}
	}
	list := func() []engine.Job { return []engine.Job{view(95, engine.Succeeded, 100)} }
	loses, runs := false, true
	seen := func(frames []frame, list []engine.Job) []string {
		l := newListener()
		l.loses, l.inside = loses, func(engine.JobID, int) bool { return runs }
		for _, f := range frames {
			if err := l.hear(f); err != nil {
				return []string{err.Error()}
			}
		}
		return l.owes(list)
	}
	if found := seen(frames(), list()); len(found) > 0 {
		t.Fatalf("sound frames are found to have flaws: %q", found)
	}
	recordLost := func() []engine.Job {
		j := view(95, engine.Failed, 100)
		j.Title, j.Error = "", &engine.JobError{Code: "record_lost"}
		return []engine.Job{j}
	}
	stalled := func(f []frame, l []engine.Job) ([]frame, []engine.Job) {
		kind = engine.JobStalled
		defer func() { kind = engine.JobProgress }()
		f[3] = records(12, view(13, engine.Queued, 60), view(14, engine.Succeeded, 100))
		return f, l
	}
	loses = true
	if found := seen(frames(), recordLost()); len(found) > 0 {
		t.Fatalf("a job that Redis lost is found to have flaws: %q", found)
	}
	if len(seen(stalled(frames(), list()))) == 0 {
		t.Error("not seen: a worker that was taken for lost when Redis had lost something")
	}
	runs = false
	if found := seen(stalled(frames(), list())); len(found) > 0 {
		t.Fatalf("a run whose end Redis lost is found to have flaws: %q", found)
	}
	loses = false
	for what, plant := range map[string]func(f []frame, list []engine.Job) ([]frame, []engine.Job){
		"two ends": func(f []frame, l []engine.Job) ([]frame, []engine.Job) {
			return slices.Insert(f, 4, records(14, view(15, engine.Succeeded, 100))), l
		},
		"a record after the end": func(f []frame, l []engine.Job) ([]frame, []engine.Job) {
			return slices.Insert(f, 4, records(14, view(15, engine.Running, 100))), l
		},
		"an end before the one of the snapshot": func(f []frame, l []engine.Job) ([]frame, []engine.Job) {
			f[9] = records(93, view(94, engine.Succeeded, 100))
			return f, l
		},
		"a worker that was taken for lost": stalled,
		"the bar falls": func(f []frame, l []engine.Job) ([]frame, []engine.Job) {
			f[3] = records(12, view(13, engine.Running, 39), view(14, engine.Succeeded, 100))
			return f, l
		},
		"a gap":       func(f []frame, l []engine.Job) ([]frame, []engine.Job) { f[3].After = at(11); return f, l },
		"a part lost": func(f []frame, l []engine.Job) ([]frame, []engine.Job) { f[5].Part = 2; return f, l },
		"a replay from elsewhere": func(f []frame, l []engine.Job) ([]frame, []engine.Job) {
			f[4] = frame{Type: "subscribed", Mode: "replay", Reason: "resumed", Cursor: at(12)}
			return f, l
		},
		"a history rewritten in silence":           func(f []frame, l []engine.Job) ([]frame, []engine.Job) { f[4].Reason = "trimmed"; return f, l },
		"an end that is not heard":                 func(f []frame, l []engine.Job) ([]frame, []engine.Job) { return f[:7], l },
		"a job that is not heard of":               func(f []frame, l []engine.Job) ([]frame, []engine.Job) { return f[:2], l },
		"a job that lives":                         func(f []frame, l []engine.Job) ([]frame, []engine.Job) { l[0].State = engine.Running; return f, l },
		"a record lost by a Redis that loses none": func(f []frame, _ []engine.Job) ([]frame, []engine.Job) { return f, recordLost() },
		"a key's two jobs":                         func(f []frame, l []engine.Job) ([]frame, []engine.Job) { return f, append(l, l[0]) },
	} {
		if len(seen(plant(frames(), list()))) == 0 {
			t.Errorf("not seen: %s", what)
		}
	}
}
