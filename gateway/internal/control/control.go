// Package control keeps a gateway informed of which credentials are revoked. It asks Redis four times a second, so that
// all gateways have ended what a revocation ends within one. While Redis does not answer, a gateway goes on with what it
// knows for a few seconds. Then it is blind: it ends all that is live, and lets nobody in, until it can read again.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
)

const (
	// askInterval is the time between two questions for what is revoked.
	askInterval = 250 * time.Millisecond
	// askTimeout bounds a question, as far as the client of Redis heeds it.
	askTimeout = time.Second
	// forgetInterval is the time between two looks for revocations that are over.
	forgetInterval = time.Minute
)

// Options say what a Control reads, and whom it tells. All fields are required.
type Options struct {
	Engine *engine.Engine
	Uses   *access.Uses
	// Blindness is for how long the gateway goes on without an answer.
	Blindness time.Duration
	// Failed gets the errors of reads. It must not block.
	Failed   func(error)
	Registry *prometheus.Registry
	Logger   *slog.Logger
}

// A Control reads revocations.
type Control struct {
	opts   Options
	stream *stream.Stream
	from   *stream.Revocations // of the goroutine that asks

	held, unknown prometheus.Gauge

	mu    sync.Mutex
	heard time.Time // when the last question began that was answered
	blind bool
}

// New makes a Control, which is blind until it has read. Its error is of metrics that are registered already.
func New(o Options) (*Control, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "gateway", Name: name, Help: help})
	}
	c := &Control{
		opts: o, stream: stream.Of(o.Engine), from: stream.Of(o.Engine).Revocations(), blind: true,
		held:    gauge("revocations", "Revocations of credentials that hold."),
		unknown: gauge("revocations_unknown", "1 while the gateway refuses everybody, since it cannot read what is revoked."),
	}
	for _, g := range []prometheus.Gauge{c.held, c.unknown} {
		if err := o.Registry.Register(g); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	c.unknown.Set(1)
	o.Uses.Blind(true)
	return c, nil
}

// look makes the gateway blind, or lets it see, by when a question was answered last; began is of one that was just now,
// zero: none.
func (c *Control) look(began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !began.IsZero() {
		c.heard = began
	}
	since := time.Since(c.heard)
	switch lost := since > c.opts.Blindness; {
	case lost == c.blind:
		return
	case lost:
		c.opts.Logger.Error("the gateway cannot read what is revoked: it ends connections and downloads, and refuses everybody", "since", since.Round(time.Second).String())
		c.unknown.Set(1)
	default:
		c.opts.Logger.Info("the gateway has read what is revoked", "revocations", c.opts.Uses.Forget())
		c.unknown.Set(0)
	}
	c.blind = !c.blind
	c.opts.Uses.Blind(c.blind)
}

func (c *Control) sees() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.blind
}

// Open reads for the first time. Where it cannot, the gateway stays blind until Run can.
func (c *Control) Open() {
	if c.ask(context.Background()); !c.sees() {
		c.opts.Logger.Error("the gateway cannot read what is revoked: it refuses everybody")
	}
}

// Run reads on until over is closed. From then on the gateway refuses everybody. The caller has called Open.
func (c *Control) Run(over <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		c.watch(over)
	})
	c.read(ctx)
	watching.Wait()
	c.opts.Uses.Blind(true)
}

// watch makes the gateway blind in time, also while a question hangs.
func (c *Control) watch(over <-chan struct{}) {
	ticker := time.NewTicker(askInterval)
	defer ticker.Stop()
	forgotten := time.Now()
	for {
		select {
		case <-over:
			return
		case now := <-ticker.C:
			c.look(time.Time{})
			if now.Sub(forgotten) >= forgetInterval {
				forgotten = now
				c.held.Set(float64(c.opts.Uses.Forget()))
			}
		}
	}
}

func (c *Control) read(ctx context.Context) {
	ticker := time.NewTicker(askInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.ask(ctx)
		}
	}
}

// ask reads what was revoked since the last question, and has Redis hold again what it has lost.
func (c *Control) ask(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	began := time.Now()
	news, everything, err := c.from.Next(within)
	if err != nil {
		if ctx.Err() == nil {
			c.opts.Failed(err)
		}
		return
	}
	if len(news) > 0 {
		c.opts.Uses.Revoke(news)
		c.held.Set(float64(c.opts.Uses.Forget()))
	}
	if lost := c.opts.Uses.Beyond(news); everything && len(lost) > 0 {
		if err := c.stream.Restore(within, lost); err != nil {
			c.from.Again() // this gateway holds them, and tries again
			c.opts.Failed(err)
		} else {
			c.opts.Logger.Warn("Redis had lost revocations, and holds them again", "revocations", len(lost))
		}
	}
	c.look(began)
}

// Revoke revokes credentials on all gateways, and on this one before it returns. Its errors are those of stream.Stream.Revoke.
func (c *Control) Revoke(ctx context.Context, r wire.Revocation) (wire.Revocation, error) {
	r, err := c.stream.Revoke(ctx, r)
	if err == nil || errors.Is(err, engine.ErrUnreplicated) {
		c.opts.Uses.Revoke([]wire.Revocation{r})
	}
	return r, err
}
