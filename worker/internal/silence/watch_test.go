package silence

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// look is one sweep of a table: a reading that ended after a while, and what it held.
type look struct {
	after, took time.Duration
	beat        string // of job "j"; "": it has none
	redis       string
	failed      bool
	refused     bool // a write after it
}

// looks repeats a calm one.
func looks(n int, l look) []look {
	all := make([]look, n)
	for i := range all {
		all[i] = l
	}
	return all
}

// A seer is a watch over one shard with one job.
type seer struct {
	*Watch
	at    time.Time
	shard runtime.Beats
	beat  string // of the last look
	mark  uint64 // of that beat
}

func seerOf(lease, beats time.Duration) *seer {
	return &seer{Watch: New(lease, beats), at: time.Now()}
}

// see takes a look at its time, and reports whether the job is called silent, and the
// gap before.
func (h *seer) see(l look) (bool, time.Duration) {
	h.at = h.at.Add(l.after)
	if l.failed {
		h.Failed()
		return false, 0
	}
	if l.beat != h.beat && l.beat != "" {
		h.shard.Mark += 3 // others beat, too
		h.mark = h.shard.Mark - 1
	}
	h.beat = l.beat
	began := h.at.Add(-l.took)
	since := h.Since(began)
	h.shard.Oldest, h.shard.Silent, h.shard.Redis = 0, nil, l.redis
	if l.beat != "" {
		h.shard.Oldest = h.mark
		if since != nil && h.mark <= since[0] {
			h.shard.Silent = map[engine.JobID]string{"j": l.beat}
		}
	}
	silent, gap := h.Read([]runtime.Beats{h.shard}, began, h.at)
	for _, shard := range h.Doubted() {
		h.Wrote(shard, !l.refused, h.at)
	}
	return silent["j"] != "", gap
}

func TestWatchCallsSilentOnlyWhatItHasWatched(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	calm := look{after: 500 * ms, beat: "1.7", redis: "a"}
	after := func(d time.Duration) look { l := calm; l.after = d; return l }
	slow := func(took time.Duration) look { l := calm; l.took = took; return l }
	beaten := func(l look) look { l.beat = "1.8"; return l }
	moved := func(l look) look { l.redis = "b"; return l }
	join := func(parts ...[]look) (all []look) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	watched := func(d time.Duration) []look { return looks(1+int(d/calm.after), calm) }
	failed := look{after: calm.after, failed: true}
	refused := func(l look) look { l.refused = true; return l }

	for _, c := range []struct {
		name  string
		beats time.Duration // between heartbeats; 0: 1 s, a quarter of the lease
		seen  []look
		then  look          // over and over: calm, if it is zero
		want  time.Duration // from the last of seen until the job is called silent
	}{
		{name: "a whole lease of it", seen: watched(0), want: 4 * s},
		{name: "a beat begins it anew", seen: append(watched(3*s), beaten(calm)), then: beaten(calm), want: 4 * s},
		{name: "another attempt does", seen: append(watched(3*s), look{after: s, beat: "2.7", redis: "a"}), then: look{after: s, beat: "2.7", redis: "a"}, want: 4 * s},
		{name: "another Redis does", seen: append(watched(3*s), moved(calm)), then: moved(calm), want: 4 * s},
		{name: "a failed read does", seen: append(watched(3*s), failed), want: 4500 * ms},
		{name: "a job that was gone does", seen: append(watched(3*s), look{after: s, redis: "a"}, calm), want: 4 * s},
		{name: "what is asked now may change until it is answered", seen: watched(0), then: slow(400 * ms), want: 4500 * ms},

		{name: "half a lease between reads is watched", seen: watched(2 * s), then: after(2 * s), want: 2 * s},
		{name: "more is a gap, and no silence", seen: append(watched(0), after(2*s+ms)), want: 4 * s},
		{name: "a gap forgets nothing", seen: append(watched(s), after(10*s)), want: 3 * s},
		{name: "after a gap half a lease is watched", seen: append(watched(3500*ms), after(10*s)), want: 2 * s},
		{name: "after a gap what is asked now may change, too", seen: append(watched(3500*ms), after(10*s)), then: slow(400 * ms), want: 2500 * ms},
		{name: "after a gap there is time for two beats", beats: 1500 * ms, seen: append(watched(3500*ms), after(10*s)), want: 3 * s},
		{name: "after a gap rare beats have a whole lease", beats: 2 * s, seen: append(watched(3500*ms), after(10*s)), want: 4 * s},
		{name: "after a second gap as well", seen: join(watched(3*s), []look{after(10 * s)}, looks(3, calm), []look{after(3 * s)}), want: 2 * s},
		{name: "a gap that shows a beat", seen: append(watched(3*s), beaten(after(10*s))), then: beaten(calm), want: 4 * s},
		{name: "a gap and another Redis", seen: append(watched(3*s), moved(after(10*s))), then: moved(calm), want: 4 * s},
		{name: "a read that took long is a gap", seen: append(watched(3*s), look{after: 2500 * ms, took: 2400 * ms, beat: "1.7", redis: "a"}), want: 2 * s},
		{name: "a failed read after a gap", seen: append(watched(3*s), after(10*s), failed), want: 4500 * ms},
		{name: "a refused write begins the lease anew", seen: append(watched(2*s), refused(calm)), want: 4 * s},
		{name: "each refused write does", seen: join(watched(2*s), looks(9, refused(calm))), want: 4 * s},
		{name: "a refused write after one that was taken does", seen: append(watched(3*s), refused(calm)), want: 4 * s},
		{name: "no write is asked for while a beat is young", seen: append(watched(s), refused(calm)), want: 2500 * ms},
		{name: "writes are known to be taken for half a lease", seen: append(watched(1500*ms), after(2*s)), want: 2 * s},
		{name: "writes are known to be taken for two beats", beats: 1500 * ms, seen: append(watched(500*ms), after(2*s)), want: 3 * s},
		{name: "rare beats have a whole lease after a refused write", beats: 2 * s, seen: append(watched(s), refused(calm)), want: 4500 * ms},
		{name: "what came after the gap has its own lease", seen: append(watched(3*s), after(10*s), beaten(calm)), then: beaten(calm), want: 4 * s},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := seerOf(4*s, s)
			if c.beats > 0 {
				h.beats = c.beats
			}
			if c.then.after == 0 {
				c.then = calm
			}
			for i, l := range c.seen {
				if silent, _ := h.see(l); silent {
					t.Fatalf("silent at look %d of %d", i+1, len(c.seen))
				}
			}
			from := h.at
			for range 20 {
				if silent, _ := h.see(c.then); silent {
					if got := h.at.Sub(from); got != c.want {
						t.Errorf("silent after %s, want %s", got, c.want)
					}
					return
				}
			}
			t.Errorf("not silent after %s, want %s", h.at.Sub(from), c.want)
		})
	}
}

