package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// spacious keeps everything that a test writes, so that a missing record is a
// lost one.
func spacious(o *engine.Options) {
	o.TopicEntries, o.TopicBytes, o.LogEntries, o.LogAge = 1_000_000, 1<<30, 1_000_000, time.Hour
}

// sharing gives Options that two engines of a test can be opened with.
func sharing(change func(*engine.Options)) engine.Options {
	o := engine.Options{Namespace: fmt.Sprintf("s%d", namespaces.Add(1))}
	if change != nil {
		change(&o)
	}
	return o
}

// with opens an engine with given options.
func with(t testing.TB, url string, o engine.Options) *engine.Rig {
	t.Helper()
	return open(t, url, func(own *engine.Options) {
		logger := own.Logger
		*own = o
		own.URL, own.Logger = url, logger
	})
}

// minutes is a context for what takes long on a busy machine.
func minutes(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(scale(2, 60))*time.Minute, errors.New("the test took too long"))
	t.Cleanup(cancel)
	return ctx
}

// A load is a producer with several jobs in several topics, and a reader of each.
type load struct {
	ledger  *ledger
	readers map[engine.Topic]*reader
	hands   []*hand
	done    sync.WaitGroup
	stop    context.CancelFunc
	pace    func(context.Context) error // asked before each batch
	ahead   bool                        // producers do not wait for readers
}

// newLoad starts a reader a topic, at e. seen, if any, hears the count of all
// updates that readers were given; it may drop one.
func newLoad(ctx context.Context, e *engine.Rig, topics int, seen func(total int64, u engine.Update) (drop bool)) *load {
	l := &load{ledger: newLedger(), readers: map[engine.Topic]*reader{}}
	ctx, l.stop = context.WithCancel(ctx)
	var total atomic.Int64
	for i := range topics {
		topic := engine.Topic(fmt.Sprintf("user:%d", i))
		r := newReader(topic, engine.Beginning)
		l.readers[topic] = r
		l.done.Go(func() {
			r.follow(ctx, e, func(u engine.Update) bool {
				return seen != nil && seen(total.Add(1), u)
			})
		})
	}
	return l
}

// write runs jobs in each topic, all at once, of about n records each. A job waits
// now and then until its topic's reader is less than a random distance behind, so
// that readers are live at times, a page behind at others, and out of buffer.
func (l *load) write(ctx context.Context, e *engine.Rig, seed uint64, jobs, n int) error {
	errs := make(chan error, jobs*len(l.readers))
	for topic, r := range l.readers {
		for k := range jobs {
			rng := rand.New(rand.NewPCG(seed, uint64(k)<<32|uint64(len(l.hands))))
			h := &hand{e: e, ledger: l.ledger, topic: topic}
			l.hands = append(l.hands, h)
			pace := func() error {
				if l.pace != nil {
					if err := l.pace(ctx); err != nil {
						return err
					}
				}
				if l.ahead || rng.IntN(4) > 0 {
					return nil
				}
				distance := []int{0, 20, 300, 1500}[rng.IntN(4)]
				l.ledger.mu.Lock()
				wrote := l.ledger.wrote[topic]
				l.ledger.mu.Unlock()
				return r.await(ctx, func() bool {
					return len(r.given)+distance >= wrote || len(r.gaps) > 0 || r.fault != nil || r.ended
				})
			}
			go func() { errs <- h.work(ctx, rng, n, pace) }()
		}
	}
	var all error
	for range cap(errs) {
		all = errors.Join(all, <-errs)
	}
	return all
}

// settle waits until every reader holds its topic's head as e sees it, and ends
// them. Redis may be away while another server takes over.
func (l *load) settle(ctx context.Context, e *engine.Rig) error {
	defer l.done.Wait()
	defer l.stop()
	var all error
	for topic, r := range l.readers {
		s, err := e.Snapshot(ctx, topic, "")
		for errors.Is(err, engine.ErrUnreachable) && again(ctx) {
			s, err = e.Snapshot(ctx, topic, "")
		}
		if err == nil {
			err = r.reach(ctx, s.Cursor)
		}
		all = errors.Join(all, err)
	}
	return all
}

// check holds every reader against the ledger.
func (l *load) check(excused func(fact) bool) error {
	var all error
	for topic, r := range l.readers {
		all = errors.Join(all, r.holds(l.ledger.of(topic), excused))
	}
	return all
}

