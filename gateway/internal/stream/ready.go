package stream

import (
	"sync"
	"time"
)

// A ready queue holds the things that have work to do, for a pool of workers. The caller of add adds a
// thing only if it is not in the queue, so the queue has at most as many entries as there are things.
type ready[T any] struct {
	mu     sync.Mutex
	some   sync.Cond
	items  []T
	closed bool
}

func newReady[T any]() *ready[T] {
	q := &ready[T]{}
	q.some.L = &q.mu
	return q
}

func (q *ready[T]) add(v T) {
	q.mu.Lock()
	q.items = append(q.items, v)
	q.mu.Unlock()
	q.some.Signal()
}

// take waits for the next; false when the queue is closed.
func (q *ready[T]) take() (T, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.some.Wait()
	}
	var zero T
	if q.closed {
		return zero, false
	}
	v := q.items[0]
	q.items[0] = zero
	q.items = q.items[1:]
	return v, true
}

func (q *ready[T]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.some.Broadcast()
}

// A shelf gives things back after a delay. The delay is the same for all, so they are in the order of
// their times, and due looks only at those that are due.
type shelf[T any] struct {
	delay time.Duration
	mu    sync.Mutex
	items []shelved[T]
}

type shelved[T any] struct {
	v   T
	due time.Time
}

func (s *shelf[T]) put(v T) {
	due := time.Now().Add(s.delay)
	s.mu.Lock()
	s.items = append(s.items, shelved[T]{v, due})
	s.mu.Unlock()
}

// due removes and returns the things that have been on the shelf for the delay.
func (s *shelf[T]) due(now time.Time) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.items) && !s.items[n].due.After(now) {
		n++
	}
	if n == 0 {
		return nil
	}
	out := make([]T, n)
	for i, it := range s.items[:n] {
		out[i] = it.v
	}
	clear(s.items[:n])
	if s.items = s.items[n:]; len(s.items) == 0 {
		s.items = nil
	}
	return out
}
