package report

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/wheel"
)

// ledger stands for the engine: it answers batches as the test wants, and keeps what it
// accepted.
type ledger struct {
	t       *testing.T
	have    uint64
	types   []engine.RecordType
	tries   [][]uint64 // sequence numbers of every batch
	answers []func(reports []runtime.Report) ([]runtime.Ack, error)
	refuse  error         // by Submit itself
	hold    chan struct{} // if any, answers wait until it is closed
}

func (l *ledger) submit(reports []runtime.Report, done func([]runtime.Ack, error)) error {
	var seqs []uint64
	for _, r := range reports {
		seqs = append(seqs, r.Fence.Seq)
	}
	l.tries = append(l.tries, seqs)
	if l.refuse != nil && slices.ContainsFunc(reports, func(r runtime.Report) bool { return r.Log != nil && r.Log.Text == "bad" }) {
		return l.refuse
	}
	answer := l.accept
	if len(l.answers) > 0 {
		answer, l.answers = l.answers[0], l.answers[1:]
	}
	acks, err := answer(reports)
	go func(hold chan struct{}) {
		if hold != nil {
			<-hold
		}
		done(acks, err)
	}(l.hold)
	return nil
}

// accept does what commit.lua does with a run's reports.
func (l *ledger) accept(reports []runtime.Report) ([]runtime.Ack, error) {
	acks := make([]runtime.Ack, len(reports))
	for i, r := range reports {
		switch {
		case r.Fence.Seq <= l.have:
			acks[i].Duplicate = true
		case r.Fence.Seq > l.have+1:
			acks[i].Err = &runtime.GapError{Have: l.have}
		default:
			l.have++
			l.types = append(l.types, r.Type)
		}
	}
	return acks, nil
}

const testTick = 200 * time.Millisecond

func (l *ledger) reporter(refused func(error)) *Reporter {
	return New(Options{
		Submit: l.submit, Refused: refused, Logger: slog.New(slog.DiscardHandler), LogLines: 100,
		Wheel: wheel.New(testTick, func(submit func()) { submit() }),
		Fence: runtime.Fence{Attempt: 1, Token: "t", Seq: 1}, Started: &runtime.Started{},
	})
}

// pass lets time pass in the test's bubble, and everything happen that is due then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTicksKeepTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		var last runtime.Report
		l := &ledger{t: t, have: 1}
		r := l.reporter(nil)
		var mu sync.Mutex
		r.opts.Submit = func(reports []runtime.Report, done func([]runtime.Ack, error)) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(began))
			last = reports[len(reports)-1]
			return l.submit(reports, done)
		}
		for i := int64(1); i <= 500; i++ {
			r.Progress(i, 1000)
			pass(time.Millisecond)
		}
		pass(time.Second) // nothing more is said, and the last is told
		mu.Lock()
		defer mu.Unlock()
		if len(at) != 3 {
			t.Fatalf("ticks after %v, want three", at)
		}
		before := time.Duration(0)
		for _, now := range at {
			if now-before != testTick {
				t.Errorf("ticks after %v, want them %s apart", at, testTick)
			}
			before = now
		}
		if last.Shown.Progress.Done != 500 {
			t.Errorf("the last tick shows %d, want 500", last.Shown.Progress.Done)
		}
		r.Stop(ErrOver)
	})
}

func TestReporterSendsTheSameBatchUntilItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{t: t, have: 1}
		away := func([]runtime.Report) ([]runtime.Ack, error) { return nil, engine.ErrUnreachable }
		lost := func(reports []runtime.Report) ([]runtime.Ack, error) {
			_, _ = l.accept(reports)
			return nil, engine.ErrUnreachable
		}
		full := func([]runtime.Report) ([]runtime.Ack, error) { return nil, engine.ErrOutOfMemory }
		l.answers = append(l.answers, away, full, lost, away)
		r := l.reporter(nil)
		r.Log("info", "one")
		r.Log("info", "two")
		r.Progress(1, 2)
		if err := r.Ask(runtime.Report{Type: engine.JobSucceeded}); err != nil {
			t.Fatal(err)
		}
		want := []engine.RecordType{engine.JobLog, engine.JobLog, engine.JobSucceeded}
		if !slices.Equal(l.types, want) {
			t.Errorf("accepted %v, want %v", l.types, want)
		}
		if got := fmt.Sprint(l.tries); got != "[[2] [2] [2] [2] [2] [3 4]]" {
			t.Errorf("batches %s", got)
		}
		r.Stop(ErrOver)
	})
}

func TestReporterGoesOnFromWhatRedisHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{t: t, have: 1}
		r := l.reporter(nil)
		for i := range 5 {
			r.Log("info", fmt.Sprint(i))
			synctest.Wait()
		}
		l.have, l.types = 3, nil // a failover
		r.Progress(7, 10)
		l.hold = make(chan struct{}) // the checkpoint waits when the loss is known
		r.Log("info", "six")
		asked := make(chan error, 1)
		go func() { asked <- r.Ask(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte{1}}) }()
		synctest.Wait()
		close(l.hold)
		if err := <-asked; err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		// What waited, and then what the run shows now.
		want := []engine.RecordType{engine.JobLog, engine.JobCheckpoint, engine.JobProgress}
		if !slices.Equal(l.types, want) {
			t.Errorf("accepted %v, want %v", l.types, want)
		}
		r.Progress(8, 10)
		pass(time.Second)
		if n := len(l.types); n != 4 || l.types[3] != engine.JobProgress {
			t.Errorf("accepted %v, want one more tick", l.types)
		}
		r.Stop(ErrOver)
	})
}

func TestReporterStopsWhenItIsRefused(t *testing.T) {
	for _, refusal := range []error{runtime.ErrSuperseded, engine.ErrEnded, engine.ErrNotFound} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{t: t, have: 1}
			l.answers = append(l.answers, func([]runtime.Report) ([]runtime.Ack, error) {
				return []runtime.Ack{{Err: refusal}}, nil
			})
			var told []error
			r := l.reporter(func(cause error) { told = append(told, cause) })
			err := r.Ask(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte{1}})
			if !errors.Is(err, ErrSuperseded) || !errors.Is(err, refusal) {
				t.Errorf("the checkpoint heard %v", err)
			}
			r.Progress(1, 2)
			r.Log("info", "ghost")
			r.Supersede()
			if err := r.Ask(runtime.Report{Type: engine.JobSucceeded}); !errors.Is(err, ErrSuperseded) {
				t.Errorf("the end heard %v", err)
			}
			pass(time.Minute)
			if len(l.tries) != 1 || len(told) != 1 || !errors.Is(told[0], ErrSuperseded) {
				t.Errorf("%d batches sent, told %v", len(l.tries), told)
			}
		})
	}
}

// A heartbeat that comes while the end is under way finds an ended job, and must not
// make that look like a superseded one.
func TestReporterAwaitsTheAnswerToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{t: t, have: 1}
		r := l.reporter(func(cause error) { t.Errorf("told %v", cause) })
		l.answers = append(l.answers, func(reports []runtime.Report) ([]runtime.Ack, error) {
			r.Supersede()
			return l.accept(reports)
		})
		if err := r.Ask(runtime.Report{Type: engine.JobSucceeded}); err != nil {
			t.Error(err)
		}
		r.Stop(ErrOver)
	})
}

func TestReporterDropsTheOneReportThatIsInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{t: t, have: 1, refuse: fmt.Errorf("%w: bad", engine.ErrInvalid)}
		l.answers = append(l.answers, func([]runtime.Report) ([]runtime.Ack, error) {
			return nil, engine.ErrUnreachable // so that the others wait together
		})
		r := l.reporter(nil)
		r.Log("info", "first")
		r.Log("info", "good")
		r.Log("info", "bad")
		r.Log("info", "good too")
		if err := r.Ask(runtime.Report{Type: engine.JobSucceeded}); err != nil {
			t.Fatal(err)
		}
		want := []engine.RecordType{engine.JobLog, engine.JobLog, engine.JobLog, engine.JobSucceeded}
		if !slices.Equal(l.types, want) || l.have != 5 {
			t.Errorf("accepted %v up to %d, want %v", l.types, l.have, want)
		}
		r.Stop(ErrOver)
	})
}

// The children's work is not what the message was about.
func TestAMessageEndsWithTheAttemptThatAwaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{t: t, have: 1}
		r := l.reporter(nil)
		var last runtime.Report
		r.opts.Submit = func(reports []runtime.Report, done func([]runtime.Ack, error)) error {
			last = reports[len(reports)-1]
			return l.submit(reports, done)
		}
		r.Stage("resize")
		r.Message("looking for pictures")
		if err := r.Ask(runtime.Report{Type: engine.JobAwaiting}); err != nil {
			t.Fatal(err)
		}
		if last.Shown.Message != "" || last.Shown.Stage.Name != "resize" {
			t.Errorf("it awaits with the message %q in stage %q", last.Shown.Message, last.Shown.Stage.Name)
		}
		r.Stop(ErrOver)
	})
}
