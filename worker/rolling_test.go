package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Two workers are replaced one after the other, round after round, while jobs keep
// coming.
func TestRollingRestartLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(scale(2, 30))*time.Minute)
	defer cancel()
	url, namespace := redistest.Server(t).URL(), fmt.Sprintf("t%d", namespaces.Add(1))
	e := openWith(t, engine.Options{URL: url, Namespace: namespace})
	r := role{URL: url, Namespace: namespace, Slots: 4, Leases: defaultLeases, Ledger: filepath.Join(t.TempDir(), "ledger")}
	var workers [2]*process
	for i := range workers {
		var err error
		if workers[i], err = spawn(ctx, t, r); err != nil {
			t.Fatal(err)
		}
	}

	// Some more at once than there are slots.
	work := tally{Steps: 150, Pace: 5 * time.Millisecond}
	enough := make(chan struct{})
	var mu sync.Mutex
	var histories [][]engine.Record
	var producing sync.WaitGroup
	for i := range 12 {
		producing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-enough:
					return
				default:
				}
				got, err := e.Enqueue(ctx, engine.Spec{Topic: engine.Topic(fmt.Sprintf("user:%d-%d", i, n)), Type: "tally", Payload: work, MaxAttempts: 1})
				if err != nil {
					t.Error(err)
					return
				}
				all, err := trace(ctx, e, got.ID, nil)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				histories = append(histories, all)
				mu.Unlock()
			}
		})
	}
	for range scale(3, 40) {
		for i := range workers {
			if _, err := workers[i].say(ctx, saysRunning, 4); err != nil {
				t.Fatal(err)
			}
			grace, done := context.WithTimeout(ctx, brief(e).DrainGrace)
			if err := workers[i].terminate(grace); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
			done()
			var err error
			if workers[i], err = spawn(ctx, t, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(enough)
	producing.Wait()

	back := 0
	for _, all := range histories {
		found := flaws(all)
		handed := count(all, engine.JobQueued) - 1
		back += handed
		end := last(all)
		if end.State != engine.Succeeded || string(end.Result) != fmt.Sprint(work.sum()) || end.Attempt != 1+handed {
			found = append(found, fmt.Sprintf("it ended as %s with %s in attempt %d, handed back %d times", end.State, end.Result, end.Attempt, handed))
		}
		if count(all, engine.JobStalled)+count(all, engine.JobRetrying) > 0 {
			found = append(found, "a crash or a retry was counted")
		}
		if len(found) > 0 {
			t.Errorf("%q\n%s", found, tell(all))
		}
	}
	if back < scale(6, 80) {
		t.Errorf("only %d of %d jobs were handed back", back, len(histories))
	}
	written, err := os.ReadFile(r.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	repeated, err := audit(written, len(histories), work.Steps)
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d jobs, handed back %d times; %d steps after a last checkpoint were repeated", len(histories), back, repeated)
}

// audit reads the ledger of a number of tallies: no step is missing, and none is
// repeated that a checkpoint covered. Those that none covered may be, and are counted.
func audit(ledger []byte, jobs, steps int) (repeated int, err error) {
	kept, seen := map[string]int{}, map[string]map[int]bool{}
	var errs []error
	for line := range bytes.Lines(ledger) {
		var what, job string
		var attempt, n int
		if _, err := fmt.Sscan(string(line), &what, &job, &attempt, &n); err != nil {
			return 0, fmt.Errorf("line %q of the ledger: %w", line, err)
		}
		if what == "kept" {
			kept[job] = n
			continue
		}
		if n < kept[job] {
			errs = append(errs, fmt.Errorf("attempt %d of job %s repeated step %d, kept up to %d", attempt, job, n, kept[job]))
		}
		if seen[job] == nil {
			seen[job] = map[int]bool{}
		}
		if seen[job][n] {
			repeated++
		}
		seen[job][n] = true
	}
	if len(seen) != jobs {
		errs = append(errs, fmt.Errorf("the ledger has steps of %d jobs, want %d", len(seen), jobs))
	}
	for job, done := range seen {
		if len(done) != steps {
			errs = append(errs, fmt.Errorf("job %s made %d steps, want %d", job, len(done), steps))
		}
	}
	return repeated, errors.Join(errs...)
}

func TestAuditOfStepsSeesMistakes(t *testing.T) {
	t.Parallel()
	const sound = "step a 1 0\nkept a 1 1\nstep a 1 1\nstep a 2 1\nstep a 2 2\n"
	if repeated, err := audit([]byte(sound), 1, 3); err != nil || repeated != 1 {
		t.Errorf("a sound ledger: %d repeated, %v", repeated, err)
	}
	for what, ledger := range map[string]string{
		"nothing":               "",
		"a kept step, repeated": sound + "step a 3 0\n",
		"a missing step":        "step a 1 0\nstep a 1 2\n",
		"a job too many":        sound + "step b 1 0\nstep b 1 1\nstep b 1 2\n",
		"half a line":           sound + "step a\n",
	} {
		if _, err := audit([]byte(ledger), 1, 3); err == nil {
			t.Errorf("not seen: %s", what)
		}
	}
}
