package engine_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A sweep reads who is silent, and nothing of who beats: every worker does it twice a
// second, whatever the number of runs.
func TestASweepReadsOnlyWhoIsSilent(t *testing.T) {
	const runs = 60
	s := redistest.Server(t)
	e := open(t, s.URL(), nil)
	ctx := soon(t)
	var beats []runtime.Beat
	for i := range runs {
		h := &hand{e: e, ledger: newLedger(), topic: engine.Topic(fmt.Sprint("user:", i))}
		must(t, h.open(ctx), h.begin(ctx, 1))
		beats = append(beats, runtime.Beat{Job: h.r.Job, Attempt: 1, Token: h.r.Fence.Token})
	}
	look := func(since []uint64) (marks []uint64, silent map[engine.JobID]bool) {
		t.Helper()
		before := calls(t, s, "evalsha")
		shards, err := e.Silent(ctx, since)
		must(t, err)
		if n := calls(t, s, "evalsha") - before; since != nil && n != 1 {
			t.Errorf("a sweep is %d calls, want 1", n)
		}
		silent = map[engine.JobID]bool{}
		for _, b := range shards {
			marks = append(marks, b.Mark)
			for job := range b.Silent {
				silent[job] = true
			}
		}
		return marks, silent
	}
	first, silent := look(nil)
	if len(silent) != 0 {
		t.Fatalf("%d runs are silent since no reading", len(silent))
	}
	if _, silent = look(first); len(silent) != runs {
		t.Errorf("%d of %d runs are silent, and none has beaten", len(silent), runs)
	}
	beat := func(beats []runtime.Beat) {
		t.Helper()
		flags, err := e.Heartbeat(ctx, beats)
		must(t, err)
		for i, f := range flags {
			if f != runtime.FlagNone {
				t.Errorf("beat %d was answered %q", i, f)
			}
		}
	}
	beat(beats[:runs/2])
	if _, silent = look(first); len(silent) != runs/2 {
		t.Errorf("%d runs are silent, want %d", len(silent), runs/2)
	}
	for _, b := range beats[:runs/2] {
		if silent[b.Job] {
			t.Errorf("job %s is silent, and has beaten", b.Job)
		}
	}
	beat(beats)
	second, silent := look(first)
	if len(silent) != 0 {
		t.Errorf("%d runs are silent, and all have beaten", len(silent))
	}
	// A shard whose head was lost counts on from the marks that there are.
	for shard := range e.Shards() {
		must(t, e.Redis().HDel(ctx, fmt.Sprintf("%s:{%02d}:head", e.Namespace(), shard), "beats").Err())
	}
	beat(beats)
	if _, silent = look(second); len(silent) != 0 {
		t.Errorf("%d runs are silent once the heads were lost, and all have beaten", len(silent))
	}
}

// calls is how often Redis was sent a command, outside of scripts or in them.
func calls(t *testing.T, s *redistest.Redis, command string) int {
	t.Helper()
	info, err := s.Client(t).Info(t.Context(), "commandstats").Result()
	must(t, err)
	_, rest, found := strings.Cut(info, "cmdstat_"+command+":calls=")
	if !found {
		return 0
	}
	number, _, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(number)
	must(t, err)
	return n
}
