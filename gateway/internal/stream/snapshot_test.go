package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Jobs begin, move, end and are trimmed between any two pages, for several clients that
// share them and take them as they like: none of them misses anything, or holds too much.
func TestSnapshotsInPagesAtAnyMoment(t *testing.T) {
	url := redistest.Server(t).URL()
	for over, line := range lines {
		t.Run(over, func(t *testing.T) {
			e := stageEngine(t, url, 24)
			clients, snapshots, moved, most := 0, 0, 0, 0
			for seed := range uint64(soakable(25, 1000)) {
				w := newCrowd(t, e, seed, 40, Options{WindowFrames: 4, WindowBytes: 64 << 10})
				w.line = line
				if err := w.run(nil); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				for _, c := range w.clients {
					most = max(most, c.most)
					snapshots, moved = snapshots+len(c.snapshots), moved+c.moved
					c.line.hangUp()
				}
				clients += len(w.clients)
			}
			t.Logf("%d clients had %d snapshots, %d of them trimmed before their end, and held at most %d bytes each", clients, snapshots, moved, most)
			if most > 128<<10 {
				t.Errorf("a session held %d bytes, its window is %d and a page %d", most, 64<<10, 64<<10)
			}
			if snapshots <= clients/2 || moved == 0 {
				t.Error("the test does not see what it is for")
			}
		})
	}
}

// TestPagesThatAreTooOldAreSeen is the plant of the test above: pages that were read before
// a client's cursor are given to it all the same.
func TestPagesThatAreTooOldAreSeen(t *testing.T) {
	e := stageEngine(t, redistest.Server(t).URL(), 24)
	for seed := range uint64(1000) {
		w := newCrowd(t, e, seed, 40, Options{WindowFrames: 4, WindowBytes: 64 << 10})
		err := w.run(func() {
			for _, r := range w.h.pages.held {
				r.began = time.Now().Add(time.Hour)
			}
		})
		if err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Error("it is not seen")
}

// Clients that subscribe at the same time share the reading, however many pages there are
// and however they take them.
func TestSubscribersShareASnapshot(t *testing.T) {
	server := redistest.Server(t)
	e := stageEngine(t, server.URL(), 5000)
	w := newCrowd(t, e, 1, 60, Options{})
	evals := func() (n int) {
		info, err := server.Client(t).Info(t.Context(), "commandstats").Result()
		w.must(err)
		for line := range strings.Lines(info) {
			if rest, found := strings.CutPrefix(line, "cmdstat_evalsha:calls="); found {
				count, _, _ := strings.Cut(rest, ",")
				_, err := fmt.Sscan(count, &n)
				w.must(err)
			}
		}
		return n
	}
	alone := w.join("", 0)
	before := evals()
	w.must(w.settle())
	one := evals() - before
	if err := w.check(alone); err != nil {
		t.Fatal(err)
	}
	w.clients, w.h.pages.held = nil, map[need]*reading{}
	for range 50 {
		w.join("", 0)
	}
	before = evals()
	w.must(w.settle())
	many := evals() - before
	for _, c := range w.clients {
		if err := w.check(c); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d calls for one client, %d for 50", one, many)
	// Replays from the cursor are not kept: they are shared by those who come together.
	if one < 6 || many > 2*one {
		t.Errorf("%d calls for one client, %d for 50", one, many)
	}
}

// A socket that never reads holds its window and one page, whatever the topic has.
func TestSocketThatNeverReadsASnapshot(t *testing.T) {
	e := stageEngine(t, redistest.Server(t).URL(), 5000)
	w := newCrowd(t, e, 1, 120, Options{})
	for range 3 {
		w.join("", 0)
	}
	for w.step("read and land") {
		w.tick()
		w.step("tail")
	}
	for _, c := range w.clients {
		o := w.h.opts
		if c.most == 0 || c.most > o.WindowBytes+64<<10 {
			t.Errorf("it holds %d bytes of a window of %d", c.most, o.WindowBytes)
		}
		if c.sub.snapshot == nil {
			t.Error("its snapshot is over: the test stops no client")
		}
	}
	w.must(w.settle()) // it reads after all
	for _, c := range w.clients {
		if err := w.check(c); err != nil {
			t.Error(err)
		}
	}
}

// A snapshot of a history that is rewritten between two pages begins anew.
func TestHistoryIsRewrittenWithinASnapshot(t *testing.T) {
	server := redistest.Server(t)
	e := stageEngine(t, server.URL(), 5000)
	for _, last := range []bool{false, true} {
		w := newCrowd(t, e, 3, 40, Options{})
		c := w.join("", 0)
		w.step("read and land")
		for last && c.sub.snapshot.Cursor() != "" {
			if _, pages := c.sub.snapshot.Next(); !pages {
				break
			}
			for len(c.s.window) > 0 {
				w.take(c)
			}
			w.step("read and land")
		}
		// The topic loses its newest records, as by a failover.
		keys, err := server.Client(t).Keys(t.Context(), fmt.Sprintf("*:?:%s", w.tp.name)).Result()
		w.must(err)
		for _, key := range keys {
			if !strings.Contains(key, ":x:") {
				w.must(server.Client(t).Del(t.Context(), key).Err())
			}
		}
		w.head = ""
		w.must(w.settle())
		if want := []engine.Verdict{engine.Fresh, engine.Rewritten}; !slices.Equal(c.snapshots, want) {
			t.Errorf("after the last page: %v; its snapshots are %v, want %v", last, c.snapshots, want)
		}
		if len(c.held) != 40 || c.cursor != engine.Beginning {
			t.Errorf("after the last page: %v; it holds %d jobs at %s", last, len(c.held), c.cursor)
		}
	}
}
