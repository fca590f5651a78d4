package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// soak reports whether the full counts are wanted (task soak).
var soak = os.Getenv("TIDEMARK_SOAK") == "1"

// scale gives a count of the test run, or of soak.
func scale(test, full int) int {
	if soak {
		return full
	}
	return test
}

// A fact is a record that Redis acknowledged to the producer.
type fact struct {
	topic engine.Topic
	job   engine.JobID  // "": a notification
	id    engine.Cursor // "": the acknowledgement does not tell it
	text  string        // of a notification
	kind  engine.RecordType
	asked time.Time // before Redis was asked
	at    time.Time // when the acknowledgement arrived
	alone bool      // it came with ErrUnreplicated
}

// A ledger holds the answers that the producer got, to compare readers with.
type ledger struct {
	signal
	facts []fact
	wrote map[engine.Topic]int
}

func newLedger() *ledger {
	return &ledger{signal: newSignal(), wrote: map[engine.Topic]int{}}
}

func (l *ledger) add(f fact) {
	f.at = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = append(l.facts, f)
	l.wrote[f.topic]++
	l.changeLocked()
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.facts)
}

// made counts the jobs, under mu.
func (l *ledger) made() (n int) {
	for _, f := range l.facts {
		if f.kind == engine.JobQueued {
			n++
		}
	}
	return n
}

func (l *ledger) of(topic engine.Topic) []fact {
	l.mu.Lock()
	defer l.mu.Unlock()
	var facts []fact
	for _, f := range l.facts {
		if f.topic == topic {
			facts = append(facts, f)
		}
	}
	return facts
}

// A signal is a mutex whose holders can wait for a condition, or a context's end.
type signal struct {
	mu      sync.Mutex
	changed chan struct{}
}

func newSignal() signal { return signal{changed: make(chan struct{})} }

func (s *signal) changeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until holds, which runs under mu, says so.
func (s *signal) await(ctx context.Context, holds func() bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !holds() {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil && !holds() {
			return context.Cause(ctx)
		}
	}
	return nil
}

// A declared gap is a snapshot that replaced records.
type declared struct {
	reason   engine.Verdict
	from, to engine.Cursor
	revs     map[engine.JobID]uint64
}

// A reader is what a client that follows a topic holds, and the first thing that it
// was given against the promises.
type reader struct {
	signal
	topic  engine.Topic
	cursor engine.Cursor
	given  map[engine.Cursor]bool
	queued map[engine.JobID]bool
	notes  map[string]int
	revs   map[engine.JobID]uint64
	views  map[engine.JobID]engine.Job
	gaps   []declared
	coming *declared                // a snapshot of which parts were given
	part   int                      // of it, the last
	marks  map[engine.JobID]float64 // what a client shows: the highest percent so far
	fell   int                      // how often what it was given was lower than that
	kinds  map[engine.UpdateKind]int
	fault  error
	err    error // what the iterator ended with
	decode func(engine.Entry) (engine.Record, error)
	ended  bool
}

func newReader(topic engine.Topic, after engine.Cursor) *reader {
	return &reader{
		signal: newSignal(), topic: topic, cursor: after, given: map[engine.Cursor]bool{},
		queued: map[engine.JobID]bool{}, notes: map[string]int{},
		revs: map[engine.JobID]uint64{}, views: map[engine.JobID]engine.Job{}, marks: map[engine.JobID]float64{},
		kinds: map[engine.UpdateKind]int{}, decode: engine.Entry.Record,
	}
}

