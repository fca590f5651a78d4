package engine

import (
	"context"
	"strconv"
	"time"
)

// A Walk is one walker's part in the rounds over all live jobs, which all walkers of a name
// share: each page of a round goes to one of them. It is for one goroutine.
type Walk struct {
	e        *Engine
	who      string
	interval time.Duration
	lease    time.Duration // for which a page is claimed
	page     int
	pause    time.Duration
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
func (e *Engine) Walk(who string, interval time.Duration) *Walk {
	w := &Walk{e: e, who: who, interval: interval, lease: max(2*interval, walkLease), page: walkPage, pause: walkPause, claims: make([]string, e.opts.Shards)}
	if e.Cluster() {
		w.pause *= walkNodes
	}
	return w
}

// A WalkPage is live jobs of one shard that are this walker's to look at, oldest first.
type WalkPage struct {
	Shard int
	Jobs  []JobID
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
	answers := w.e.shards(ctx, w.e.redis, w.e.scripts.walk, func(shard int) []any {
		return []any{w.who, w.claims[shard], ms(w.interval), ms(w.lease), w.page, ms(w.pause)}
	})
	for shard, a := range answers {
		w.claims[shard] = ""
		if a.err != nil {
			continue
		}
		if left, _ := strconv.Atoi(text(a.list[0])); left > 0 {
			wait = max(wait, time.Duration(left)*time.Millisecond)
		}
		if len(a.list) < 3 {
			continue
		}
		page := WalkPage{Shard: shard}
		w.claims[shard] = text(a.list[1])
		for _, id := range a.list[2:] {
			page.Jobs = append(page.Jobs, JobID(text(id)))
		}
		pages = append(pages, page)
	}
	if len(pages) > 0 {
		wait = 0
	}
	return pages, wait, failures("walk over live jobs", answers)
}

// PutBack says that a page was not looked at: a walker gets it when its claim has run out.
func (w *Walk) PutBack(p WalkPage) { w.claims[p.Shard] = "" }

// Due returns up to limit jobs that are not in a worker's hands and whose deadline has passed, on
// a Cluster up to limit a shard: none while Redis's clock has just jumped. Its cost grows with
// the answer: one call of one server, on a Cluster one a shard. Its error wraps
// ErrUnreachable; on a Cluster, where that may be of some nodes, the jobs of the others stand
// beside it.
func (e *Engine) Due(ctx context.Context, limit int) ([]JobID, error) {
	now := e.Now()
	if !e.Past(now) { // the clock has jumped
		return nil, nil
	}
	answers := e.shards(ctx, e.redis, e.scripts.due, func(int) []any { return []any{now.UnixMilli(), limit} })
	var jobs []JobID
	for _, a := range answers {
		for _, id := range a.list {
			jobs = append(jobs, JobID(text(id)))
		}
	}
	return jobs, failures("look for deadlines", answers)
}
