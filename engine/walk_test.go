package engine_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

const (
	round = time.Hour   // at least, between the beginnings of two rounds
	claim = time.Minute // on a page

	endless = 1000 // calls, after which a round has no end
)

// A street is live jobs that walkers come by, and a clock that its test sets. The jobs are
// listed, and have no hash.
type street struct {
	t   testing.TB
	e   *engine.Rig
	c   redis.UniversalClient
	now int64

	mu  sync.Mutex // walkers call at once
	err error      // of the first call that failed
}

// newStreet has the script take the time from a key; plant is a text of it and what takes
// its place, if any.
func newStreet(t testing.TB, url string, plant ...string) *street {
	t.Helper()
	e := open(t, url, func(o *engine.Options) { o.Shards = 2 })
	s := &street{t: t, e: e, c: e.Redis()}
	clock := []string{"tonumber(clock[1]) * 1000 + floor(tonumber(clock[2]) / 1000)", `tonumber(redis.call("GET", "` + s.key(0, "clock") + `"))`}
	if n := e.Rewrite(append(clock, plant...)...); n != 1 {
		t.Fatalf("the scripts have it %d times, want once", n)
	}
	s.at(1_800_000_000_000)
	return s
}

func (s *street) at(ms int64) {
	s.t.Helper()
	s.now = ms
	must(s.t, s.c.Set(soon(s.t), s.key(0, "clock"), ms, 0).Err())
}

func (s *street) pass(d time.Duration) { s.t.Helper(); s.at(s.now + d.Milliseconds()) }

func (s *street) key(shard int, rest string) string {
	return fmt.Sprintf("%s:{%02d}:%s", s.e.Namespace(), shard, rest)
}

func (s *street) job(shard, i int) engine.JobID {
	return engine.JobID(fmt.Sprintf("%02d%026d", shard, i))
}

// fill lists jobs as live, some of them in each millisecond, and returns them.
func (s *street) fill(shard, jobs, together int) (all []engine.JobID) {
	s.t.Helper()
	pipe := s.c.Pipeline()
	for i := range jobs {
		all = append(all, s.job(shard, i))
		pipe.ZAdd(soon(s.t), s.key(shard, "live"), redis.Z{Score: float64(1_700_000_000_000 + i/together), Member: string(all[i])})
	}
	if jobs > 0 {
		_, err := pipe.Exec(soon(s.t))
		must(s.t, err)
	}
	return all
}

// leave takes jobs out, as their ends do.
func (s *street) leave(jobs ...engine.JobID) {
	s.t.Helper()
	for _, job := range jobs {
		for shard := range 2 {
			must(s.t, s.c.ZRem(soon(s.t), s.key(shard, "live"), string(job)).Err())
		}
	}
}

// paged sets the bounds of a walk.
func paged(w *runtime.Walk, jobs int, pause, lease time.Duration) *runtime.Walk {
	w.Page, w.Pause, w.Lease = jobs, pause, lease
	return w
}

func (s *street) walker(page int, pause time.Duration) *runtime.Walk {
	return paged(s.e.Walk("test", round), page, pause, claim)
}

// next gives the jobs of all pages.
func (s *street) next(w *runtime.Walk) []engine.JobID {
	s.t.Helper()
	pages, _, err := w.Next(soon(s.t))
	s.mu.Lock()
	s.err = cmp.Or(s.err, err)
	s.mu.Unlock()
	var jobs []engine.JobID
	for _, p := range pages {
		jobs = append(jobs, p.Jobs...)
	}
	return jobs
}

// rest gives all the rest of the round that a walker can get.
func (s *street) rest(w *runtime.Walk) (all []engine.JobID) {
	s.t.Helper()
	for range endless {
		jobs := s.next(w)
		if len(jobs) == 0 {
			break
		}
		all = append(all, jobs...)
	}
	slices.Sort(all)
	return all
}

func different(what string, got, want []engine.JobID) error {
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s: %d jobs, want %d: %v…, want %v…", what, len(got), len(want), got[:min(3, len(got))], want[:min(3, len(want))])
}

