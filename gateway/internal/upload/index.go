package upload

import (
	"context"
	"fmt"
	"sync"

	"github.com/tidemark-dev/tidemark/engine"
)

// An index counts each principal's open uploads, so that an announcement costs no
// look into the folder. The sweep fills it at start, and brings it up to date with what
// other gateways of the folder do.
type index struct {
	filled chan struct{} // closed when it was
	once   *sync.Once

	mu     *sync.Mutex
	owners map[engine.JobID]owner
	counts map[string]int
	turn   int // of listings
}

type owner struct {
	subject string
	// pending: its ticket is not written yet, so it is not missed.
	pending bool
	// turn: listings up to this one may not have it.
	turn int
}

func newIndex() index {
	return index{
		filled: make(chan struct{}), once: &sync.Once{}, mu: &sync.Mutex{},
		owners: map[engine.JobID]owner{}, counts: map[string]int{},
	}
}

// reserve counts an upload that is about to be made, or refuses it.
func (x *index) reserve(ctx context.Context, up *upload, most int) error {
	select {
	case <-x.filled:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.counts[up.Owner] >= most {
		e := *errTooMany
		e.Detail = fmt.Sprintf("you have %d uploads that are not finished, and may have %d; finish or delete some", x.counts[up.Owner], most)
		return &e
	}
	x.owners[up.Job] = owner{subject: up.Owner, pending: true, turn: x.turn}
	x.counts[up.Owner]++
	return nil
}

// kept says whether there is an upload for what was reserved.
func (x *index) kept(job engine.JobID, made bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o, there := x.owners[job]
	switch {
	case !there: // made and finished with one request
	case made:
		o.pending, o.turn = false, x.turn
		x.owners[job] = o
	default:
		x.removeLocked(job)
	}
}

// remove forgets an upload that is not open any more.
func (x *index) remove(job engine.JobID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.removeLocked(job)
}

func (x *index) removeLocked(job engine.JobID) {
	o, there := x.owners[job]
	if !there {
		return
	}
	delete(x.owners, job)
	if x.counts[o.subject]--; x.counts[o.subject] == 0 {
		delete(x.counts, o.subject)
	}
}

// listing says that the folder is about to be listed.
func (x *index) listing() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.turn++
}

// missing returns those of the listed uploads that the index does not have, and forgets
// those that are not listed.
func (x *index) missing(listed []engine.JobID) []engine.JobID {
	x.mu.Lock()
	defer x.mu.Unlock()
	var fresh []engine.JobID
	there := make(map[engine.JobID]bool, len(listed))
	for _, job := range listed {
		there[job] = true
		if _, known := x.owners[job]; !known {
			fresh = append(fresh, job)
		}
	}
	for job, o := range x.owners {
		if !there[job] && !o.pending && o.turn < x.turn {
			x.removeLocked(job)
		}
	}
	return fresh
}

func (x *index) add(up *upload) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.owners[up.Job]; !known {
		x.owners[up.Job] = owner{subject: up.Owner, turn: x.turn}
		x.counts[up.Owner]++
	}
}

// count is how many open uploads a principal has.
func (x *index) count(subject string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.counts[subject]
}

// complete lets announcements in.
func (x *index) complete() { x.once.Do(func() { close(x.filled) }) }
