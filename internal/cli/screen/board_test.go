package screen

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// sights is a painter that keeps what it is shown.
type sights struct {
	jobs  []sight
	notes []string
}

func (p *sights) show(s sight)                        { p.jobs = append(p.jobs, s) }
func (p *sights) taking(string, string, int64, int64) {}
func (p *sights) away()                               {}
func (p *sights) note(text string)                    { p.notes = append(p.notes, text) }
func (p *sights) close()                              {}

func at(rev uint64, percent float64) engine.Job {
	return engine.Job{ID: "a", Rev: rev, Type: "export", State: engine.Running, Percent: percent, Attempt: 1}
}

func TestBoardNeverShowsLessThanBefore(t *testing.T) {
	p := &sights{}
	b := NewBoard(p)
	for _, j := range []engine.Job{at(1, 10), at(2, 42.5), at(3, 41), at(5, 0), at(6, 43)} {
		b.show("", engine.View{}, j, nil)
	}
	want := []float64{10, 42.5, 42.5, 42.5, 43}
	for i, s := range p.jobs {
		if s.percent != want[i] {
			t.Errorf("sight %d shows %v, want %v", i, s.percent, want[i])
		}
	}
	if len(p.jobs) != len(want) {
		t.Errorf("%d sights, want %d", len(p.jobs), len(want))
	}
}

// A removal is a note, and not another end; that of a child goes with its parent's.
func TestBoardNotesARemoval(t *testing.T) {
	p := &sights{}
	b := NewBoard(p)
	for _, j := range []string{`"id":"a","rev":1,"type":"export","title":"Orders"`, `"id":"b","rev":2,"type":"export","parent":"a"`} {
		entry := engine.Entry{JSON: []byte(`{"id":"1-1","type":"job.removed","topic":"user:1","job":{` + j + `,"state":"succeeded","percent":100}}`)}
		if err := b.Update("", engine.Update{Kind: engine.UpdateRecord, Entry: entry}, func(engine.Job) { t.Error("a removed job is handed on") }); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"Orders: job a was removed"}; !slices.Equal(p.notes, want) || len(p.jobs) != 0 {
		t.Errorf("notes %q, %d sights; want %q alone", p.notes, len(p.jobs), want)
	}
}

func TestBoardPassesOverWhatIsOlderThanShown(t *testing.T) {
	p := &sights{}
	b := NewBoard(p)
	b.show("", engine.View{}, at(7, 50), nil)
	if b.show("", engine.View{}, at(6, 60), &engine.Record{Type: engine.JobProgress}) {
		t.Error("a record from before the snapshot is shown")
	}
	if !b.show("", engine.View{}, at(7, 50), &engine.Record{Type: engine.JobLog, Log: &engine.LogLine{Text: "x"}}) {
		t.Error("a log line from before the snapshot is not shown, though no view holds it")
	}
	if n := len(p.jobs); n != 2 {
		t.Errorf("%d sights, want 2", n)
	}
}

func TestSpeedCountsThePresentAttemptAlone(t *testing.T) {
	p := &sights{}
	b := NewBoard(p)
	now := time.Unix(1000, 0)
	b.now = func() time.Time { return now }
	count := func(rev uint64, attempt int, done int64, passed time.Duration) float64 {
		now = now.Add(passed)
		j := at(rev, 1)
		j.Attempt, j.Progress = attempt, &engine.Progress{Done: done, Unit: "rows"}
		b.show("", engine.View{}, j, nil)
		return p.jobs[len(p.jobs)-1].rate
	}
	count(1, 1, 0, 0)
	if got := count(2, 1, 100, 900*time.Millisecond); got != 0 {
		t.Errorf("after 0.9 s the speed is said to be %v, want nothing yet", got)
	}
	if got := count(3, 1, 400, 1100*time.Millisecond); got != 200 {
		t.Errorf("400 rows in 2 s make %v a second, want 200", got)
	}
	count(4, 2, 350, time.Minute)
	if got := count(5, 2, 450, 2*time.Second); got != 50 {
		t.Errorf("the next attempt makes %v a second, want 50: what it resumed from is not speed", got)
	}
}

