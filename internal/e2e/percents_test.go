package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A paint is a percent that a person could see.
type paint struct {
	job     string
	percent float64
	at      float64 // milliseconds since 1970, of the client's clock
}

// A cut is where something was taken from the client: its page, its network, its
// gateway. It stands behind the paints that there had been.
type cut struct {
	name  string
	after int
}

// A ledger holds every percent that a client has ever painted, over all its lives.
type ledger struct {
	t *testing.T
	bell
	paints []paint // under bell, as what follows
	cuts   []cut
	state  map[string]string // of each job, as it was painted last
}

func newLedger(t *testing.T) *ledger { return &ledger{t: t, state: map[string]string{}} }

// take writes a script's line down, if it is about a paint.
func (l *ledger) take(said line) {
	l.change(func() {
		if said.text("event") != "painted" {
			return // but whoever waits looks whether the script goes on
		}
		l.paints = append(l.paints, paint{said.text("job"), said.number("percent"), said.number("at")})
		l.state[said.text("job")] = said.text("state")
	})
}

// mark writes a cut down.
func (l *ledger) mark(name string) {
	l.change(func() { l.cuts = append(l.cuts, cut{name, len(l.paints)}) })
}

// awaitPercent waits until the job has been painted with at least so much since the
// last cut, and with two percents at that. It fails when the painting process ends.
func (l *ledger) awaitPercent(by *process, least float64) {
	l.t.Helper()
	over := false
	reached := l.await(l.t.Context(), func() bool {
		if over = by.isOver(); over {
			return true
		}
		from := 0
		if len(l.cuts) > 0 {
			from = l.cuts[len(l.cuts)-1].after
		}
		since := l.paints[from:]
		return distinct(since) >= 2 && since[len(since)-1].percent >= least
	})
	if over || !reached {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.t.Fatalf("%v%% was not painted; %s", least, l.summaryLocked())
	}
}

// check looks at everything that was painted.
func (l *ledger) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return checkPaints(l.paints, l.cuts)
}

func (l *ledger) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.summaryLocked()
}

func (l *ledger) summaryLocked() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d paints, %d percents:", len(l.paints), distinct(l.paints))
	from := 0
	for _, c := range append(slices.Clone(l.cuts), cut{"the end", len(l.paints)}) {
		part := l.paints[from:c.after]
		if len(part) > 0 {
			fmt.Fprintf(&b, " %v to %v (%d) until %s;", part[0].percent, part[len(part)-1].percent, distinct(part), c.name)
		} else {
			fmt.Fprintf(&b, " none until %s;", c.name)
		}
		from = c.after
	}
	return b.String()
}

func distinct(paints []paint) int {
	all := make([]float64, len(paints))
	for i, p := range paints {
		all[i] = p.percent
	}
	slices.Sort(all)
	return len(slices.Compact(all))
}

// checkPaints says what is wrong with the paints of one job whose client was cut off
// again and again: none may be lower than one before it, at least 20 must differ, two
// of them must stand before the first cut, between any two, and after the last, and the
// end is 100.
func checkPaints(paints []paint, cuts []cut) error {
	for i := 1; i < len(paints); i++ {
		if before, p := paints[i-1], paints[i]; p.job != before.job {
			return fmt.Errorf("paint %d is of job %s, the ones before of %s", i, p.job, before.job)
		} else if p.percent < before.percent {
			return fmt.Errorf("paint %d falls from %v to %v, %v ms after the one before", i, before.percent, p.percent, p.at-before.at)
		}
	}
	if n := distinct(paints); n < 20 {
		return fmt.Errorf("%d different percents, want at least 20", n)
	}
	from := 0
	for _, c := range append(slices.Clone(cuts), cut{"the end", len(paints)}) {
		if n := distinct(paints[from:c.after]); n < 2 {
			return fmt.Errorf("%d different percents between the cut before and %s, want some on either side", n, c.name)
		}
		from = c.after
	}
	if last := paints[len(paints)-1]; last.percent != 100 {
		return fmt.Errorf("the last percent is %v, want 100", last.percent)
	}
	return nil
}

func TestCheckerOfPaintsSeesWhatItIsFor(t *testing.T) {
	rising := func(from, to float64) (all []paint) {
		for v := from; v <= to; v++ {
			all = append(all, paint{job: "a", percent: v})
		}
		return all
	}
	at := func(where ...int) (cuts []cut) {
		for _, n := range where {
			cuts = append(cuts, cut{"a cut", n})
		}
		return cuts
	}
	for _, c := range []struct {
		name   string
		paints []paint
		cuts   []cut
		wrong  string // part of the complaint; "" for none
	}{
		{"a job that never falls", rising(0, 100), at(20, 60), ""},
		{"the same percent again after a cut", append(rising(0, 40), rising(40, 100)...), at(41), ""},
		{"a fall at the cut", append(rising(0, 40), rising(38, 100)...), at(41), "falls from 40 to 38"},
		{"a start from zero", append(append(rising(0, 40), paint{job: "a"}), rising(41, 100)...), at(41), "falls from 40 to 0"},
		{"a fall by a tenth", append(append(rising(0, 40), paint{job: "a", percent: 39.9}), rising(41, 100)...), at(20), "falls from 40 to 39.9"},
		{"a fall at the end", append(rising(0, 100), paint{job: "a", percent: 99.9}), at(20), "falls from 100 to 99.9"},
		{"no end", rising(0, 99), at(20), "the last percent is 99"},
		{"too few percents", append(rising(0, 9), rising(92, 100)...), at(5), "19 different percents"},
		{"nothing before the first cut", rising(0, 100), at(0, 20), "0 different percents"},
		{"no progress between two cuts", append(rising(0, 40), rising(40, 100)...), at(40, 41), "1 different percents"},
		{"nothing after the last cut", rising(0, 100), at(20, 100), "1 different percents"},
		{"another job", append(rising(0, 40), paint{job: "b", percent: 41}, paint{job: "b", percent: 100}), at(20), "of job b"},
		{"nothing at all", nil, nil, "0 different percents"},
	} {
		err := checkPaints(c.paints, c.cuts)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.wrong)
		}
	}
}
