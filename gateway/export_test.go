package gateway

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/internal/access"
)

// Held is what sessions hold in memory for their clients: frames in windows and queues,
// and their bytes.
func (g *Gateway) Held() (frames, bytes int) { return g.hub.Held() }

// UsesOf is how many uses of a kind there are under a credential: socket, upload or download.
func (g *Gateway) UsesOf(credential, kind string) int {
	return g.uses.OfCredential(credential, access.Kind(kind))
}

// Patterns are those of all routes.
func (g *Gateway) Patterns() []string { return g.patterns }

// Sessions is how many there are.
func (g *Gateway) Sessions() int { return g.hub.Sessions() }

// OpenUploads is how many uploads count against a principal.
func (g *Gateway) OpenUploads(subject string) int { return g.uploads.Open(subject) }

// SweepAt looks at all uploads as if it were now.
func (g *Gateway) SweepAt(ctx context.Context, now time.Time) { g.uploads.Sweep(ctx, now) }

// LabeledQueues are those that have metrics.
var LabeledQueues = labeled
