package gateway

import (
	"context"
	"time"
)

// OpenUploads is how many uploads count against a principal.
func (g *Gateway) OpenUploads(subject string) int {
	x := &g.uploads.index
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.counts[subject]
}

// SweepAt looks at all uploads as if it were now.
func (g *Gateway) SweepAt(ctx context.Context, now time.Time) {
	g.uploads.sweepOpen(ctx, now)
	g.uploads.sweepVoid(ctx, now)
	g.uploads.sweepSettled(ctx, now)
}