// walkCase has some walkers go through rounds, of whom some die, while some jobs leave. Each
// job that stays is looked at: once, where no walker dies.
func walkCase(s *street, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 0))
	s.clear()
	together := 1 + r.IntN(20)
	live := append(s.fill(0, r.IntN(40), together), s.fill(1, r.IntN(40), together)...)
	walkers, held := make([]*runtime.Walk, 1+r.IntN(3)), map[*runtime.Walk][]engine.JobID{}
	mortal, page := r.IntN(2) == 0, 1+r.IntN(10)
	for i := range walkers {
		walkers[i] = s.walker(page, 0)
	}
	for n := range 3 {
		looks := map[engine.JobID]int{}
		for idle, steps := 0, 0; idle < 2; steps++ {
			if steps == endless {
				return fmt.Errorf("seed %d, round %d does not end", seed, n)
			}
			if r.IntN(4) == 0 && len(live) > 0 {
				i := r.IntN(len(live))
				s.leave(live[i])
				live = slices.Delete(live, i, i+1)
			}
			i := r.IntN(len(walkers))
			w := walkers[i]
			if mortal && r.IntN(4) == 0 {
				walkers[i] = s.walker(1+r.IntN(10), 0)
				delete(held, w)
				continue
			}
			jobs := s.next(w)
			for _, job := range held[w] {
				looks[job]++
			}
			if delete(held, w); len(jobs) > 0 {
				held[w], idle = jobs, 0
			} else if len(held) == 0 {
				s.pass(claim) // those of the dead run out
				idle++
			}
		}
		for _, job := range live {
			if looks[job] == 0 || (!mortal && looks[job] > 1) {
				return fmt.Errorf("seed %d, round %d: job %s of %d was looked at %d times; walkers die: %t", seed, n, job, len(live), looks[job], mortal)
			}
		}
		s.pass(round)
	}
	return nil
}

func (s *street) clear() {
	s.t.Helper()
	for shard := range 2 {
		must(s.t, s.c.Del(soon(s.t), s.key(shard, "live"), s.key(shard, "walk:test")).Err())
	}
}

