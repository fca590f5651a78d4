package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// selects is what a Filter promises of a job, told from its decoded view.
func selects(f engine.Filter, j engine.Job) bool {
	for name, value := range f.Labels {
		if has, there := j.Labels[name]; !there || has != value {
			return false
		}
	}
	return (f.Job == "" || f.Job == j.ID) && (f.Type == "" || f.Type == j.Type) && (f.State == "" || f.State == j.State) &&
		(f.Parent == "" || f.Parent == j.Parent || f.Parent == engine.NoParent && j.Parent == "") &&
		(f.CreatedFrom.IsZero() || !j.CreatedAt.Before(f.CreatedFrom)) && (f.CreatedTo.IsZero() || j.CreatedAt.Before(f.CreatedTo))
}

// passes is what it promises of a record.
func passes(f engine.Filter, r engine.Record) bool {
	if !r.Type.Tick() {
		f.State = ""
	}
	if r.Job == nil {
		return f.IsZero()
	}
	return selects(f, *r.Job)
}

// A filterWorld is a topic with jobs of all kinds, in all states, and what the tail has
// brought of it.
type filterWorld struct {
	t       testing.TB
	e       *engine.Rig
	rng     *rand.Rand
	topic   engine.Topic
	all     []engine.Job
	records []engine.Record
	tailed  chan engine.Entry
	stands  chan struct{} // closed when the tail knows where it begins
	begun   sync.Once
}

func (w *filterWorld) Tailed(e engine.Entry) { w.tailed <- e }
func (w *filterWorld) Doubt()                { w.begun.Do(func() { close(w.stands) }) }
func (w *filterWorld) Compare(engine.Cursor) {}

// Texts that look like members of a view.
var oddLabels = map[string]string{
	"state": "failed", "created_at": "2020-01-01T00:00:00.000Z", "parent": "none", "type": `","type":"import`,
	"odd": "\"a\",b:c=d&e%\\ü\x00<\u2028", "empty": "",
}

