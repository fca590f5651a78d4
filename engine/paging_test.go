package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A pagingWorld has a topic whose jobs begin, move and end between any two pages of a
// snapshot, and whose stream holds little, so that the cursor is trimmed meanwhile.
type pagingWorld struct {
	t     *testing.T
	e     *engine.Rig
	rng   *rand.Rand
	topic engine.Topic
	jobs  []engine.JobID // ever made
	pens  []*pen         // of running ones
	queue []engine.JobID // of waiting ones

	filter engine.Filter // of the client

	client pagingClient
	rounds int
}

// A pagingClient is what docs/protocol.md has a client hold.
type pagingClient struct {
	held   map[engine.JobID]engine.Job
	since  engine.Cursor           // held before the snapshot, if it was trimmed
	seen   map[engine.JobID]uint64 // revisions that parts of the snapshot had
	round  map[engine.JobID]uint64 // and those of the present round
	cursor engine.Cursor
}

func newPagingWorld(t *testing.T, e *engine.Rig, seed uint64) *pagingWorld {
	w := &pagingWorld{t: t, e: e, rng: rand.New(rand.NewPCG(seed, 7)), topic: engine.Topic(fmt.Sprintf("user:%d", seed))}
	w.client = pagingClient{held: map[engine.JobID]engine.Job{}}
	for range 4 + w.rng.IntN(12) {
		w.enqueue()
	}
	for range w.rng.IntN(6) {
		w.start()
	}
	if w.rng.IntN(2) == 0 {
		w.fanOut()
	}
	for range w.rng.IntN(4) {
		w.end()
	}
	return w
}

func (w *pagingWorld) enqueue() {
	got, err := w.e.Enqueue(soon(w.t), engine.Spec{Topic: w.topic, Type: "export"})
	must(w.t, err)
	w.jobs, w.queue = append(w.jobs, got.ID), append(w.queue, got.ID)
}

func (w *pagingWorld) start() *pen {
	for {
		if len(w.queue) == 0 {
			w.enqueue()
		}
		i := w.rng.IntN(len(w.queue))
		p := &pen{t: w.t, e: w.e, r: runtime.Report{Job: w.queue[i], Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}}
		w.queue = slices.Delete(w.queue, i, i+1)
		if p.write(runtime.Report{Type: engine.JobStarted}).Err == nil {
			w.pens = append(w.pens, p)
			return p
		} // a child whose parent has ended
	}
}

