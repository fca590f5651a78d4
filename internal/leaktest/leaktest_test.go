package leaktest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// subject is a test that is run to see what Check says of it.
type subject struct {
	testing.TB
	name     string
	cleanups []func()
	errors   []string
}

func (s *subject) Helper()                   {}
func (s *subject) Name() string              { return s.name }
func (s *subject) Cleanup(f func())          { s.cleanups = append(s.cleanups, f) }
func (s *subject) Errorf(f string, a ...any) { s.errors = append(s.errors, fmt.Sprintf(f, a...)) }

// try runs a test on a goroutine of its own, as the testing package does, and returns
// its errors.
func try(t *testing.T, name string, patience time.Duration, test func(s *subject)) []string {
	t.Helper()
	s := &subject{TB: t, name: t.Name() + "/" + name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(s.cleanups) {
				f()
			}
		}()
		check(s, patience)
		test(s)
	}()
	<-done
	return s.errors
}

// plant starts a goroutine that is left until the channel is closed, and waits until it runs: one
// that has not begun has no stack.
func plant(end <-chan struct{}) {
	running := make(chan struct{})
	go planted(running, end)
	<-running
}

func planted(running chan<- struct{}, end <-chan struct{}) {
	close(running)
	<-end
}

func TestALeakIsReportedWithItsStack(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	defer close(end)
	for name, start := range map[string]func(){
		"its own": func() { plant(end) },
		"a goroutine's": func() {
			done := make(chan struct{})
			go func() { plant(end); close(done) }()
			<-done
		},
		`with "quotes" and {`: func() { plant(end) },
	} {
		errors := try(t, name, 50*time.Millisecond, func(*subject) { start() })
		if len(errors) != 1 || !strings.Contains(errors[0], "leaktest.planted") || !strings.Contains(errors[0], "leaktest_test.go") {
			t.Errorf("%s: told %q, want the stack of planted", name, errors)
		}
	}
}

func TestWhatEndsInTimeIsNoLeak(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(s *subject){
		"nothing":     func(*subject) {},
		"the test":    func(s *subject) { check(s, 0) },
		"by clean-up": func(s *subject) { end := make(chan struct{}); plant(end); s.Cleanup(func() { close(end) }) },
		"a while after": func(s *subject) {
			end := make(chan struct{})
			plant(end)
			s.Cleanup(func() { time.AfterFunc(50*time.Millisecond, func() { close(end) }) })
		},
	} {
		if errors := try(t, name, patience, test); len(errors) > 0 {
			t.Errorf("%s: told %q", name, errors)
		}
	}
}

func TestALeakIsReportedByItsTestAlone(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	defer close(end)
	if errors := try(t, "leaks", 0, func(*subject) { plant(end) }); len(errors) != 1 {
		t.Errorf("told %q, want the leak", errors)
	}
	for _, name := range []string{"leak", "leaks2", "other"} {
		if errors := try(t, name, patience, func(*subject) {}); len(errors) > 0 {
			t.Errorf("%s: told %q", name, errors)
		}
	}
}
