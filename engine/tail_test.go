package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// What a stalled tail misses is given from the topic's stream, or, where that was
// trimmed too, declared and replaced by a snapshot.
func TestStalledTailCatchesUpOrDeclaresAGap(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	options := sharing(func(o *engine.Options) {
		o.LogEntries, o.LogAge, o.TopicEntries = 100, time.Second, 1000
	})
	producer, follower := with(t, server.URL(), options), with(t, proxy.URL(), options)
	ctx := minutes(t)
	const topics = 2
	l := newLoad(ctx, follower, topics, nil)
	l.ahead = true
	for round := range scale(4, 40) {
		// Past the log in every round, past the streams in every other one.
		jobs, n, reason := 3, 150, "the log"
		if round%2 == 1 {
			n, reason = 700, "the streams"
		}
		for topic, r := range l.readers {
			if err := r.await(ctx, func() bool { return r.kinds[engine.UpdateLive] > 0 }); err != nil {
				t.Fatalf("%s: %v", topic, err)
			}
		}
		before := map[engine.Topic]int{}
		for topic, r := range l.readers {
			r.mu.Lock()
			before[topic] = len(r.gaps)
			r.mu.Unlock()
		}
		proxy.Stall()
		if err := l.write(ctx, producer, rand.Uint64(), jobs, n); err != nil {
			t.Fatal(err)
		}
		proxy.Unstall()
		for topic, r := range l.readers {
			s, err := producer.Snapshot(ctx, topic, "")
			if err == nil {
				err = r.reach(ctx, s.Cursor)
			}
			if err != nil {
				t.Fatalf("round %d, stalled past %s: %v", round, reason, err)
			}
			r.mu.Lock()
			gaps := len(r.gaps) - before[topic]
			r.mu.Unlock()
			if trimmed := round%2 == 1; trimmed != (gaps > 0) {
				t.Errorf("round %d, stalled past %s: %d gaps were declared in %s", round, reason, gaps, topic)
			}
		}
		if err := l.check(nil); err != nil {
			t.Fatalf("round %d, stalled past %s: %v", round, reason, err)
		}
	}
	if err := l.settle(ctx, producer); err != nil {
		t.Fatal(err)
	}
	for topic, r := range l.readers {
		if d := r.declared(); d[engine.Rewritten]+d[engine.Fresh] > 0 {
			t.Errorf("%s: declared %v, want trimmed alone", topic, d)
		}
	}
}

// A Redis that comes back without the last that it acknowledged: runs find out by
// their GapError and go on, readers hear of the loss and come to hold the truth.
func TestRestartWithoutTheLastSecondIsDeclared(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t, redistest.WithAOF())
	options := sharing(spacious)
	producer, follower := with(t, server.URL(), options), with(t, server.URL(), options)
	ctx := minutes(t)
	const topics, jobs, n = 2, 3, 400
	l := newLoad(ctx, follower, topics, nil)
	wrote := make(chan error, 1)
	go func() { wrote <- l.write(ctx, producer, rand.Uint64(), jobs, n) }()
	reached := func(count int) {
		t.Helper()
		if err := l.ledger.await(ctx, func() bool { return len(l.ledger.facts) >= count }); err != nil {
			t.Fatal(err)
		}
	}
	total := topics * jobs * n
	reached(total / 5)
	from := time.Now()
	saved := server.SaveAOF()
	reached(total/5 + 400)
	for _, r := range l.readers { // some reader has seen what will be gone
		r.mu.Lock()
		given := len(r.given)
		r.mu.Unlock()
		if err := r.await(ctx, func() bool { return len(r.given) > given }); err != nil {
			t.Fatal(err)
		}
	}
	server.RestartFrom(saved)
	to := time.Now()

	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if err := l.settle(ctx, producer); err != nil {
		t.Fatal(err)
	}
	excused := func(f fact) bool { return f.at.After(from) && f.asked.Before(to) }
	if err := errors.Join(l.check(excused), l.truth(ctx, producer)); err != nil {
		t.Fatal(err)
	}
	gaps, rescues, rewritten := l.recovered()
	if gaps+rescues == 0 {
		t.Error("no run was told that its commits are gone")
	}
	if rewritten == 0 {
		t.Error("no reader was told that history was rewritten")
	}
	lost, err := l.lost(ctx, producer)
	if err != nil {
		t.Fatal(err)
	}
	if len(lost) == 0 {
		t.Error("nothing was lost: the test did not test")
	}
	t.Logf("%d of %d acknowledged records lost; %d gaps, %d rescues, %d readers told", len(lost), l.ledger.len(), gaps, rescues, rewritten)
}

// recovered counts what runs and readers heard of lost history.
func (l *load) recovered() (gaps, rescues, rewritten int) {
	for _, h := range l.hands {
		gaps, rescues = gaps+h.gaps, rescues+h.rescues
	}
	for _, r := range l.readers {
		rewritten += r.declared()[engine.Rewritten]
	}
	return gaps, rescues, rewritten
}