// walkChecks are what a walk promises beside that.
var walkChecks = map[string]func(s *street) error{
	"a page comes a pause after another one of any shard": func(s *street) error {
		all := append(s.fill(0, 1, 1), s.fill(1, 1, 1)...)
		a, b := s.walker(1, time.Second), s.walker(1, time.Second)
		first := s.next(a)
		s.pass(400 * time.Millisecond)
		pages, wait, err := b.Next(soon(s.t))
		if err != nil || len(pages) > 0 || wait != 600*time.Millisecond {
			return fmt.Errorf("after 400 ms came %v, and to wait %s: %w", pages, wait, err)
		}
		s.pass(wait)
		return different("both pages", append(first, s.next(b)...), all)
	},
	"a round begins an interval after the last one": func(s *street) error {
		all := s.fill(0, 3, 1)
		w := s.walker(2, 0)
		_ = s.rest(w)
		s.pass(round - time.Millisecond)
		if err := different("too early", s.rest(w), nil); err != nil {
			return err
		}
		s.pass(time.Millisecond)
		return different("in time", s.rest(w), all)
	},
	"a page that was put back is given again": func(s *street) error {
		all := s.fill(0, 3, 1)
		w := s.walker(2, 0)
		pages, _, err := w.Next(soon(s.t))
		if err != nil || len(pages) != 1 {
			return fmt.Errorf("%v: %w", pages, err)
		}
		w.PutBack(pages[0])
		if err := different("the others", s.rest(w), all[2:]); err != nil {
			return err
		}
		s.pass(claim)
		return different("once its claim has run out", s.rest(w), all[:2])
	},
	"who comes too late takes nobody's page away": func(s *street) error {
		all := s.fill(0, 3, 1)
		late, dies, last := s.walker(3, 0), s.walker(3, 0), s.walker(3, 0)
		_ = s.next(late)
		s.pass(claim)
		_ = s.next(dies)
		_ = s.next(late)
		s.pass(claim)
		return different("the page of the second", s.next(last), all)
	},
	"what is left of a page is given as well": func(s *street) error {
		all := s.fill(0, 30, 1)
		_ = s.next(s.walker(20, 0))
		s.pass(claim)
		return different("all", s.rest(s.walker(7, 0)), all)
	},
	"a shard with many jobs holds up no other": func(s *street) error {
		s.fill(0, 40, 1)
		s.fill(1, 40, 1)
		w, seen := paged(s.e.Walk("test", 0), 10, 0, claim), map[string]bool{}
		for range 10 { // a round takes 4, and the next one begins at once
			for _, job := range s.next(w) {
				seen[string(job[:2])] = true
			}
			s.pass(time.Millisecond)
		}
		if len(seen) != 2 {
			return fmt.Errorf("seen were jobs of shards %v alone", slices.Collect(maps.Keys(seen)))
		}
		return nil
	},
	"a page is bounded for all shards together": func(s *street) error {
		all := append(s.fill(0, 5, 1), s.fill(1, 5, 1)...)
		return different("the first page", s.next(s.walker(7, 0)), all[:7])
	},
	"rounds of another name are its own": func(s *street) error {
		all := s.fill(0, 5, 1)
		_ = s.rest(s.walker(3, 0))
		return different("the other's", s.rest(paged(s.e.Walk("other", round), 3, 0, claim)), all)
	},
	"a clock that was ahead holds up no round": func(s *street) error {
		all := s.fill(0, 6, 1)
		s.pass(30 * 24 * time.Hour)
		ahead := s.walker(2, time.Second)
		_ = s.next(ahead)
		s.pass(-30 * 24 * time.Hour)
		w := s.walker(10, time.Second)
		looked := s.next(w)
		s.pass(time.Second)
		looked = append(looked, s.next(w)...)
		slices.Sort(looked)
		return different("the round that was begun", looked, all)
	},
	"a round that was over ahead of the clock holds up none": func(s *street) error {
		all := s.fill(0, 6, 1)
		s.pass(30 * 24 * time.Hour)
		_ = s.rest(s.walker(6, 0))
		s.pass(-30 * 24 * time.Hour)
		return different("the next one", s.rest(s.walker(6, 0)), all)
	},
	"a failover repeats pages and leaves none out": func(s *street) error {
		all := s.fill(0, 20, 1)
		w := s.walker(3, 0)
		_, _ = s.next(w), s.next(w)
		image, err := s.c.HGetAll(soon(s.t), s.key(0, "walk:test")).Result()
		must(s.t, err)
		_ = s.rest(w)
		must(s.t, s.c.Del(soon(s.t), s.key(0, "walk:test")).Err(), s.c.HSet(soon(s.t), s.key(0, "walk:test"), image).Err())
		s.pass(claim)
		return different("what was not yet looked at", s.rest(w), all[3:])
	},
	"what is kept of a round goes": func(s *street) error {
		s.fill(0, 1, 1)
		_ = s.next(s.walker(3, 0))
		if ttl := s.c.PTTL(soon(s.t), s.key(0, "walk:test")).Val(); ttl <= 0 || ttl > time.Hour {
			return fmt.Errorf("it goes in %s", ttl)
		}
		return nil
	},
	"nothing is written where nothing lives": func(s *street) error {
		if err := different("jobs", s.rest(s.walker(3, 0)), nil); err != nil {
			return err
		}
		must(s.t, s.c.ConfigSet(soon(s.t), "min-replicas-to-write", "1").Err())
		_, _, err := s.walker(3, 0).Next(soon(s.t))
		must(s.t, s.c.ConfigSet(soon(s.t), "min-replicas-to-write", "0").Err())
		return err
	},
}

