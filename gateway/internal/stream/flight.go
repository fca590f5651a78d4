package stream

import (
	"sync"
	"time"
)

// A flight is one read for all subscriptions with the same need: after a restart the clients of a
// topic come back together, most of them with the same cursor.
//
// Subscriptions join a flight before it reads. So a subscription gets what was read after it began to
// listen to the tail, as if it had read by itself.
type flight struct {
	need  need
	after time.Time // a page of a snapshot must be read later than this
	subs  []*subscription
}

// flights wait for the pool that reads. One flight of each need is under way at a time; subscriptions
// that come meanwhile share the next.
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

// take waits for the next flight, which no subscription joins from then on; false when the queue is
// closed.
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