func TestWatchTellsOfGaps(t *testing.T) {
	const s = time.Second
	h := seerOf(4*s, s)
	for i, c := range []struct {
		look look
		want time.Duration
	}{
		{look{after: time.Hour, redis: "a"}, 0}, // the first
		{look{after: 2 * s, redis: "a"}, 0},
		{look{after: 3 * s, redis: "a"}, 3 * s},
		{look{after: 9 * s, redis: "b"}, 0}, // a restart: all is forgotten
		{look{after: s, failed: true}, 0},
		{look{after: 9 * s, redis: "b"}, 0}, // there is nothing to be apart from
		{look{after: 9 * s, redis: "b"}, 9 * s},
	} {
		if _, gap := h.see(c.look); gap != c.want {
			t.Errorf("look %d tells of a gap of %s, want %s", i+1, gap, c.want)
		}
	}
}

// Redis is frozen at random, for longer than half a lease each time, and takes the beats
// with it that fall into that. It refuses writes at random, and beats with them, while it
// answers reads. In between it answers for any time, and so does the watch. A run that
// is alive is never called silent, whatever the heartbeat interval, and one that is dead
// is, by a lease of calm.
func TestWatchNeverCallsTheLivingSilent(t *testing.T) {
	const lease = 4 * time.Second
	for _, beats := range []time.Duration{lease / 10, lease / 4, lease / 3, lease / 2} {
		t.Run(beats.String(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(beats)))
			h := seerOf(lease, beats)
			start := h.at
			now, beat, counter, gaps, refusals := time.Duration(0), time.Duration(0), 0, 0, 0
			var refused [2]time.Duration // from and until
			refusing := func(at time.Duration) bool { return refused[0] <= at && at < refused[1] }
			arrive := func() {
				for ; beat <= now; beat += beats {
					if !refusing(beat) {
						counter++
					}
				}
			}
			read := func() bool {
				h.at = start.Add(now)
				silent, gap := h.see(look{beat: strconv.Itoa(counter), redis: "a", refused: refusing(now)})
				if gap > 0 {
					gaps++
				}
				return silent
			}
			for range 20_000 {
				if now >= refused[1] && r.IntN(10) == 0 {
					refusals++
					refused = [2]time.Duration{now, now + time.Duration(r.Int64N(int64(2*lease)))}
				}
				now += time.Millisecond + time.Duration(r.Int64N(int64(lease/4)))
				if r.IntN(5) == 0 {
					arrive()
					now += lease/2 + time.Duration(r.Int64N(int64(2*lease)))
					for beat <= now {
						beat += beats // lost
					}
				}
				arrive()
				if read() {
					t.Fatalf("silent at %s, after %d gaps and %d refusals", now, gaps, refusals)
				}
			}
			if gaps < 1000 || refusals < 500 {
				t.Fatalf("only %d gaps and %d refusals", gaps, refusals)
			}
			now = max(now, refused[1])
			from := now
			for !read() {
				if now += lease / 8; now > from+2*lease {
					t.Fatalf("not silent after %s of calm", now-from)
				}
			}
		})
	}
}

