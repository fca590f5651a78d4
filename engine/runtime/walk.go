package runtime

import (
	"context"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Walk is one walker's part in the rounds over all live jobs, which all walkers of a name
// share: each page of a round goes to one of them. It is for one goroutine.
type Walk struct {
	// Page is the most jobs of a call's pages, Pause is for how long after a page the same server
	// gives no other one, so that all walkers together are a small part of its work, and Lease is
	// for how long a page is claimed. Runtime.Walk sets them; change them before the first page.
	Page         int
	Pause, Lease time.Duration

	rt       *Runtime
	who      string
	interval time.Duration
	claims   []string // by shard: on the page that Next gave last; "" none
}

// Bounds of a walk: the jobs of a call's pages, and how long after a page no other one is
// given by the same server, so that all walkers together are a small part of its work.
const (
	walkPage  = 250
	walkPause = 100 * time.Millisecond
	// walkLease is the least time for which a page is claimed.
	walkLease = 2 * time.Second
	// walkNodes is by how much longer the pause of a shard is on a Cluster, where each shard
	// has one of its own, and a node several of them.
	walkNodes = 4
)

// Walk takes part in the rounds of a name. The next round over a shard's jobs begins no
// sooner than an interval after the last one began, and where that takes longer, when it is
// over. A page is claimed for two intervals, and 2 seconds at least; then another walker may
// get it. It makes no call to Redis.
func (rt *Runtime) Walk(who string, interval time.Duration) *Walk {
	w := &Walk{rt: rt, who: who, interval: interval, Lease: max(2*interval, walkLease), Page: walkPage, Pause: walkPause, claims: make([]string, rt.g.Opts.Shards)}
	if rt.g.Cluster() {
		w.Pause *= walkNodes
	}
	return w
}

// A WalkPage is live jobs of one shard that are this walker's to look at, oldest first.
type WalkPage struct {
	Shard int
	Jobs  []wire.JobID
}

// Next says that the pages that it gave last were looked at, but for those that were put
// back, and gives the next ones: of at most 250 jobs together, on a Cluster of 250 each. With
// none, wait is how long until there are some; 0: the rounds are over for now, or what is
// left of them is other walkers'. It is one call of a server, on a Cluster one a shard. No
// job that lives throughout a round is left out of it. Its error wraps ErrUnreachable or
// ErrOutOfMemory; on a Cluster, where that may be of some nodes, the pages of the others
// stand beside it.
func (w *Walk) Next(ctx context.Context) (pages []WalkPage, wait time.Duration, err error) {
	ms := time.Duration.Milliseconds
	answers := w.rt.g.Shards(ctx, w.rt.g.Redis, w.rt.g.Scripts.Walk, func(shard int) []any {
		return []any{w.who, w.claims[shard], ms(w.interval), ms(w.Lease), w.Page, ms(w.Pause)}
	})
	for shard, a := range answers {
		w.claims[shard] = ""
		if a.Err != nil {
			continue
		}
		if left, _ := strconv.Atoi(ground.Text(a.List[0])); left > 0 {
			wait = max(wait, time.Duration(left)*time.Millisecond)
		}
		if len(a.List) < 3 {
			continue
		}
		page := WalkPage{Shard: shard}
		w.claims[shard] = ground.Text(a.List[1])
		for _, id := range a.List[2:] {
			page.Jobs = append(page.Jobs, wire.JobID(ground.Text(id)))
		}
		pages = append(pages, page)
	}
	if len(pages) > 0 {
		wait = 0
	}
	return pages, wait, ground.Failures("walk over live jobs", answers)
}

// PutBack says that a page was not looked at: a walker gets it when its claim has run out.
func (w *Walk) PutBack(p WalkPage) { w.claims[p.Shard] = "" }

// Due returns up to limit jobs that are not in a worker's hands and whose deadline has passed, on
// a Cluster up to limit a shard: none while Redis's clock has just jumped. Its cost grows with
// the answer: one call of one server, on a Cluster one a shard. Its error wraps
// ErrUnreachable; on a Cluster, where that may be of some nodes, the jobs of the others stand
// beside it.
func (rt *Runtime) Due(ctx context.Context, limit int) ([]wire.JobID, error) {
	now := rt.g.Now()
	if !rt.g.Past(now) { // the clock has jumped
		return nil, nil
	}
	answers := rt.g.Shards(ctx, rt.g.Redis, rt.g.Scripts.Due, func(int) []any { return []any{now.UnixMilli(), limit} })
	var jobs []wire.JobID
	for _, a := range answers {
		for _, id := range a.List {
			jobs = append(jobs, wire.JobID(ground.Text(id)))
		}
	}
	return jobs, ground.Failures("look for deadlines", answers)
}
