package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/api"
	"github.com/tidemark-dev/tidemark/gateway/internal/control"
	"github.com/tidemark-dev/tidemark/gateway/internal/feed"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/internal/stream"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
	"github.com/tidemark-dev/tidemark/gateway/internal/upload"
	"github.com/tidemark-dev/tidemark/gateway/internal/ws"
	"github.com/tidemark-dev/tidemark/internal/multipart"
)

// ErrStopped says that the gateway was stopped; it cannot be started again.
var ErrStopped = errors.New("the gateway is stopped")

// A Gateway serves clients. New makes one, Start and Stop bound its life. Its methods
// may be called concurrently.
type Gateway struct {
	opts     Options
	hub      *stream.Hub
	sockets  *ws.Server
	feeds    *feed.Server
	gate     *access.Gate
	uses     *access.Uses
	control  *control.Control // nil in mode dev, which has no credentials
	uploads  *upload.Server   // nil: there are none
	cleaner  *cleaner
	api      *api.Server
	problems *problem.Writer
	refusals *problem.Refusals
	metrics  *metrics
	ready    func(context.Context) (writes bool, err error)
	redis    *redisWatch
	patterns []string // of all routes
	handler  http.Handler
	server   *http.Server

	stopping    chan struct{} // closed when the drain begins
	stopped     chan struct{} // closed when it is over
	drained     chan struct{} // closed when all clients have gone
	serving     sync.WaitGroup
	controlling sync.WaitGroup // until drained is closed
	failure     error          // why it does not serve any more; set before failed is closed
	failed      chan struct{}

	mu    sync.Mutex
	phase phase
}

// heartbeat is the longest time for which an event stream or a poll sends nothing.
const heartbeat = 15 * time.Second

type phase int

const (
	idle phase = iota
	running
	draining
)