func TestFollowHoldsEverythingUnderRandomCuts(t *testing.T) {
	t.Parallel()
	const topics, jobs = 3, 4
	n, cuts := scale(900, 20_000), scale(100, 2_000)
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	options := sharing(spacious)
	producer := with(t, server.URL(), options)
	follower := with(t, proxy.URL(), options)
	ctx := minutes(t)

	// The cuts come at counts of what readers were given, and each once there is a
	// connection that the cut before has not seen. Producers wait for them.
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	at := make([]int, cuts)
	for i := range at {
		at[i] = 1 + rng.IntN(topics*jobs*n*9/10)
	}
	slices.Sort(at)
	progress, given, cut := newSignal(), 0, 0
	l := newLoad(ctx, follower, topics, func(total int64, _ engine.Update) bool {
		progress.mu.Lock()
		defer progress.mu.Unlock()
		given = int(total)
		progress.changeLocked()
		return false
	})
	severed := 0
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for _, count := range at {
			if progress.await(ctx, func() bool { return given >= count }) != nil {
				return
			}
			for accepted := proxy.Accepted(); ; accepted = proxy.Accepted() {
				if n := proxy.CutAll(); n > 0 {
					severed += n
					break
				}
				if !proxy.AwaitAccepted(ctx, accepted+1) {
					return
				}
			}
			progress.mu.Lock()
			cut++
			progress.changeLocked()
			progress.mu.Unlock()
		}
	})
	l.pace = func(ctx context.Context) error {
		wrote := l.ledger.len()
		due, _ := slices.BinarySearch(at, wrote-2000)
		return progress.await(ctx, func() bool { return cut >= due })
	}
	if err := l.write(ctx, producer, seed, jobs, n); err != nil {
		t.Fatal(err)
	}
	cutting.Wait()
	if err := errors.Join(l.settle(ctx, producer), l.check(nil)); err != nil {
		t.Fatal(err)
	}
	if cut != cuts {
		t.Errorf("%d cuts, want %d", cut, cuts)
	}
	for topic, r := range l.readers {
		if len(r.gaps) > 0 {
			t.Errorf("%s: a gap was declared (%v) although nothing was trimmed", topic, r.declared())
		}
		if r.fell > 0 {
			t.Errorf("%s: percents fell %d times", topic, r.fell)
		}
	}
	t.Logf("%d records, %d cuts of %d connections", l.ledger.len(), cut, severed)
}

// A loss must turn the test above red, wherever it strikes: this plants one record
// in 10,000 that the reader is not given.
func TestFollowChecksSeeOneLostRecordInTenThousand(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), spacious)
	ctx := minutes(t)
	l := newLoad(ctx, e, 1, nil)
	if err := l.write(ctx, e, 1, 4, 2_600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.settle(ctx, e), l.check(nil)); err != nil {
		t.Fatal(err)
	}
	facts := l.ledger.of("user:0")
	if len(facts) < 10_000 {
		t.Fatalf("%d records, want 10,000", len(facts))
	}
	// What the stream holds is given again, to readers that lose one of it.
	var entries []engine.Entry
	for u, err := range e.Follow(ctx, engine.FollowQuery{Topic: "user:0", After: engine.Beginning}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind == engine.UpdateLive {
			break
		}
		entries = append(entries, u.Entry)
	}
	decoded := make(map[engine.Cursor]engine.Record, len(entries))
	for _, entry := range entries {
		rec, err := entry.Record()
		if err != nil {
			t.Fatal(err)
		}
		decoded[entry.ID] = rec
	}
	// One reader of the engine that is not given one record in 10,000.
	at := rand.IntN(10_000)
	for at == (len(entries)-1)%10_000 { // the last tells when the reader is through
		at = rand.IntN(10_000)
	}
	robbed, count := newReader("user:0", engine.Beginning), 0
	robbing, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		robbed.follow(robbing, e, func(u engine.Update) bool {
			count++
			return u.Kind == engine.UpdateRecord && (count-1)%10_000 == at
		})
	}()
	must(t, robbed.reach(ctx, entries[len(entries)-1].ID))
	stop()
	<-done
	if err := robbed.holds(facts, nil); err == nil {
		t.Errorf("record %d of 10,000 was kept from a reader, and nothing shows it", at)
	}

	replayed := func(lost int) *reader {
		r := newReader("user:0", engine.Beginning)
		r.decode = func(entry engine.Entry) (engine.Record, error) { return decoded[entry.ID], nil }
		for i, entry := range entries {
			if i != lost {
				r.take(engine.Update{Kind: engine.UpdateRecord, Cursor: entry.ID, Entry: entry})
			}
		}
		return r
	}
	if err := replayed(-1).holds(facts, nil); err != nil {
		t.Fatalf("nothing was lost: %v", err)
	}
	kinds := map[engine.RecordType]int{} // the last of each type
	for i, entry := range entries {
		kinds[entry.Type()] = i
	}
	lost := []int{rand.IntN(10_000), rand.IntN(10_000), rand.IntN(10_000), len(entries) - 1}
	for _, i := range kinds {
		lost = append(lost, i)
	}
	for _, i := range lost {
		r := replayed(i)
		what := fmt.Sprintf("record %d of %d, %s", i, len(entries), entries[i].Type())
		if r.fault == nil && i != len(entries)-1 {
			t.Errorf("%s was lost, and the order looked right", what)
		}
		// The ledger alone must show it too.
		r.fault = nil
		if r.holds(facts, nil) == nil {
			t.Errorf("%s was lost, and the ledger agreed", what)
		}
	}
}