// fanOut makes children of a job; they wait.
func (w *pagingWorld) fanOut() {
	p := w.start()
	parts := make([]engine.Child, 5)
	for i := range parts {
		parts[i] = engine.Child{Name: fmt.Sprint(i), Optional: true, Spec: engine.Spec{Type: "export"}}
	}
	parts, plan, err := runtime.PlanFanOut("all", w.topic, engine.DefaultQueue, parts)
	must(w.t, err, p.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
	must(w.t, w.e.Spawn(soon(w.t), p.r.Job, p.r.Fence, 0, "all", parts))
	for i := range parts {
		id := runtime.ChildID(p.r.Job, "all", fmt.Sprint(i))
		w.jobs, w.queue = append(w.jobs, id), append(w.queue, id)
	}
}

// end ends a job that waits, or one that runs, unless it has with its parent.
func (w *pagingWorld) end() {
	switch {
	case len(w.queue) > 0 && w.rng.IntN(2) == 0:
		i := w.rng.IntN(len(w.queue))
		if err := w.e.Cancel(soon(w.t), w.queue[i]); !errors.Is(err, engine.ErrEnded) {
			must(w.t, err)
		}
		w.queue = slices.Delete(w.queue, i, i+1)
	case len(w.pens) > 0:
		i := w.rng.IntN(len(w.pens))
		w.pens[i].write(runtime.Report{Type: engine.JobSucceeded})
		w.pens = slices.Delete(w.pens, i, i+1)
	}
}

func (w *pagingWorld) tick(n int) {
	for n > 0 {
		if len(w.pens) == 0 {
			w.start()
		}
		i := w.rng.IntN(len(w.pens))
		if w.pens[i].write(runtime.Report{Type: engine.JobProgress}).Err != nil {
			w.pens = slices.Delete(w.pens, i, i+1)
			continue
		}
		n--
	}
}

// meanwhile is what happens between two pages.
func (w *pagingWorld) meanwhile() {
	for range w.rng.IntN(3) {
		switch w.rng.IntN(5) {
		case 0:
			w.enqueue()
		case 1, 2:
			w.end()
		case 3:
			w.tick(1)
		case 4:
			w.tick(6) // half of the stream
		}
	}
}

// snapshot reads a snapshot to its end, with what happens between its pages.
func (w *pagingWorld) snapshot(held engine.Cursor, limit int, between func()) (more string, err error) {
	w.t.Helper()
	c := &w.client
	p, err := stream.NewPaging(held, limit, w.filter)
	must(w.t, err)
	c.since, c.seen, c.round = held, map[engine.JobID]uint64{}, map[engine.JobID]uint64{}
	cursor := p.Cursor()
	w.rounds = 0
	for final := false; !final; {
		var jobs []engine.View
		if jobs, final, err = w.e.SnapshotPart(soon(w.t), w.topic, &p); err != nil {
			return "", err
		}
		if p.Cursor() != cursor {
			cursor, c.round = p.Cursor(), map[engine.JobID]uint64{}
			w.rounds++
		}
		if err := c.part(jobs); err != nil {
			return "", err
		}
		// The next part may be asked for by another request.
		if p, err = reread(p); err != nil {
			return "", err
		}
		if !final {
			between()
		}
	}
	more = p.More()
	if w.filter.State != "" {
		more = "" // what is behind it may have left the state
	}
	c.finish(more)
	c.cursor = p.Cursor()
	return p.More(), w.follow()
}

func reread(p stream.Paging) (stream.Paging, error) {
	read, err := stream.ParsePaging(p.String())
	if err == nil && read != p {
		err = fmt.Errorf("%s is read as %s", p, read)
	}
	return read, err
}

// part applies a part: each job once a round, and what comes again is newer.
func (c *pagingClient) part(views []engine.View) error {
	size := 0
	for _, v := range views {
		j, err := v.Job()
		if err != nil {
			return err
		}
		if rev, twice := c.round[j.ID]; twice && j.Rev <= rev {
			return fmt.Errorf("job %s comes twice, at %d and then at %d", j.ID, rev, j.Rev)
		}
		if j.Rev < c.seen[j.ID] {
			return fmt.Errorf("job %s comes at %d, and came at %d before", j.ID, j.Rev, c.seen[j.ID])
		}
		c.round[j.ID], c.seen[j.ID] = j.Rev, j.Rev
		c.apply(j)
		size += len(v.JSON)
	}
	if size > 60<<10 {
		return fmt.Errorf("a part of %d bytes", size)
	}
	return nil
}

func (c *pagingClient) apply(j engine.Job) {
	if j.Rev > c.held[j.ID].Rev {
		c.held[j.ID] = j
	}
}

// finish drops what the snapshot did not have.
func (c *pagingClient) finish(more string) {
	for id, j := range c.held {
		_, seen := c.seen[id]
		if !seen && (more == "" || j.State.Ended() || "live:"+string(id) > more) {
			delete(c.held, id)
		}
	}
}

// follow takes the records behind the cursor; a snapshot's must be there.
func (w *pagingWorld) follow() error {
	for {
		page, err := w.e.Replay(soon(w.t), w.topic, w.client.cursor)
		must(w.t, err)
		if page.Verdict != engine.Resumed {
			return fmt.Errorf("a replay from the snapshot's cursor %s is %s", w.client.cursor, page.Verdict)
		}
		if len(page.Entries) == 0 {
			return nil
		}
		for _, e := range page.Entries {
			r, err := e.Record()
			must(w.t, err)
			if w.filter.Match(e) {
				w.client.apply(*r.Job)
			}
			w.client.cursor = e.ID
		}
	}
}

// check holds the client against each job that there ever was. Of one that its filter does
// not select any more it knows as much.
func (w *pagingWorld) check(more string) error {
	for _, id := range w.jobs {
		v, err := w.e.Job(soon(w.t), id)
		must(w.t, err)
		truth, err := v.Job()
		must(w.t, err)
		held, there := w.client.held[id]
		if !selects(w.filter, truth) {
			if there && selects(w.filter, held) {
				return fmt.Errorf("job %s is held as %s of %d, it is %s of %d", id, held.State, held.Rev, truth.State, truth.Rev)
			}
			continue
		}
		switch {
		case there && held.Rev != truth.Rev && (more == "" || "live:"+string(id) >= more || truth.State.Ended()):
			return fmt.Errorf("job %s is held as %s of %d, it is %s of %d", id, held.State, held.Rev, truth.State, truth.Rev)
		case there:
		case !truth.State.Ended() && (more == "" || "live:"+string(id) >= more):
			return fmt.Errorf("job %s lives as %s of %d, and is not held", id, truth.State, truth.Rev)
		case truth.State.Ended() && w.client.since != "" && truth.Rev > w.client.since.N():
			return fmt.Errorf("job %s ended at %d, after the cursor %s, and is not held", id, truth.Rev, w.client.since)
		}
	}
	return nil
}

var smallPages = []string{"looked >= entries", "looked >= 4"}

// pagingEngine has pages of a few jobs, and a stream of a few records.
func pagingEngine(t *testing.T, url string) *engine.Rig {
	e := open(t, url, func(o *engine.Options) { o.TopicEntries = 12 })
	if e.Rewrite(smallPages...) == 0 {
		t.Fatal("the bound of a page is not where the test thinks")
	}
	return e
}

// run has a client that held the topic's jobs come back trimmed, come afresh, or bound the
// live ones, and tells how many rounds its snapshot took.
func (w *pagingWorld) run() (rounds int, err error) {
	limit := 0
	if w.rng.IntN(3) == 0 {
		limit = 1 + w.rng.IntN(12)
	}
	if _, err := w.snapshot("", 0, func() {}); err != nil {
		return 0, err
	}
	held := w.client.cursor
	for range 1 + w.rng.IntN(4) {
		w.meanwhile()
	}
	if w.rng.IntN(3) > 0 {
		w.tick(14) // so that it is trimmed
	} else {
		held = "" // it has lost its cursor, and holds its jobs
	}
	more, err := w.snapshot(held, limit, w.meanwhile)
	if err == nil {
		err = w.check(more)
	}
	return w.rounds, err
}

// Jobs begin, move and end between any two pages, and the cursor is trimmed: the client
// ends with each live job, and each that ended since its cursor, as it is.
func TestASnapshotInPagesMissesNothing(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e := pagingEngine(t, url)
		more := 0
		for seed := range uint64(scale(60, 2000)) {
			w := newPagingWorld(t, e, seed)
			rounds, err := w.run()
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if rounds > 1 {
				more++
			}
		}
		t.Logf("%d snapshots had more than one round", more)
		if more < 5 {
			t.Errorf("%d snapshots were trimmed before their end: the test does not see what it is for", more)
		}
	})
}