// New makes a gateway. Its error wraps engine.ErrInvalid and names the fields of o
// that are out of bounds.
func New(o Options) (*Gateway, error) {
	if o.Engine == nil {
		return nil, fmt.Errorf("new gateway: %w Engine: it is required; open one with engine.Open", engine.ErrInvalid)
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	o = o.Defaults()
	g := &Gateway{
		opts: o, stopping: make(chan struct{}), stopped: make(chan struct{}), drained: make(chan struct{}), failed: make(chan struct{}),
	}
	var err error
	if g.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.uses = access.NewUses(g.metrics.useEnded)
	g.gate = access.NewGate(o.Auth, g.uses, o.AuthTimeout, o.Logger)
	g.ready = readiness(o.Engine)
	g.redis = newRedisWatch(g.ready, o.Logger)
	g.refusals = problem.NewRefusals(o.Logger)
	g.problems = problem.NewWriter(o.Logger, g.metrics.problems, g.redis.note)
	allowed := allowance(o.EnqueueTypes, runtime.Of(o.Engine).DefaultQueue())
	if g.uploads, err = newUploads(o, allowed, g.problems, g.stopping); err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.cleaner = &cleaner{runtime: runtime.Of(o.Engine), blobs: o.Blobs, dir: o.BlobDir, uploads: g.uploads, log: o.Logger}
	if err := newQueueMetrics(o.Registry, o.Engine.Queues, g.redis.note); err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.hub, err = stream.New(stream.Options{
		Engine: o.Engine, Connections: o.ConnectionsPerPrincipal, Subscriptions: o.SubscriptionsPerConnection,
		WindowFrames: o.WindowFrames, WindowBytes: o.WindowBytes, PingInterval: o.PingInterval, FilterLag: o.FilterLag,
		CatchUps: o.CatchUps, ReconnectSpread: o.ReconnectSpread, Uses: g.uses, Failed: g.redis.note, Registry: o.Registry, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.sockets = ws.New(ws.Options{
		Open: g.openSession, Gate: g.gate,
		MessageBytes: o.MessageBytes, MessagesPerSecond: o.MessagesPerSecond, MessageBurst: o.MessageBurst, SendBufferBytes: o.SendBufferBytes,
		PingInterval: o.PingInterval, PongTimeout: o.PongTimeout, StallTimeout: o.StallTimeout, AuthTimeout: o.AuthTimeout,
		Problems: g.problems, Refusals: g.refusals, Logger: o.Logger,
	})
	g.feeds = feed.New(feed.Options{
		Open: g.openFeed, Gate: g.gate, Uses: g.uses,
		Streams: o.StreamsPerCredential, SendBufferBytes: o.SendBufferBytes, Heartbeat: min(o.PingInterval, heartbeat), StallTimeout: o.StallTimeout,
		RequestTimeout: o.RequestTimeout, Problems: g.problems, Refusals: g.refusals,
	})
	var revoke func(context.Context, wire.Revocation) (wire.Revocation, error)
	if _, everybody := o.Auth.(auth.Dev); !everybody {
		g.control, err = control.New(control.Options{
			Engine: o.Engine, Uses: g.uses, Blindness: o.ControlTimeout, Failed: g.redis.note, Registry: o.Registry, Logger: o.Logger,
		})
		if err != nil {
			return nil, fmt.Errorf("new gateway: %w", err)
		}
		revoke = g.control.Revoke
	}
	rt := runtime.Of(o.Engine)
	g.api = api.New(api.Options{
		Engine: o.Engine, Blobs: o.Blobs, UploadOf: rt.UploadOf, Removed: rt.WasRemoved, Clean: g.cleaner.clean,
		Allowed: allowed, Revoke: revoke, StallTimeout: o.StallTimeout, DownloadLease: o.DownloadLease, Problems: g.problems, Logger: o.Logger,
	})
	g.handler, err = g.routes()
	if err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.server = &http.Server{
		Handler:           g.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    2 * maxHeaderBytes,
		ConnContext:       feed.WithConn,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return g, nil
}

// openSession joins a socket to a session of the hub.
func (g *Gateway) openSession(t transport.Transport) ws.Session {
	if s := g.hub.Open(t); s != nil {
		return s
	}
	return nil // of the interface: there is none
}

// openFeed joins an answer to a session of the hub.
func (g *Gateway) openFeed(t transport.Transport) feed.Session {
	if s := g.hub.Open(t); s != nil {
		return s
	}
	return nil // of the interface: there is none
}

// newUploads makes what takes uploads; nil where there are none.
func newUploads(o Options, allowed access.Allowance, problems *problem.Writer, stopping <-chan struct{}) (*upload.Server, error) {
	if o.Blobs == nil || o.BlobDir == "" && o.BlobBucket == "" {
		return nil, nil
	}
	u, err := upload.New(upload.Options{
		Engine: o.Engine, Dir: o.BlobDir, Blobs: o.Blobs, Bucket: o.BlobBucket, MaxBytes: o.UploadBytes, PerPrincipal: o.UploadsPerPrincipal, Idle: o.UploadIdle,
		ReceiveShare: o.ReceiveShare, SweepInterval: o.SweepInterval, StallTimeout: o.StallTimeout, RequestTimeout: o.RequestTimeout,
		Allowed: allowed, Problems: problems, Registry: o.Registry, Logger: o.Logger, Stopping: stopping,
	})
	if errors.Is(err, multipart.ErrUnconditional) {
		o.Logger.Warn("this gateway takes no uploads: they need an S3 store with conditional writes (If-Match, If-None-Match)", "error", err)
		return nil, nil
	}
	return u, err
}

// Handler is the gateway's HTTP handler, for a server of one's own. It answers once
// Start has returned. The server must not have a read or write time-out, which would
// end its WebSockets, and must serve only addresses that Options.Site serves.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Start serves clients: those that l accepts, and those that come to Handler. l may
// be nil, for Handler alone, and is closed by Stop, or at once if it is refused.
// Starting twice is no error if the second has no listener. Errors to branch on:
// ErrStopped, and auth.ErrNotLoopback for an address that Options.Site
// does not serve.
func (g *Gateway) Start(l net.Listener) error {
	if err := g.start(l); err != nil {
		if l != nil {
			l.Close()
		}
		return fmt.Errorf("start gateway: %w", err)
	}
	return nil
}

func (g *Gateway) start(l net.Listener) error {
	if l != nil {
		if err := g.opts.Site.Serves(l.Addr()); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.phase == draining:
		return ErrStopped
	case g.phase == running && l != nil:
		return errors.New("it serves already")
	case g.phase == running:
		return nil
	}
	g.phase = running
	g.hub.Start()
	if g.uploads != nil {
		g.serving.Go(g.uploads.Run)
	}
	g.serving.Go(func() { g.cleaner.run(g.stopping) })
	if g.opts.Blobs != nil {
		g.serving.Go(func() { g.api.Run(g.stopping) })
	}
	if text := g.opts.Auth.Announcement(); text != "" {
		g.opts.Logger.Warn(text)
	}
	if g.control != nil {
		g.control.Open()
		g.controlling.Go(func() { g.control.Run(g.drained) })
		if len(g.opts.EnqueueTypes) == 0 {
			g.opts.Logger.Warn("only admins can enqueue jobs: gateway.enqueue.types names no job type that other users may")
		}
	}
	if l != nil {
		g.serving.Go(func() {
			if err := g.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				g.failure = err
				close(g.failed)
			}
		})
	}
	return nil
}

// Run starts the gateway on l, waits until ctx ends, and stops it. It returns nil
// after a start and a drain that succeeded, and the listener's error if that fails.
func (g *Gateway) Run(ctx context.Context, l net.Listener) error {
	if err := g.Start(l); err != nil {
		return err
	}
	var err error
	select {
	case <-ctx.Done():
	case <-g.stopping: // someone else stops it
	case <-g.failed:
		err = fmt.Errorf("serve %s: %w", l.Addr(), g.failure)
	}
	return errors.Join(err, g.Stop(context.WithoutCancel(ctx)))
}