func (w *filterWorld) spec() engine.Spec {
	s := engine.Spec{Topic: w.topic, Type: []string{"export", "import", "a.b"}[w.rng.IntN(3)], Labels: map[string]string{}}
	if w.rng.IntN(2) == 0 {
		s.Title = `{"labels":{"team":"sales"},"state":"failed","created_at":"2020-01-01T00:00:00.000Z"}\`
	}
	if w.rng.IntN(2) == 0 {
		s.Labels["team"] = []string{"sales", "ops", ""}[w.rng.IntN(3)]
	}
	for name, value := range oddLabels {
		if w.rng.IntN(4) == 0 {
			s.Labels[name] = value
		}
	}
	return s
}

// job makes a job and leaves it in some state.
func (w *filterWorld) job() {
	t, e, ctx := w.t, w.e, soon(w.t)
	if w.rng.IntN(6) == 0 {
		id, err := e.NewJobID(w.topic)
		must(t, err)
		_, fence, err := e.Receive(ctx, id, w.spec(), 50, 0, runtime.Shown{})
		must(t, err)
		p := &pen{t, e, runtime.Report{Job: id, Fence: fence}}
		must(t, p.write(runtime.Report{Type: engine.JobProgress, Tenths: 10}).Err)
		return
	}
	got, err := e.Enqueue(ctx, w.spec())
	must(t, err)
	switch w.rng.IntN(8) {
	case 0:
		must(t, e.Cancel(ctx, got.ID))
	case 1:
		must(t, e.Pause(ctx, got.ID))
	case 2:
	default:
		p, _ := start(t, e, got.ID, 1)
		must(t, p.write(runtime.Report{Type: engine.JobProgress, Tenths: 100}).Err)
		w.end(p)
	}
}

func (w *filterWorld) end(p *pen) {
	failed := &engine.JobError{Code: "error", Message: `"state":"queued"`}
	switch w.rng.IntN(5) {
	case 0:
		must(w.t, p.write(runtime.Report{Type: engine.JobSucceeded}).Err)
	case 1:
		must(w.t, p.write(runtime.Report{Type: engine.JobFailed, Error: failed}).Err)
	case 2:
		// The tick is of a running job, though the call that brings it ends the attempt.
		reports := []runtime.Report{{Type: engine.JobProgress, Tenths: 150}, {Type: engine.JobRetrying, Error: failed, RetryAt: time.Now(), Retries: 1}}
		for i := range reports {
			p.r.Fence.Seq++
			reports[i].Job, reports[i].Fence = p.r.Job, p.r.Fence
		}
		acks, err := w.e.Commit(soon(w.t), reports...)
		must(w.t, err, acks[0].Err, acks[1].Err)
	case 3:
		must(w.t, p.write(runtime.Report{Type: engine.JobCheckpoint, Tenths: 200, Checkpoint: []byte("c")}).Err)
	case 4:
		parts := make([]engine.Child, 3)
		for i := range parts {
			parts[i] = engine.Child{Name: fmt.Sprint(i), Optional: true, Spec: w.spec()}
		}
		parts, plan, err := runtime.PlanFanOut("all", w.topic, engine.DefaultQueue, parts)
		must(w.t, err, p.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
		must(w.t, w.e.Spawn(soon(w.t), p.r.Job, p.r.Fence, 0, "all", parts))
		must(w.t, p.write(runtime.Report{Type: engine.JobAwaiting}).Err)
		child, _ := start(w.t, w.e, runtime.ChildID(p.r.Job, "all", "1"), 1)
		must(w.t, child.write(runtime.Report{Type: engine.JobProgress, Tenths: 500}).Err) // and its parent
		must(w.t, w.e.Cancel(soon(w.t), runtime.ChildID(p.r.Job, "all", "2")))
	}
}

// newFilterWorld fills a topic, reads it unfiltered, and holds what the tail brought
// against it.
func newFilterWorld(t testing.TB, e *engine.Rig, topic engine.Topic, seed uint64) *filterWorld {
	w := &filterWorld{t: t, e: e, rng: rand.New(rand.NewPCG(seed, 1)), topic: topic, tailed: make(chan engine.Entry, 10_000), stands: make(chan struct{})}
	defer e.Listen(topic, w)()
	ctx := soon(t)
	select {
	case <-w.stands:
	case <-ctx.Done():
		t.Fatal("the tail does not begin")
	}
	for range 40 {
		w.job()
	}
	must(t, e.Notify(ctx, topic, "", json.RawMessage(`{"job":{"id":"x","type":"export"}}`)))
	w.all = w.list(engine.Filter{}, 500)
	for cursor := engine.Beginning; ; {
		page, err := e.Replay(ctx, topic, cursor)
		must(t, err)
		for _, entry := range page.Entries {
			r, err := entry.Record()
			must(t, err)
			w.records, cursor = append(w.records, r), entry.ID
		}
		if cursor == page.Head {
			return w
		}
	}
}

func (w *filterWorld) list(f engine.Filter, limit int) (jobs []engine.Job) {
	w.t.Helper()
	for q := (engine.JobsQuery{Filter: f, Limit: limit}); ; {
		page, err := w.e.Jobs(soon(w.t), w.topic, q)
		must(w.t, err)
		if len(page.Jobs) > limit {
			w.t.Errorf("%s: a page of %d jobs, want %d at most", f, len(page.Jobs), limit)
		}
		jobs = append(jobs, decoded(w.t, page.Jobs)...)
		if q.After = page.Next; q.After == "" {
			return jobs
		}
	}
}

func decoded(t testing.TB, views []engine.View) []engine.Job {
	jobs := make([]engine.Job, len(views))
	for i, v := range views {
		j, err := v.Job()
		must(t, err)
		jobs[i] = j
	}
	return jobs
}

func (w *filterWorld) snapshot(f engine.Filter) (jobs []engine.Job) {
	w.t.Helper()
	p, err := stream.NewPaging("", 0, f)
	must(w.t, err)
	for final := false; !final; {
		var part []engine.View
		part, final, err = w.e.SnapshotPart(soon(w.t), w.topic, &p)
		must(w.t, err)
		jobs = append(jobs, decoded(w.t, part)...)
		p, err = reread(p)
		must(w.t, err)
	}
	return jobs
}

// filter draws a filter, most of which want some of the jobs.
func (w *filterWorld) filter() engine.Filter {
	like := w.all[w.rng.IntN(len(w.all))]
	some := func() bool { return w.rng.IntN(4) == 0 }
	f := engine.Filter{Labels: map[string]string{}}
	if w.rng.IntN(12) == 0 {
		f.Job = like.ID
	}
	if some() {
		f.Type = like.Type
	}
	if some() {
		f.State = like.State
	}
	if some() {
		f.Parent = engine.NoParent
		if like.Parent != "" {
			f.Parent = like.Parent
		}
	}
	for name, value := range like.Labels {
		if some() {
			f.Labels[name] = value
		}
	}
	if w.rng.IntN(10) == 0 {
		f.Labels["team"] = "other"
	}
	if some() {
		f.CreatedFrom = like.CreatedAt.Add(time.Duration(w.rng.IntN(3)-1) * time.Microsecond)
	}
	if some() {
		f.CreatedTo = w.all[w.rng.IntN(len(w.all))].CreatedAt.Add(time.Duration(w.rng.IntN(3)-1) * time.Microsecond)
	}
	return f
}

// check holds every way to read with a filter against filtering what is read without one.
func (w *filterWorld) check(f engine.Filter) {
	w.t.Helper()
	ids := func(jobs []engine.Job) (ids []engine.JobID) {
		for _, j := range jobs {
			ids = append(ids, j.ID)
		}
		return ids
	}
	var jobs []engine.Job
	for _, j := range w.all {
		if selects(f, j) {
			jobs = append(jobs, j)
		}
	}
	if got := ids(w.list(f, 1+w.rng.IntN(20))); !slices.Equal(got, ids(jobs)) {
		w.t.Errorf("%s lists %v, want %v", f, got, ids(jobs))
	}
	if got := ids(w.snapshot(f)); !slices.Equal(got, ids(jobs)) {
		w.t.Errorf("a snapshot of %s has %v, want %v", f, got, ids(jobs))
	}
	var want, got []engine.Cursor
	for _, r := range w.records {
		if passes(f, r) {
			want = append(want, r.ID)
		}
	}
	for u, err := range w.e.Follow(soon(w.t), engine.FollowQuery{Topic: w.topic, Filter: f, After: engine.Beginning}) {
		must(w.t, err)
		if u.Kind != engine.UpdateRecord {
			break
		}
		got = append(got, u.Entry.ID)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s follows %v, want %v", f, got, want)
	}
	for _, e := range w.entries() {
		r, err := e.Record()
		must(w.t, err)
		if f.Match(e) != passes(f, r) {
			w.t.Errorf("%s passes the tailed record %s: %t", f, e.JSON, f.Match(e))
		}
	}
}

// entries are what the tail has brought, up to the last record.
func (w *filterWorld) entries() (entries []engine.Entry) {
	last := w.records[len(w.records)-1].ID
	for ctx := soon(w.t); ; {
		select {
		case e := <-w.tailed:
			if entries = append(entries, e); e.ID == last {
				for _, e := range entries {
					w.tailed <- e // for the next one
				}
				return entries
			}
		case <-ctx.Done():
			w.t.Fatalf("the tail brought %d records, and not the last", len(entries))
		}
	}
}

// testFilters: a filtered list, snapshot, replay and tail have exactly what filtering the
// unfiltered gives.
func testFilters(t *testing.T, ctx context.Context, e *engine.Rig) {
	w := newFilterWorld(t, e, "filters:1", rand.Uint64())
	w.check(engine.Filter{})
	for range scale(40, 1000) {
		w.check(w.filter())
	}
	entries := w.entries()
	if len(entries) != len(w.records) {
		t.Errorf("the tail brought %d of %d records", len(entries), len(w.records))
	}
	for _, e := range entries {
		r, err := e.Record()
		must(t, err)
		if r.Job == nil {
			if e.Subject != nil {
				t.Errorf("a notification is about %+v", e.Subject)
			}
			continue
		}
		if want := (wire.Subject{Job: r.Job.ID, Type: r.Job.Type, State: r.Job.State, Parent: r.Job.Parent}); e.Subject == nil || *e.Subject != want {
			t.Errorf("the log says of record %s %+v, want %+v", e.ID, e.Subject, want)
		}
	}
	// A job of another topic in the same shard is not one of this.
	other, err := e.Enqueue(ctx, engine.Spec{Topic: "filters:2", Type: "export"})
	must(t, err)
	if got := w.list(engine.Filter{Job: other.ID}, 10); len(got) > 0 {
		t.Errorf("the topic lists another's job %+v", got)
	}
}

// The same where a call looks at four jobs.
func TestFiltersInSmallPages(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, spacious)
		if e.Rewrite(smallPages...) == 0 {
			t.Fatal("the bound of a page is not where the test thinks")
		}
		w := newFilterWorld(t, e, "user:42", rand.Uint64())
		for range scale(60, 1000) {
			w.check(w.filter())
		}
	})
}

// A page looks at ten times what a call does, here 4 jobs, and has all that match of those.
func TestAFilteredPageLooksAtABoundedNumber(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		if e.Rewrite(smallPages...) == 0 {
			t.Fatal("the bound of a page is not where the test thinks")
		}
		for range 45 {
			enqueue(t, e)
		}
		for _, c := range []struct {
			kind  string
			limit int
			pages []int
		}{{"export", 30, []int{30, 15}}, {"export", 100, []int{40, 5}}, {"import", 100, []int{0, 0}}} {
			q := engine.JobsQuery{Filter: engine.Filter{Type: c.kind}, Limit: c.limit}
			var pages []int
			for len(pages) == 0 || q.After != "" {
				page, err := e.Jobs(soon(t), "user:42", q)
				must(t, err)
				pages, q.After = append(pages, len(page.Jobs)), page.Next
			}
			if !slices.Equal(pages, c.pages) {
				t.Errorf("%s by %d: pages of %v, want %v", c.kind, c.limit, pages, c.pages)
			}
			p, err := stream.NewPaging("", 0, q.Filter)
			must(t, err)
			parts := 0
			for final := false; !final; parts++ {
				_, final, err = e.SnapshotPart(soon(t), "user:42", &p)
				must(t, err)
			}
			if c.kind == "import" && parts != 2 {
				t.Errorf("a snapshot of nothing has %d parts, want 2", parts)
			}
		}
	})
}

// A reader of the running jobs hears of each that begins and of each that leaves, in
// whatever way, and of no other's progress.
func TestAJobIsHeardToLeaveAFiltersState(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		next := pull(t, soon(t), e, engine.FollowQuery{Topic: "user:42", Filter: engine.Filter{State: engine.Running}})
		hears := func(want ...engine.RecordType) {
			t.Helper()
			for _, kind := range want {
				u, err := next()
				must(t, err)
				if u.Entry.Type() != kind {
					t.Fatalf("heard %s %s, want %s", u.Kind, u.Entry.JSON, kind)
				}
			}
		}
		for range 2 { // an empty snapshot, and that it is live
			if u, err := next(); err != nil || u.Kind == engine.UpdateRecord {
				t.Fatalf("heard %+v, %v", u, err)
			}
		}
		id, err := e.NewJobID("user:42")
		must(t, err)
		_, fence, err := e.Receive(soon(t), id, engine.Spec{Topic: "user:42", Type: "export"}, 50, 0, runtime.Shown{})
		must(t, err)
		p := &pen{t, e, runtime.Report{Job: id, Fence: fence}}
		must(t, p.write(runtime.Report{Type: engine.JobProgress}).Err, e.Received(soon(t), id, nil))
		hears(engine.JobReceiving, engine.JobQueued)
		p, _ = start(t, e, id, 1)
		must(t, p.write(runtime.Report{Type: engine.JobProgress}).Err, p.write(runtime.Report{Type: engine.JobRetrying, RetryAt: time.Now(), Error: &engine.JobError{Code: "error"}}).Err)
		must(t, e.Cancel(soon(t), id))
		hears(engine.JobStarted, engine.JobProgress, engine.JobRetrying, engine.JobCanceled)
	})
}