// truth holds what readers show against what Redis holds.
func (l *load) truth(ctx context.Context, e *engine.Rig) error {
	var all error
	for topic, r := range l.readers {
		s, err := e.Snapshot(ctx, topic, engine.Beginning)
		if err != nil {
			return err
		}
		r.mu.Lock()
		if len(s.Jobs) != len(r.views) {
			all = errors.Join(all, fmt.Errorf("reader of %s shows %d jobs, there are %d", topic, len(r.views), len(s.Jobs)))
		}
		for _, v := range s.Jobs {
			want, err := v.Job()
			got := r.views[v.ID]
			if err != nil || got.Rev != want.Rev || got.State != want.State || got.Percent != want.Percent {
				all = errors.Join(all, err, fmt.Errorf("reader of %s shows job %s as %s %v%% of %d, it is %s %v%% of %d",
					topic, v.ID, got.State, got.Percent, got.Rev, want.State, want.Percent, want.Rev))
			}
		}
		r.mu.Unlock()
	}
	return all
}

// lost lists the facts that Redis does not hold any more, in the order of their
// acknowledgements.
func (l *load) lost(ctx context.Context, e *engine.Rig) ([]fact, error) {
	has := map[engine.Topic]map[engine.Cursor]bool{}
	for topic := range l.readers {
		has[topic] = map[engine.Cursor]bool{}
		for u, err := range e.Follow(ctx, engine.FollowQuery{Topic: topic, After: engine.Beginning}) {
			if err != nil {
				return nil, err
			}
			if u.Kind == engine.UpdateLive {
				break
			}
			has[topic][u.Cursor] = true
		}
	}
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	var lost []fact
	for _, f := range l.ledger.facts {
		if f.id != "" && !has[f.topic][f.id] {
			lost = append(lost, f)
		}
	}
	return lost, nil
}

// pull steps through what Follow gives.
func pull(t testing.TB, ctx context.Context, e *engine.Rig, q engine.FollowQuery) func() (engine.Update, error) {
	next, stop := iter.Pull2(e.Follow(ctx, q))
	t.Cleanup(stop)
	return func() (engine.Update, error) {
		u, err, ok := next()
		if !ok {
			return u, errDone
		}
		return u, err
	}
}

// errDone: the iterator ended without an error.
var errDone = errors.New("done")

// await steps until an update of a kind, and gives those before it.
func await(t testing.TB, next func() (engine.Update, error), kind engine.UpdateKind) (before []engine.Update, u engine.Update) {
	t.Helper()
	for {
		u, err := next()
		if err != nil {
			t.Fatalf("waiting for %s, after %d updates: %v", kind, len(before), err)
		}
		if u.Kind == kind {
			return before, u
		}
		before = append(before, u)
	}
}

func TestSlowReaderLosesNothing(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), spacious)
	ctx := minutes(t)
	job := enqueue(t, e)
	p, _ := start(t, e, job, 1)
	next := pull(t, ctx, e, engine.FollowQuery{Topic: "user:42", After: engine.Beginning})
	await(t, next, engine.UpdateLive)
	want := []engine.Cursor{}
	for range 1500 { // the reader's buffer holds 256
		want = append(want, p.write(runtime.Report{Type: engine.JobProgress, Tenths: 1}).ID)
	}
	for i, id := range want {
		u, err := next()
		if err != nil || u.Kind != engine.UpdateRecord || u.Cursor != id {
			t.Fatalf("update %d is %s %s, %v; want record %s", i, u.Kind, u.Cursor, err, id)
		}
	}
	id := p.write(runtime.Report{Type: engine.JobLog, Log: &engine.LogLine{Level: "info", Text: "on"}}).ID
	if u, err := next(); err != nil || u.Cursor != id {
		t.Fatalf("then came %s %s, %v; want record %s, live", u.Kind, u.Cursor, err, id)
	}
}

// A reader that comes back at once is not kept waiting by the tail of the one before, which
// waits in Redis for up to a second more: both wait there together.
func TestFollowersComeAndGo(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), spacious)
	ctx := minutes(t)
	job := enqueue(t, e)
	p, _ := start(t, e, job, 1)
	cursor := engine.Beginning
	for i := range 60 {
		var id engine.Cursor
		for u, err := range e.Follow(ctx, engine.FollowQuery{Topic: "user:42", After: cursor}) {
			if err != nil {
				t.Fatalf("follower %d: %v", i, err)
			}
			cursor = u.Cursor
			if u.Kind == engine.UpdateLive {
				id = p.write(runtime.Report{Type: engine.JobStage, Shown: &runtime.Shown{}}).ID
			}
			if id != "" && u.Cursor == id {
				break
			}
		}
	}
	for most := 0; most < 2; {
		for u, err := range e.Follow(ctx, engine.FollowQuery{Topic: "user:42", After: cursor}) {
			if err != nil {
				t.Fatalf("at most %d tails at a time: %v", most, err)
			}
			if u.Kind == engine.UpdateLive {
				break
			}
		}
		info, err := e.Redis().Info(ctx, "clients").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, blocked, _ := strings.Cut(info, "blocked_clients:")
		blocked, _, _ = strings.Cut(blocked, "\r")
		n, err := strconv.Atoi(blocked)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
	}
}
