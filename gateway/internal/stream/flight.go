package stream

import (
	"sync"
	"time"
)

// A flight is one read for all subscriptions that need the same: after a restart the
// clients of a topic come back together, most of them with the same cursor.
//
// Who joins does so before it departs, and it reads after that. So what a subscription
// is given was always read after it had begun to hear the tail, as if it had read by
// itself.
type flight struct {
	need  need
	after time.Time // a page of a snapshot must be read later than this
	subs  []*subscription
}

// flights wait for the pool that reads. Of each need one is under way at a time; who
// comes meanwhile shares the next.
type flights struct {
	*ready[*flight]

	mu      sync.Mutex
	waiting map[need]*flight
	away    map[need]struct{}
}

func newFlights() *flights {
	return &flights{ready: newReady[*flight](), waiting: map[need]*flight{}, away: map[need]struct{}{}}
}

// join has sub take part in the next read of what it needs.
func (q *flights) join(n need, sub *subscription) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := q.waiting[n]
	if f == nil {
		f = &flight{need: n}
		q.waiting[n] = f
		if _, away := q.away[n]; !away {
			q.add(f)
		}
	}
	f.subs = append(f.subs, sub)
	if p := sub.snapshot; p != nil && p.from.After(f.after) {
		f.after = p.from
	}
}

// take waits for the next flight, and lets nobody join it any more; false when the
// queue is closed.
func (q *flights) take() (*flight, bool) {
	f, ok := q.ready.take()
	if ok {
		q.mu.Lock()
		delete(q.waiting, f.need)
		q.away[f.need] = struct{}{}
		q.mu.Unlock()
	}
	return f, ok
}

// landed says that a flight is over.
func (q *flights) landed(f *flight) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.away, f.need)
	if next := q.waiting[f.need]; next != nil {
		q.add(next)
	}
}