// walkHolds goes through some rounds and all checks.
func walkHolds(s *street, rounds int) error {
	for name, check := range walkChecks {
		s.clear()
		if err := cmp.Or(check(s), s.err); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for seed := range rounds {
		if err := cmp.Or(walkCase(s, uint64(seed)), s.err); err != nil {
			return err
		}
	}
	return nil
}

func TestWalkersShareRounds(t *testing.T) {
	t.Parallel()
	if err := walkHolds(newStreet(t, redistest.Server(t).URL()), scale(30, 3000)); err != nil {
		t.Error(err)
	}
}

// Many jobs of one millisecond are shared by several walkers at once, on each Redis.
func TestWalkersShareManyJobs(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		jobs := scale(2000, 20_000)
		s := newStreet(t, url)
		all := s.fill(0, jobs, jobs)
		looked := make(chan []engine.JobID, 3)
		for range 3 {
			w := s.walker(50, 0)
			go func() { looked <- s.rest(w) }()
		}
		var got []engine.JobID
		for range 3 {
			got = append(got, <-looked...)
		}
		slices.Sort(got)
		if err := different("in one round", got, all); err != nil {
			t.Error(err)
		}
	})
}

// Each mistake in the script turns TestWalkersShareRounds red.
func TestWalkersSeeMistakes(t *testing.T) {
	t.Parallel()
	for _, m := range []struct{ promise, from, to string }{
		{"a claim holds", `range.till <= now or`, `true or`},
		{"a claim runs out", `range.till <= now or`, `range.till == 0 or`},
		{"a claim of a clock that was ahead does not hold", `or range.till > now + lease then`, `then`},
		{"what was looked at is over", `and w.ranges[from].till == tonumber(till) then`, `and false then`},
		{"only by who has the claim", `and w.ranges[from].till == tonumber(till) then`, `then`},
		{"a range that is over is kept no longer", `call("HDEL", w.key, "r" .. from)`, ``},
		{"the rest of a range is a range", `call("HSET", w.key, "r" .. place, "0 " .. to)`, ``},
		{"a page ends where the rest begins", `    to = place
`, ``},
		{"a page ends with its range", `range.to == "" and w.count or passed(w.live, range.to)`, `w.count`},
		{"a place is behind its job", `before(id, call`, `not before(call`},
		{"the script tells jobs of a millisecond apart", `local high = low + call("ZCOUNT", live, score, score)`, `local high = low`},
		{"a place is found without its job", `local low = call("ZCOUNT", live, "-inf", "(" .. score)`, `local low = call("ZRANK", live, id) or 0`},
		{"a page is bounded", `math.min(last, first + jobs) - 1`, `last - 1`},
		{"for all shards", `jobs = jobs - #ids`, ``},
		{"a page needs room", `elseif from and jobs > 0 then`, `elseif from then`},
		{"a round begins when it is due", `w.began + interval <= now or`, `true or`},
		{"a round begins in time", `w.began + interval <= now or`, `w.began + interval < now or`},
		{"a beginning ahead is none", `or w.began > now)`, `)`},
		{"a round that is not over goes on", `and not next(w.ranges) and`, `and`},
		{"nothing begins where nothing lives", `if w.count > 0 and`, `if`},
		{"when it began is kept", `"began", int(w.began), `, ``},
		{"when a page was given is kept", `, "given", int(now))`, `)`},
		{"a pause is kept", `if from and given + pause > now then`, `if false then`},
		{"a pause of a clock that was ahead is none", `if w.given <= now then`, `if true then`},
		{"a pause is that of all shards", `given = math.max(given, w.given)`, `given = w.given`},
		{"the script says how long to wait", `int(given + pause - now)`, `int(pause)`},
		{"the oldest round comes first", `return a.began < b.began`, `return a.shard < b.shard`},
		{"rounds have names", `prefix .. "walk:" .. who`, `prefix .. "walk:test"`},
		{"what is kept goes", `call("PEXPIRE", w.key, 3600000)`, ``},
		{"each shard has its claim", `local at = #ARGV / shards * (s - 1)`, `local at = 0`},
	} {
		t.Run(m.promise, func(t *testing.T) {
			err := walkHolds(newStreet(t, redistest.Server(t).URL(), m.from, m.to), 100)
			if err == nil {
				t.Error("it went unseen")
			}
			t.Logf("seen: %v", err)
		})
	}
}
