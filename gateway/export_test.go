package gateway

import (
	"context"
	"time"
)

// Held is what sessions hold in memory for their clients: frames in windows and
// queues, and their bytes.
func (g *Gateway) Held() (frames, bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.sessions {
		s.mu.Lock()
		frames += s.frames + len(s.queue)
		bytes += s.bytes
		for _, f := range s.queue {
			bytes += len(f)
		}
		s.mu.Unlock()
	}
	return frames, bytes
}

// Sessions is how many there are.
func (g *Gateway) Sessions() int { return int(g.sessionCount.Load()) }

// OpenUploads is how many uploads count against a principal.
func (g *Gateway) OpenUploads(subject string) int { return g.uploads.Open(subject) }

// SweepAt looks at all uploads as if it were now.
func (g *Gateway) SweepAt(ctx context.Context, now time.Time) { g.uploads.Sweep(ctx, now) }
