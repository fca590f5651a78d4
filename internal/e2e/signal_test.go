package e2e

import (
	"context"
	"sync"
	"time"
)

// A bell wakes everybody who waits for something that its lock guards.
type bell struct {
	mu      sync.Mutex
	changed chan struct{}
}

// change runs f under the lock, and has the waiting look again.
func (b *bell) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// await looks, under the lock, at each change until it is as wanted; false when ctx ends
// first, or patience without a change: how long a busy machine takes for all of them is
// nothing that a test knows.
func (b *bell) await(ctx context.Context, as func() bool) bool {
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for ; ; silence.Reset(patience) {
		b.mu.Lock()
		if as() {
			b.mu.Unlock()
			return true
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-silence.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// outage is how long a network is gone: the one thing for which these tests let time
// itself pass.
const outage = 10 * time.Second

func sitOut(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