// A lease that is a multiple of the interval is not waited out an interval longer.
func TestWatchLooksWhenALeaseOfSilenceIsOver(t *testing.T) {
	t.Parallel()
	const lease, interval, took = 4 * time.Second, 500 * time.Millisecond, 3 * time.Millisecond
	h := seerOf(lease, time.Second)
	first := h.at.Add(took)
	l := look{after: took, took: took, beat: "1.7", redis: "a"}
	for reads := 1; ; reads++ {
		if silent, _ := h.see(l); silent {
			if late := h.at.Sub(first) - lease; late < 0 || late > 20*time.Millisecond {
				t.Errorf("silence is seen %s after a lease, at reading %d", late, reads)
			}
			return
		}
		if reads > 20 {
			t.Fatal("silence is not seen")
		}
		l.after = took + h.Wait(interval)
	}
}

// A Redis that has counted fewer beats than it had is another one, or has lost some.
func TestWatchForgetsWhenTheCountGoesBack(t *testing.T) {
	h := seerOf(4*time.Second, time.Second)
	l := look{after: 500 * time.Millisecond, beat: "1.7", redis: "a"}
	h.shard.Mark = 100
	for range 8 {
		h.see(l)
	}
	h.shard.Mark = 50
	h.mark = 40
	for i := range 8 {
		if silent, _ := h.see(l); silent {
			t.Fatalf("silent %d looks after the count went back", i)
		}
	}
	h.see(l)
	if silent, _ := h.see(l); !silent {
		t.Error("not silent a lease after the count went back")
	}
}

// On a Cluster a shard that could not be read, or that has moved to another Redis, costs the
// runs of the others nothing; its own have a whole lease from then on.
func TestWatchForgetsOnlyTheShardThatIsInDoubt(t *testing.T) {
	const lease, every = 4 * time.Second, 500 * time.Millisecond
	lost := errors.New("its node is away")
	// claimed is at which reading each shard's run is called silent.
	claimed := func(doubt func(reading int, b *runtime.Beats)) (at [2]int) {
		h, now := New(lease, time.Second), time.Now()
		for n := 1; n < 100 && (at[0] == 0 || at[1] == 0); n++ {
			now = now.Add(every)
			since, beats := h.Since(now), make([]runtime.Beats, 2)
			for i := range beats {
				beats[i] = runtime.Beats{Mark: 9, Oldest: 5, Redis: "a"}
				if since != nil && since[i] >= 5 {
					beats[i].Silent = map[engine.JobID]string{engine.JobID(strconv.Itoa(i)): "5"}
				}
			}
			doubt(n, &beats[1])
			silent, _ := h.Read(beats, now, now)
			for i := range at {
				if silent[engine.JobID(strconv.Itoa(i))] != "" && at[i] == 0 {
					at[i] = n
				}
			}
			for _, shard := range h.Doubted() {
				h.Wrote(shard, true, now)
			}
		}
		return at
	}
	calm := claimed(func(int, *runtime.Beats) {})
	for name, c := range map[string]struct {
		doubt func(reading int, b *runtime.Beats)
		good  int // the first reading after it
	}{
		"unread": {func(n int, b *runtime.Beats) {
			if n >= 5 && n < 7 {
				*b = runtime.Beats{Err: lost}
			}
		}, 7},
		"unread when the others are claimed": {func(n int, b *runtime.Beats) {
			if n >= calm[0]-1 && n <= calm[0] {
				*b = runtime.Beats{Err: lost}
			}
		}, calm[0] + 1},
		"another Redis": {func(n int, b *runtime.Beats) {
			if n >= 5 {
				b.Redis = "b"
			}
		}, 5},
	} {
		if at := claimed(c.doubt); at[0] != calm[0] || at[1] != c.good+calm[1]-1 {
			t.Errorf("%s: claimed at readings %v, want %d and %d", name, at, calm[0], c.good+calm[1]-1)
		}
	}
}
