package gateway

import (
	"context"
	"time"
)

// Held is what sessions hold in memory for their clients: frames in windows and queues,
// and their bytes.
func (g *Gateway) Held() (frames, bytes int) { return g.hub.Held() }

// Sessions is how many there are.
func (g *Gateway) Sessions() int { return g.hub.Sessions() }

// OpenUploads is how many uploads count against a principal.
func (g *Gateway) OpenUploads(subject string) int { return g.uploads.Open(subject) }

// SweepAt looks at all uploads as if it were now.
func (g *Gateway) SweepAt(ctx context.Context, now time.Time) { g.uploads.Sweep(ctx, now) }
