package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/olahol/melody"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/internal/upload"
)

// ErrStopped says that the gateway was stopped; it cannot be started again.
var ErrStopped = errors.New("the gateway is stopped")

// A Gateway serves clients. New makes one, Start and Stop bound its life. Its methods
// may be called concurrently.
type Gateway struct {
	opts     Options
	hub      *hub
	melody   *melody.Melody
	metrics  *metrics
	problems *problem.Writer
	uploads  *upload.Server // nil: there are none
	storage  storage
	handler  http.Handler
	server   *http.Server

	stopping chan struct{} // closed when the drain begins
	stopped  chan struct{} // closed when it is over
	serving  sync.WaitGroup
	failure  error // why it does not serve any more; set before failed is closed
	failed   chan struct{}

	mu          sync.Mutex
	phase       phase
	sessions    map[*session]struct{}
	ended       sync.WaitGroup // of sessions
	connections map[string]int // by subject

	sessionCount atomic.Int64
}

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
		opts: o, sessions: map[*session]struct{}{}, connections: map[string]int{},
		stopping: make(chan struct{}), stopped: make(chan struct{}), failed: make(chan struct{}),
	}
	var err error
	if g.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.problems = problem.NewWriter(o.Logger, g.metrics.problems)
	if g.uploads, err = newUploads(o, g.problems, g.stopping); err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.hub = newHub(o, g.metrics)
	g.melody = g.newMelody()
	g.handler, err = g.routes()
	if err != nil {
		return nil, fmt.Errorf("new gateway: %w", err)
	}
	g.server = &http.Server{
		Handler:           g.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    2 * maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return g, nil
}

// newUploads makes what takes uploads; nil where there are none.
func newUploads(o Options, problems *problem.Writer, stopping <-chan struct{}) (*upload.Server, error) {
	if o.Blobs == nil || o.BlobDir == "" {
		return nil, nil
	}
	return upload.New(upload.Options{
		Engine: o.Engine, Dir: o.BlobDir, MaxBytes: o.UploadBytes, PerPrincipal: o.UploadsPerPrincipal, Idle: o.UploadIdle,
		ReceiveShare: o.ReceiveShare, SweepInterval: o.SweepInterval, StallTimeout: o.StallTimeout, RequestTimeout: o.RequestTimeout,
		Problems: problems, Registry: o.Registry, Logger: o.Logger, Stopping: stopping,
	})
}

// Handler is the gateway's HTTP handler, for a server of one's own. It answers once
// Start has returned. The server must not have a read or write time-out, which would
// end its WebSockets, and must serve only addresses that Options.Auth allows.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Start serves clients: those that l accepts, and those that come to Handler. l may
// be nil, for Handler alone, and is closed by Stop, or at once if it is refused.
// Starting twice is no error if the second has no listener. Errors to branch on:
// ErrStopped, and those of Options.Auth for an address that it does not serve.
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
		if err := g.opts.Auth.Serves(l.Addr()); err != nil {
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
	g.hub.start(runtime.GOMAXPROCS(0), g.opts.CatchUps)
	if g.uploads != nil {
		g.serving.Go(g.uploads.Run)
	}
	if text := g.opts.Auth.Announcement(); text != "" {
		g.opts.Logger.Warn(text)
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

// enter makes a session one that Stop waits for; false when it does not take any more.
func (g *Gateway) enter(s *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != running {
		return false
	}
	g.sessions[s] = struct{}{}
	g.ended.Add(1)
	g.sessionCount.Add(1)
	g.metrics.connections.Inc()
	return true
}

func (g *Gateway) exit(s *session) {
	if p := s.who(); p != nil {
		g.uncount(p.Subject)
	}
	g.mu.Lock()
	delete(g.sessions, s)
	g.mu.Unlock()
	g.sessionCount.Add(-1)
	g.metrics.connections.Dec()
	g.ended.Done()
}

// opaque names a principal to its client, so that it sees when it is another one's.
func opaque(subject string) string {
	sum := sha256.Sum256([]byte("principal " + subject))
	return hex.EncodeToString(sum[:8])
}

func newID() string { return rand.Text()[:16] }