// The same with filters: the client ends with each job that its filter selects, as it is,
// and holds none as selected that has left.
func TestAFilteredSnapshotInPagesMissesNothing(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e := pagingEngine(t, url)
		filters := []engine.Filter{{State: engine.Running}, {State: engine.Queued}, {State: engine.Canceled}, {Parent: engine.NoParent, State: engine.Running}, {Parent: engine.NoParent}}
		more := 0
		for seed := range uint64(scale(100, 2000)) {
			w := newPagingWorld(t, e, seed)
			w.filter = filters[seed%uint64(len(filters))]
			rounds, err := w.run()
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, w.filter, err)
			}
			if rounds > 1 {
				more++
			}
		}
		if more < 5 {
			t.Errorf("%d snapshots were trimmed before their end: the test does not see what it is for", more)
		}
	})
}

// TestASnapshotInPagesSeesMistakes is the plant of the test above.
func TestASnapshotInPagesSeesMistakes(t *testing.T) {
	t.Parallel()
	url := redistest.Server(t).URL()
	for _, m := range []struct{ name, from, to string }{
		{"a page begins behind the one before", `or rank(place, count)`, `or rank(place, count) + 1`},
		{"a page ends before the next", `ids[i]
    if last`, `ids[i + 1] or ids[i]
    if last`},
		{"what ended since the cursor is given", `int(since - less)`, `int(since - less + 4)`},
		{"children that ended are given", `over(CHILD, score and score < 0 and score or nil)`, ``},
		{"another round gives what has changed", `<= newer)`, `<= newer + 6)`},
		{"another round gives what has ended", `if since then`, `if since and newest == 0 then return true elseif since then`},
		{"the verdict on a trimmed cursor", `{ "trimmed", newest.id }`, `{ "resumed", newest.id }`},
	} {
		t.Run(m.name, func(t *testing.T) {
			e := pagingEngine(t, url)
			if n := e.Rewrite(append(smallPages[:2:2], m.from, m.to)...); n == 0 {
				t.Fatalf("%q is not in the scripts", m.from)
			}
			for seed := range uint64(2000) {
				if _, err := newPagingWorld(t, e, seed).run(); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("it is not seen")
		})
	}
}

// limit gives the newest of the live jobs, and where the list of the others begins.
func TestASnapshotsLimit(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := pagingEngine(t, url)
		w := newPagingWorld(t, e, 1)
		for range 20 {
			w.enqueue()
		}
		all := listIDs(t, e, w.topic, 500)
		live := slices.IndexFunc(all, func(id engine.JobID) bool { return !w.job(id).State.Ended() })
		count := len(w.queue) + len(w.pens)
		if live != 0 {
			t.Fatalf("the list begins with job %s, which has ended", all[0])
		}
		for limit := 1; limit <= count+1; limit++ {
			w.client.held = map[engine.JobID]engine.Job{}
			more, err := w.snapshot("", limit, func() {})
			must(t, err)
			given := min(limit, count)
			if n := len(w.client.held); n != given+len(all)-count {
				t.Fatalf("limit %d: %d jobs, want %d live and %d ended", limit, n, given, len(all)-count)
			}
			rest := listFrom(t, e, w.topic, more)
			switch {
			case limit >= count && more != "":
				t.Fatalf("limit %d: more %q, and there are %d", limit, more, count)
			case limit < count && !slices.Equal(rest, all[limit:]):
				t.Fatalf("limit %d: more %q lists %v, want %v", limit, more, rest, all[limit:])
			}
		}
	})
}

func (w *pagingWorld) job(id engine.JobID) engine.Job {
	v, err := w.e.Job(soon(w.t), id)
	must(w.t, err)
	j, err := v.Job()
	must(w.t, err)
	return j
}

func listFrom(t *testing.T, e *engine.Rig, topic engine.Topic, after string) (ids []engine.JobID) {
	t.Helper()
	for q := (engine.JobsQuery{After: after}); ; {
		page, err := e.Jobs(soon(t), topic, q)
		must(t, err)
		ids = append(ids, idsOf(page.Jobs)...)
		if q.After = page.Next; q.After == "" {
			return ids
		}
	}
}
