package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/worker"
)

// lastRecords is how long a gateway that stops goes on serving while its process's
// worker hands jobs back, so that watchers see where their jobs stand before goodbye.
const lastRecords = 2 * time.Second

// A service is the gateway of a process and, with up, its worker. Both are on one
// engine, one bucket and one address.
type service struct {
	session  *session.Session
	auth     auth.Authenticator
	listener *net.TCPListener
	gateway  *gateway.Gateway
	worker   *worker.Worker // nil: others work
	grace    time.Duration  // how long the worker's Stop may take
	queues   []string
}

// openService opens everything that a gateway needs, and the worker if there is to be
// one. Nothing is started for an address that will not do. The caller closes it.
func (a *app) openService(cmd *cobra.Command, working bool) (s *service, err error) {
	c, err := session.Settings(cmd)
	if err != nil {
		return nil, err
	}
	s = &service{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.listener, err = listen(c.Listen.Addr, "--addr", c.Auth.Site()); err != nil {
		return s, err
	}
	log := c.Log.Logger(a.err, slog.LevelDebug)
	if s.auth, err = c.Auth.Open(cmd.Context(), log); err != nil {
		return s, err
	}
	if working {
		s.session, err = session.Open(cmd.Context(), c, log)
	} else {
		s.session, err = session.OpenLasting(cmd)
	}
	if err != nil {
		return s, err
	}
	s.session.Log = log
	if s.session.Blobs, err = session.OpenBlobs(cmd.Context(), c); err != nil {
		return s, err
	}
	o := c.Gateway
	o.Registry = prometheus.NewRegistry()
	o.Engine, o.Auth, o.Site, o.Logger = s.session.Engine, s.auth, c.Auth.Site(), log
	o.Blobs, o.BlobDir, o.BlobBucket = s.session.Blobs.Bucket, s.session.Blobs.Dir, s.session.Blobs.Name
	o.BlobsReady, o.PageTopic = s.session.Blobs.Ready, c.Topic
	for _, p := range c.Processors {
		if len(p.Extensions) > 0 {
			o.PageUploads = append(o.PageUploads, gateway.PageUpload{Type: p.Type, Extensions: p.Extensions})
		}
	}
	if s.gateway, err = gateway.New(o); err != nil {
		return s, err
	}
	if working {
		s.queues = servedQueues(c)
		s.worker, s.grace, err = session.NewWorker(s.session, o.Registry, s.queues...)
	}
	return s, err
}

// close gives back what was opened. What runs has ended by then.
func (s *service) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) { // the gateway closes it too
			errs = append(errs, err)
		}
	}
	if s.session != nil {
		errs = append(errs, s.session.Close())
	}
	if s.auth != nil {
		errs = append(errs, s.auth.Close())
	}
	return errors.Join(errs...)
}

// listen takes the address, which the site must serve. It is resolved once, so
// that what was allowed is what is listened on. Errors name the flag that sets another.
func listen(addr, flag string, site auth.Site) (*net.TCPListener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; name another address with %s", addr, err, flag)
	}
	if err := site.Serves(resolved); err != nil {
		return nil, session.Usage("listen on %s: %w", addr, err)
	}
	l, err := net.ListenTCP("tcp", resolved)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another program has this port, maybe another Tidemark; "+
			"name a free one with %s, such as %s %s, or port 0 for any", addr, flag, flag, beside(resolved))
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: this user may not listen on port %d; name one above 1023 with %s", addr, resolved.Port, flag)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w; name another address with %s", addr, err, flag)
	}
	return l, nil
}

// beside is the address with the next port.
func beside(a *net.TCPAddr) string {
	next := *a
	next.Port = a.Port%65535 + 1
	return next.String()
}

// servedQueues are the queues of a worker of the command line: those that are set, and
// those of the processors.
func servedQueues(c *config.Config) []string {
	served := c.Worker.Queues
	for _, p := range c.Processors {
		if !slices.Contains(served, p.Queue) {
			served = append(slices.Clip(served), p.Queue)
		}
	}
	return served
}

// run serves until ctx ends, or a part fails, and drains. ready is called once, when
// clients and jobs are taken.
func (s *service) run(ctx context.Context, ready func()) error {
	if s.worker != nil {
		if err := s.worker.Start(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // told to stop before anything began
			}
			return fmt.Errorf("start the worker: %w", err)
		}
	}
	serving, stopServing := context.WithCancel(context.Background())
	defer stopServing()
	accepting, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.gateway.Run(serving, &announced{Listener: s.listener, accepting: accepting})
	}()
	var failure error
	select {
	case <-accepting:
		s.session.Log.Info("serving", "addr", s.listener.Addr(), "redis", s.session.Redis.Describe(), "data", s.session.Config.Data.Dir)
		if s.worker != nil {
			s.session.Log.Info("taking jobs", jobsTaken(s.session.Config, s.queues)...)
		}
		ready()
		select {
		case <-ctx.Done():
		case failure = <-ended:
			ended <- nil // it has ended, for the next one that waits
		}
	case failure = <-ended:
		ended <- nil
	}
	if failure == nil {
		s.session.Log.Info("draining; a second signal ends the process at once")
	} else {
		s.session.Log.Error("the gateway has failed; draining", "error", failure)
	}
	err := errors.Join(s.drain(stopServing), s.cutShort(<-ended))
	if failure != nil {
		return errors.Join(failure, err)
	}
	if err == nil {
		s.session.Log.Info("drained")
	}
	return err
}

// drain stops the worker and then the gateway, so that the records of jobs that are
// handed back still reach those who watch them. A worker that takes longer than
// lastRecords does not keep clients from being told to go: then both stop at once.
func (s *service) drain(stopServing context.CancelFunc) error {
	defer stopServing()
	if s.worker == nil {
		return nil
	}
	soon := time.AfterFunc(lastRecords, func() {
		s.session.Log.Warn("jobs take long to go back to their queues: clients are sent away before")
		stopServing()
	})
	defer soon.Stop()
	// Not the context whose end is why it stops.
	ctx, cancel := context.WithTimeout(context.Background(), s.grace)
	defer cancel()
	if err := s.worker.Stop(ctx); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// cutShort takes it for a good end that clients were cut off after the time that a drain
// gives them: uploads and WebSockets go on where they were.
func (s *service) cutShort(err error) error {
	if !errors.Is(err, gateway.ErrAborted) {
		return err
	}
	s.session.Log.Warn("clients were cut off, and go on when they come back", "error", err)
	return nil
}

// announced is a listener that tells when its connections are taken.
type announced struct {
	net.Listener
	once      sync.Once
	accepting chan struct{}
}

func (l *announced) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.accepting) })
	return l.Listener.Accept()
}