// follow reads until ctx ends. drop, if any, keeps an update from the reader: the
// plant that shows that the checks see a loss.
func (r *reader) follow(ctx context.Context, e *engine.Rig, drop func(engine.Update) bool) {
	for u, err := range e.Follow(ctx, engine.FollowQuery{Topic: r.topic, After: r.cursor}) {
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
			break
		}
		if drop == nil || !drop(u) {
			r.take(u)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.changeLocked()
}

func (r *reader) take(u engine.Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.changeLocked()
	r.kinds[u.Kind]++
	switch u.Kind {
	case engine.UpdateRecord:
		r.record(u)
	case engine.UpdateSnapshot:
		r.snapshot(u)
	default:
		if u.Cursor != r.cursor {
			r.blame("update %s moved the cursor from %s to %s", u.Kind, r.cursor, u.Cursor)
		}
	}
}

func (r *reader) snapshot(u engine.Update) {
	if r.part++; u.Part == 1 {
		r.part = 1
		r.coming = &declared{u.Reason, r.cursor, "", map[engine.JobID]uint64{}}
		clear(r.views)
		clear(r.revs)
	}
	if r.coming == nil || u.Part != r.part {
		r.blame("part %d of a snapshot, want %d", u.Part, r.part)
		return
	}
	for _, v := range u.Jobs {
		j, err := v.Job()
		if err != nil {
			r.blame("snapshot at %s: %v", u.Cursor, err)
			continue
		}
		if j.Rev < r.coming.revs[j.ID] {
			r.blame("snapshot at %s: job %s at %d, an earlier part had it at %d", u.Cursor, j.ID, j.Rev, r.coming.revs[j.ID])
		}
		r.coming.revs[j.ID] = j.Rev
		r.show(j)
	}
	if !u.Final {
		if u.Cursor != r.cursor {
			r.blame("a part of a snapshot moved the cursor from %s to %s", r.cursor, u.Cursor)
		}
		return
	}
	r.coming.to = u.Cursor
	r.gaps = append(r.gaps, *r.coming)
	r.coming, r.cursor = nil, u.Cursor
}

func (r *reader) record(u engine.Update) {
	if r.coming != nil {
		r.blame("record %s in the middle of a snapshot", u.Entry.ID)
	}
	e := u.Entry
	rec, err := r.decode(e)
	switch {
	case err != nil:
		r.blame("%v", err)
	case rec.ID != e.ID || rec.Topic != r.topic || e.Topic != r.topic || u.Cursor != e.ID:
		r.blame("entry %s of %s at %s holds record %s of %s", e.ID, e.Topic, u.Cursor, rec.ID, rec.Topic)
	case e.Prev != r.cursor:
		r.blame("record %s follows %s, but the reader was at %s", e.ID, e.Prev, r.cursor)
	case r.cursor != engine.Beginning && e.ID.N() != r.cursor.N()+1:
		r.blame("record %s was given after %s", e.ID, r.cursor)
	}
	r.cursor = e.ID
	r.given[e.ID] = true
	switch rec.Type {
	case engine.JobQueued:
		r.queued[rec.Job.ID] = true
	case engine.NotificationCreated:
		r.notes[string(rec.Notification)]++
	}
	if rec.Job != nil && rec.Job.Rev > r.revs[rec.Job.ID] {
		r.show(*rec.Job)
	}
}

func (r *reader) show(j engine.Job) {
	r.revs[j.ID], r.views[j.ID] = j.Rev, j
	if j.Percent < r.marks[j.ID] {
		r.fell++
	}
	r.marks[j.ID] = max(r.marks[j.ID], j.Percent)
}

func (r *reader) blame(format string, args ...any) {
	if r.fault == nil {
		r.fault = fmt.Errorf("reader of %s: "+format, append([]any{r.topic}, args...)...)
	}
}

// reach waits until the reader holds everything up to a cursor.
func (r *reader) reach(ctx context.Context, head engine.Cursor) error {
	err := r.await(ctx, func() bool { return r.cursor == head || r.ended })
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("reader of %s is at %s and not at %s: %w (it had %v)", r.topic, r.cursor, head, err, r.kinds)
	case r.ended && r.cursor != head:
		return fmt.Errorf("reader of %s ended at %s before %s: %w", r.topic, r.cursor, head, r.err)
	}
	return nil
}

// holds reports the first promise that was not kept: records in order, and every
// fact given, or declared lost and replaced by its job's later view. A fact for
// which excused says so may be missing.
func (r *reader) holds(facts []fact, excused func(fact) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.fault, r.complete(facts, excused))
}

func (r *reader) complete(facts []fact, excused func(fact) bool) error {
	newest := map[engine.JobID]uint64{}
	for _, f := range facts {
		if excused != nil && excused(f) {
			continue
		}
		if f.job != "" {
			newest[f.job] = max(newest[f.job], f.id.N(), 1)
		}
		if !r.has(f) && !r.stoodIn(f) {
			return fmt.Errorf("reader of %s: %s %s%s of job %s was acknowledged, and neither given nor declared lost", r.topic, f.kind, f.id, f.text, f.job)
		}
	}
	for job, rev := range newest {
		if r.revs[job] < rev {
			return fmt.Errorf("reader of %s: job %s is shown as of %d, its newest record is %d", r.topic, job, r.revs[job], rev)
		}
	}
	return nil
}

func (r *reader) has(f fact) bool {
	switch f.kind {
	case engine.JobQueued:
		return r.queued[f.job]
	case engine.NotificationCreated:
		return r.notes[f.text] == 1
	}
	return r.given[f.id]
}

// stoodIn reports whether a snapshot that declared a loss replaces the fact.
func (r *reader) stoodIn(f fact) bool {
	for _, g := range r.gaps {
		if g.reason == engine.Fresh {
			continue
		}
		if f.id != "" && (f.id.N() > g.to.N() || (g.reason == engine.Trimmed && f.id.N() <= g.from.N())) {
			continue
		}
		if f.job == "" || g.revs[f.job] >= max(f.id.N(), 1) {
			return true
		}
	}
	return false
}

// declared counts the snapshots that the reader was given, by reason.
func (r *reader) declared() map[engine.Verdict]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := map[engine.Verdict]int{}
	for _, g := range r.gaps {
		n[g.reason]++
	}
	return n
}
