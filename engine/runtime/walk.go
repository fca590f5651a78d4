package runtime

import (
	"context"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Walk is one walker's part in the rounds over all live jobs. All walkers of a name share a round:
// each page goes to one of them. A Walk is for one goroutine.
type Walk struct {
	// Page is the most jobs of a call's pages. Pause is for how long after a page the server gives
	// no other one, so that all walkers together are a small part of its work. Lease is for how
	// long a claim of a page holds. Runtime.Walk sets them; change them before the first page.
	Page         int
	Pause, Lease time.Duration

	rt       *Runtime
	who      string
	interval time.Duration
	claims   []string // by shard: on the page that Next gave last; "" none
}

// Defaults of a walk: the most jobs of a call's pages, and the pause after a page.
const (
	walkPage  = 250
	walkPause = 100 * time.Millisecond
	// walkLease is the least time for which a page is claimed.
	walkLease = 2 * time.Second
	// walkNodes is by how much longer the pause of a shard is on a Cluster, where each shard
	// has one of its own, and a node several of them.
	walkNodes = 4
)

// Walk takes part in the rounds of a name. A round over a shard's jobs begins an interval after the
// last one began, or when that one is over, if it takes longer. A claim of a page holds for two
// intervals, and 2 seconds at least; then another walker may get the page. Walk makes no call to
// Redis.
func (rt *Runtime) Walk(who string, interval time.Duration) *Walk {
	w := &Walk{rt: rt, who: who, interval: interval, Lease: max(2*interval, walkLease), Page: walkPage, Pause: walkPause, claims: make([]string, rt.g.Opts.Shards)}
	if rt.g.Cluster() {
		w.Pause *= walkNodes
	}
	return w
}

// A WalkPage is live jobs of one shard that this walker is to look at, oldest first.
type WalkPage struct {
	Shard int
	Jobs  []wire.JobID
}

// Next reports that the walker has looked at the pages of the last call, apart from those that it
// put back, and returns the next ones: at most 250 jobs together, on a Cluster 250 each. Without a
// page, wait is the time until there are some; 0 means that the next round is not due yet, or that
// other walkers have claimed the rest. Next is one call of the server, on a Cluster one a shard. A
// round leaves out no job that lives throughout it. The error wraps ErrUnreachable or
// ErrOutOfMemory. On a Cluster it may come from some nodes alone, beside the pages of the others.
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

// PutBack reports that the walker has not looked at a page. A walker gets it when the claim expires.
func (w *Walk) PutBack(p WalkPage) { w.claims[p.Shard] = "" }

// Due returns up to limit jobs, on a Cluster up to limit a shard, that no worker runs and whose
// deadline has passed; none while Redis's clock has just jumped. Its cost grows with the answer: one
// call of the server, on a Cluster one a shard. The error wraps ErrUnreachable. On a Cluster it may
// come from some nodes alone, beside the jobs of the others.
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
