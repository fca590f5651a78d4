package logline

import (
	"sync"
	"time"
)

// maxKinds bounds how many kinds of lines a Sampler remembers.
const maxKinds = 256

// A Sampler lets one line of a kind through each so often, and counts the others for the next one.
// Take may be called concurrently.
type Sampler[K comparable] struct {
	every time.Duration
	other func(K) K

	mu    sync.Mutex
	kinds map[K]*sampled
}

type sampled struct {
	logged     time.Time
	suppressed int
}

// NewSampler makes a Sampler with a time between two lines of a kind. Kinds beyond 256 within that time
// count as those that other makes of them, of which there must be few.
func NewSampler[K comparable](every time.Duration, other func(K) K) *Sampler[K] {
	return &Sampler[K]{every: every, other: other, kinds: map[K]*sampled{}}
}

// Take reports whether a line of a kind is to be logged, and how many of its kind were not since the
// last one.
func (s *Sampler[K]) Take(kind K) (suppressed int, logs bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[kind]
	if k == nil && len(s.kinds) >= maxKinds {
		for old, k := range s.kinds {
			if now.Sub(k.logged) >= s.every {
				delete(s.kinds, old)
			}
		}
		if len(s.kinds) >= maxKinds {
			kind = s.other(kind)
			k = s.kinds[kind]
		}
	}
	switch {
	case k == nil:
		k = &sampled{}
		s.kinds[kind] = k
	case now.Sub(k.logged) < s.every:
		k.suppressed++
		return 0, false
	}
	suppressed, k.suppressed, k.logged = k.suppressed, 0, now
	return suppressed, true
}