func TestLinesAreAtMostOneASecondAndAlwaysMilestones(t *testing.T) {
	var out strings.Builder
	l := newLines(&out)
	now := time.Unix(1000, 0)
	l.now = func() time.Time { return now }
	show := func(kind engine.RecordType, percent float64, state engine.State, passed time.Duration) {
		now = now.Add(passed)
		j := at(1, percent)
		j.State = state
		l.show(sight{name: "orders", job: j, kind: kind, percent: percent, log: &engine.LogLine{Level: "info", Text: "half\nway"}})
	}
	show(engine.JobStarted, 0, engine.Running, 0)
	show(engine.JobProgress, 1, engine.Running, 100*time.Millisecond) // too soon
	show(engine.JobStalled, 2, engine.Retrying, 0)
	show(engine.JobResumed, 2, engine.Running, 0)
	show(engine.JobProgress, 3, engine.Running, time.Second)
	show(engine.JobProgress, 3, engine.Running, time.Second) // nothing new
	show(engine.JobLog, 3, engine.Running, 0)
	show(engine.JobLog, 3, engine.Running, 0)
	show(engine.JobSucceeded, 100, engine.Succeeded, 0)
	want := `orders  0.0%  running
orders  2.0%  retrying · attempt 1 · its worker went silent; another takes over
orders  2.0%  running · starts over, there is no checkpoint yet
orders  3.0%  running
orders  info: half way
orders  info: half way
orders  100.0%  succeeded
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

func TestDetailsOfARunningJob(t *testing.T) {
	eta, half := int64(95), 50.0
	j := engine.Job{
		State: engine.Running, Attempt: 2, Stage: &engine.Stage{Name: "read", Index: 0, Count: 2}, ETASeconds: &eta, ResumedFrom: &half,
		Progress: &engine.Progress{Done: 3 << 20, Total: 10 << 20, Unit: "bytes"},
	}
	if got, want := details(sight{job: j}), "running · read 1/2 · 3.0 of 10.0 MiB · 1m35s left · attempt 2"; got != want {
		t.Errorf("details are %q, want %q", got, want)
	}
	j.ETASeconds, j.Progress = nil, &engine.Progress{Done: 1234567, Unit: "rows"}
	if got, want := details(sight{job: j, rate: 1000}), "running · read 1/2 · 1,234,567 rows · 1,000 rows/s · attempt 2"; got != want {
		t.Errorf("details are %q, want %q", got, want)
	}
	if got, want := details(sight{job: j, rate: 1000, cutOff: true}), "running · read 1/2 · 1,234,567 rows · attempt 2"; got != want {
		t.Errorf("details are %q while it is cut off, want %q", got, want)
	}
}

func TestDetailsOfAnUpload(t *testing.T) {
	eta := int64(3)
	j := engine.Job{
		State: engine.Receiving, Type: "analysis", Stage: &engine.Stage{Name: "receive"}, ETASeconds: &eta,
		Progress: &engine.Progress{Done: 1_900_000, Total: 2_000_000, Unit: "bytes"},
	}
	for want, s := range map[string]sight{
		"uploading 1.8 of 1.9 MiB, 3s left; then analysis": {job: j},
		"uploading 1.8 of 1.9 MiB; then analysis":          {job: j, cutOff: true},
	} {
		if got := details(s); got != want {
			t.Errorf("details are %q, want %q", got, want)
		}
	}
	j.Canceling, j.ETASeconds = true, nil
	if got, want := details(sight{job: j}), "canceling · uploading 1.8 of 1.9 MiB; then analysis"; got != want {
		t.Errorf("details are %q, want %q", got, want)
	}
}

func TestDetailsOfACanceledJob(t *testing.T) {
	for want, why := range map[string]*engine.JobError{
		"canceled · on request":               nil,
		"canceled · its parent A has failed":  {Code: engine.CodeParentEnded, Message: "its parent A has failed"},
		"canceled · its task was deleted now": {Code: engine.CodeTaskDeleted, Message: "its task was deleted now"},
	} {
		if got := details(sight{job: engine.Job{State: engine.Canceled, Error: why}}); got != want {
			t.Errorf("details are %q, want %q", got, want)
		}
	}
}

func TestDetailsOfARestingJob(t *testing.T) {
	eta := int64(50)
	for want, j := range map[string]engine.Job{
		"paused · attempt 2":          {State: engine.Paused, Attempt: 2, Progress: &engine.Progress{Done: 1}},
		"pausing · read 1/2":          {State: engine.Running, Attempt: 1, Pausing: true, Stage: &engine.Stage{Name: "read", Count: 2}},
		"canceling":                   {State: engine.Running, Attempt: 1, Pausing: true, Canceling: true},
		"running · 0 of 1 part done":  {State: engine.Running, Attempt: 1, Children: &engine.Children{Count: 1}},
		"running · 1 of 2 parts done": {State: engine.Running, Attempt: 1, Children: &engine.Children{Count: 2, Ended: 1}},
		"awaiting · 4 of 1,000 parts done, 1 failed · 50s left": {
			State: engine.Awaiting, Attempt: 1, Children: &engine.Children{Count: 1000, Ended: 4, Failed: 1, Awaited: 1}, ETASeconds: &eta,
		},
		"running · 2 of 2 parts done":             {State: engine.Running, Attempt: 3, Children: &engine.Children{Count: 2, Ended: 2, Awaited: 2}},
		"running · 2 of 2 parts done · attempt 2": {State: engine.Running, Attempt: 3, Children: &engine.Children{Count: 2, Ended: 2, Awaited: 1}},
	} {
		if got := details(sight{job: j}); got != want {
			t.Errorf("details are %q, want %q", got, want)
		}
	}
}

// A parent may stand in a later part of a snapshot than its children.
func TestChildrenWaitForTheirParentsPart(t *testing.T) {
	part := func(n int, final bool, jobs ...engine.Job) (u engine.Update) {
		u = engine.Update{Kind: engine.UpdateSnapshot, Part: n, Final: final}
		for _, j := range jobs {
			text, err := json.Marshal(j)
			if err != nil {
				t.Fatal(err)
			}
			u.Jobs = append(u.Jobs, engine.View{ID: j.ID, JSON: text})
		}
		return u
	}
	child := func(id, parent engine.JobID) engine.Job {
		return engine.Job{ID: id, Rev: 2, Type: "part", State: engine.Running, Parent: parent}
	}
	p := &sights{}
	b := NewBoard(p)
	var held []engine.JobID
	for _, u := range []engine.Update{
		part(1, false, child("left behind by a snapshot that was cut off", "z")),
		part(1, false, child("c", "a"), child("d", "gone")), part(2, false, at(1, 10)), part(3, true),
	} {
		if err := b.Update("", u, func(j engine.Job) { held = append(held, j.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.jobs) != 2 || p.jobs[0].job.ID != "a" || p.jobs[1].job.ID != "d" {
		t.Errorf("shown are %+v, want the parent, and the child that has none", p.jobs)
	}
	if !slices.Equal(held, []engine.JobID{"a", "c", "d"}) {
		t.Errorf("held are %v", held)
	}
}

// A parent may stand behind its children in a snapshot, and may not be followed at all.
func TestChildrenAreToldByTheirParent(t *testing.T) {
	child := func(rev uint64, state engine.State) engine.Job {
		return engine.Job{ID: "c", Rev: rev, Type: "part", Title: "Part 1", State: state, Parent: "a", Error: &engine.JobError{Message: "no such table"}}
	}
	views := func(jobs ...engine.Job) (u engine.Update) {
		u.Kind, u.Part, u.Final = engine.UpdateSnapshot, 1, true
		for _, j := range jobs {
			text, err := json.Marshal(j)
			if err != nil {
				t.Fatal(err)
			}
			u.Jobs = append(u.Jobs, engine.View{ID: j.ID, JSON: text})
		}
		return u
	}
	ignore := func(engine.Job) {}
	p := &sights{}
	b := NewBoard(p)
	if err := b.Update("", views(child(2, engine.Running), at(1, 10)), ignore); err != nil {
		t.Fatal(err)
	}
	if len(p.jobs) != 1 || p.jobs[0].job.ID != "a" || len(p.notes) != 0 {
		t.Errorf("shown are %+v and %q, want the parent alone", p.jobs, p.notes)
	}
	for range 2 {
		b.show("", engine.View{}, child(3, engine.Failed), &engine.Record{Type: engine.JobFailed})
	}
	if want := "Part 1, a part of job a, has failed: no such table"; len(p.jobs) != 1 || len(p.notes) != 1 || p.notes[0] != want {
		t.Errorf("of a part that fails it is said %q, want %q", p.notes, want)
	}
	alone := &sights{}
	if err := NewBoard(alone).Update("", views(child(2, engine.Running)), ignore); err != nil || len(alone.jobs) != 1 {
		t.Errorf("followed alone, of a child is shown %+v, %v", alone.jobs, err)
	}
}

func TestResumedIsToldFromBegunAgain(t *testing.T) {
	p := &sights{}
	b := NewBoard(p)
	said := func(rev uint64, attempt int, from *float64) string {
		j := at(rev, 50)
		j.Attempt, j.ResumedFrom = attempt, from
		b.show("", engine.View{}, j, &engine.Record{Type: engine.JobResumed})
		return milestone(p.jobs[len(p.jobs)-1])
	}
	b.show("", engine.View{}, at(1, 50), &engine.Record{Type: engine.JobPausing})
	if got, want := said(2, 1, nil), "is not to pause any more"; got != want {
		t.Errorf("resumed before it has paused it is said to be %q, want %q", got, want)
	}
	from := 41.5
	if got, want := said(3, 2, &from), "goes on from the checkpoint at 41.5%"; got != want {
		t.Errorf("begun again it is said to be %q, want %q", got, want)
	}
	from = 0
	if got, want := said(4, 3, &from), "starts over, there is no checkpoint yet"; got != want {
		t.Errorf("begun again without a checkpoint it is said to be %q, want %q", got, want)
	}
	family := at(5, 90)
	family.Attempt, family.ResumedFrom, family.Children = 2, &from, &engine.Children{Count: 3, Ended: 3, Awaited: 1}
	b.show("", engine.View{}, family, &engine.Record{Type: engine.JobResumed})
	if got := milestone(p.jobs[len(p.jobs)-1]); got != "" {
		t.Errorf("begun again behind its children it is said to be %q, want nothing", got)
	}
}

func TestTextsCannotSteerTheTerminal(t *testing.T) {
	if got := OneLine("a\x1b[2Jb\r\nc\u202ed"); strings.ContainsAny(got, "\x1b\r\n\u202e") {
		t.Errorf("shown as %q", got)
	}
}

// A bar that has ended must not keep its painter from closing, and no goroutine may be
// left; TestMain looks for those.
func TestBarsClose(*testing.T) {
	b := NewBoard(newBars(io.Discard))
	b.Taking("f", "reading", 1, 2)
	b.Taking("f", "reading", 2, 2)
	for i, state := range []engine.State{engine.Running, engine.Succeeded, engine.Failed, engine.Canceled, engine.Queued} {
		b.show("", engine.View{}, engine.Job{ID: engine.JobID(state), Rev: uint64(i + 1), State: state, Percent: 50}, nil)
	}
	b.Note("beside them")
	b.Close()
}

// A bar shows no time left while the connection is lost: nothing measures it.
func TestBarsShowNoTimeLeftWhileCutOff(t *testing.T) {
	eta := int64(95)
	j := engine.Job{ID: "x", State: engine.Running, ETASeconds: &eta}
	b := newBars(io.Discard)
	b.show(sight{job: j, percent: 40})
	shown := b.jobs["x"]
	if before := behind(shown.last); !strings.Contains(before, "1m35s left") {
		t.Errorf("the bar shows %q", before)
	}
	b.away()
	if after := behind(shown.last); strings.Contains(after, "left") || !strings.Contains(after, "40.0%") {
		t.Errorf("cut off the bar shows %q", after)
	}
	b.show(sight{job: j, percent: 41})
	if again := behind(shown.last); !strings.Contains(again, "1m35s left") {
		t.Errorf("connected again the bar shows %q", again)
	}
	b.close()
}

// A queue changes without a record: the jobs that wait in it are shown anew, and only when what is
// said of them changes.
func TestBoardSaysWhatAJobWaitsFor(t *testing.T) {
	p := &sights{}
	b := NewBoard(p)
	waits := at(1, 0)
	waits.State, waits.Type, waits.Queue = engine.Queued, "export", "exports"
	b.show("", engine.View{}, waits, &engine.Record{Type: engine.JobQueued})
	running := at(2, 10)
	running.ID = "0001JD00000000000000000001"
	b.show("", engine.View{}, running, &engine.Record{Type: engine.JobStarted})
	if jobs := b.ThatWait(); len(jobs) != 1 || jobs[0].ID != waits.ID {
		t.Fatalf("%+v wait", jobs)
	}
	served := engine.Queue{Name: "exports", Workers: 1, Types: []string{"export"}}
	paused, foreign := served, served
	paused.Paused, foreign.Foreign, foreign.Workers = true, true, 0
	unserved, refused, other := served, served, served
	unserved.Workers, refused.Workers, refused.Refusing, other.Types = 0, 0, 1, []string{"report"}
	shown := len(p.jobs)
	for _, c := range []struct {
		queue engine.Queue
		want  string
	}{
		{foreign, ""},
		{served, ""},
		{paused, "queued in exports, which is paused"},
		{paused, ""},
		{unserved, "queued in exports, which no worker serves"},
		{other, "queued in exports, where no worker knows type export"},
		{refused, "queued in exports: its workers take nothing from there, since it holds tasks of another program"},
		{served, "queued in exports"},
	} {
		b.Learn([]engine.Queue{c.queue})
		got := ""
		if len(p.jobs) > shown {
			got = details(p.jobs[len(p.jobs)-1])
		}
		if shown = len(p.jobs); got != c.want {
			t.Errorf("of %+v is shown %q, want %q", c.queue, got, c.want)
		}
	}
	began := at(3, 0)
	began.State, began.Queue = engine.Running, "exports"
	b.show("", engine.View{}, began, &engine.Record{Type: engine.JobStarted})
	if jobs := b.ThatWait(); len(jobs) != 0 {
		t.Errorf("%+v wait", jobs)
	}
}

func TestADelayedJobWaitsForItsTime(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)
	soon, later := now.Add(time.Hour), now.Add(48*time.Hour)
	j := engine.Job{State: engine.Queued, Queue: "exports", StartAt: &soon}
	if got := Wait(j, nil, now); got != " until 13:00:00" {
		t.Errorf("it waits%s", got)
	}
	if j.StartAt = &later; Wait(j, nil, now) != " until 2026-12-02 12:00:00" {
		t.Errorf("it waits%s", Wait(j, nil, now))
	}
	if j.StartAt = &now; Wait(j, nil, now) != " in exports" {
		t.Errorf("it waits%s", Wait(j, nil, now))
	}
	if j.State = engine.Paused; Wait(j, nil, now) != "" {
		t.Errorf("paused it waits%s", Wait(j, nil, now))
	}
}
