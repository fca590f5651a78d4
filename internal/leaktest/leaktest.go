// Package leaktest tells of goroutines that outlive the test that started them.
//
// goleak looks at the whole process, and so only when all tests are over: while tests
// run in parallel it cannot tell whose a goroutine is. Here each test's goroutine bears
// a label, which the runtime hands on to every goroutine that is started from there,
// however deep. Goroutines of timers and of the runtime bear none; they are goleak's.
package leaktest

import (
	"bytes"
	"context"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// label is the name of the label; its value is the test's name.
const label = "test"

// patience is how long goroutines may take to end after the test's clean-up, on a
// machine that is busy.
const patience = 10 * time.Second

// checked holds the names of the tests that are being checked.
var checked sync.Map

// Check has the test fail if a goroutine that it starts from here on, or that such a one
// starts, is left when everything that is cleaned up later than this call asks for has
// been cleaned up. So call it first; redistest and the harnesses do. Further calls in the
// same test do nothing. It must be called from the test's own goroutine; a subtest that
// calls it is checked by itself, and one that does not, with its parent.
func Check(t testing.TB) {
	t.Helper()
	check(t, patience)
}

func check(t testing.TB, patience time.Duration) {
	t.Helper()
	name := t.Name()
	if _, known := checked.LoadOrStore(name, true); known {
		return
	}
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(label, name)))
	t.Cleanup(func() {
		t.Helper()
		checked.Delete(name)
		pprof.SetGoroutineLabels(context.Background()) // the test's own is no leak
		if stacks := await(name, patience); len(stacks) > 0 {
			t.Errorf("goroutines are left %s after the test, of %d kinds:\n\n%s", patience, len(stacks), strings.Join(stacks, "\n\n"))
		}
	})
}

// await waits until none of the test's goroutines is left, and returns the stacks of
// those that are in the end.
func await(name string, patience time.Duration) []string {
	over := time.After(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		stacks := left(name)
		if len(stacks) == 0 {
			return nil
		}
		select {
		case <-over:
			return stacks
		case <-time.After(wait):
		}
	}
}

// left returns the stacks of goroutines that bear the test's name, as the runtime's
// profile has them: equal ones once, with their number.
func left(name string) []string {
	var profile bytes.Buffer
	// A buffer takes everything, and the format is one that is known.
	_ = pprof.Lookup("goroutine").WriteTo(&profile, 1)
	mark := strconv.Quote(label) + ":" + strconv.Quote(name)
	var stacks []string
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		_, rest, _ := strings.Cut(block, "\n# labels: {")
		labels, _, _ := strings.Cut(rest, "\n")
		// The process's one goroutine for signals stays, whichever test starts it.
		if strings.Contains(labels, mark) && !strings.Contains(block, "os/signal.loop") {
			stacks = append(stacks, strings.TrimSpace(block))
		}
	}
	return stacks
}
