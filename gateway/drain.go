package gateway

import (
	"context"
	"errors"
	"fmt"
)

// ErrAborted says that Stop ended connections whose clients did not take goodbye in
// time. They resume by their cursors elsewhere.
var ErrAborted = errors.New("connections were aborted")

// Stop drains the gateway: it takes no one new, answers the requests that it has, says
// goodbye to every WebSocket and event stream with a time of its own at which to come back, and ends
// those that have not gone after DrainTimeout or when ctx ends. It returns when all
// have ended, nil or an error that wraps ErrAborted. Stopping twice, or concurrently,
// is no error; the later calls return nil when the first does.
func (g *Gateway) Stop(ctx context.Context) error {
	g.mu.Lock()
	was := g.phase
	g.phase = draining
	if was != draining {
		close(g.stopping)
	}
	g.mu.Unlock()
	switch was {
	case draining:
		<-g.stopped
		return nil
	case idle:
		g.redis.stop()
		close(g.stopped)
		return nil
	}
	defer close(g.stopped)

	ctx, cancel := context.WithTimeout(ctx, g.opts.DrainTimeout)
	defer cancel()
	g.hub.Drain()
	gone := make(chan struct{})
	g.serving.Go(func() {
		g.hub.Wait()
		close(gone)
	})
	err := g.server.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("%w: requests that took too long", ErrAborted)
		_ = g.server.Close() // its listener is closed already, which is all that could fail
	}
	select {
	case <-gone:
	case <-ctx.Done():
		if n := g.hub.Abort(); n > 0 {
			err = errors.Join(err, fmt.Errorf("%w: %d did not take goodbye in time", ErrAborted, n))
		}
		<-gone
	}
	close(g.drained)
	g.controlling.Wait()
	g.serving.Wait()
	g.hub.Stop()
	g.sockets.Stop()
	g.redis.stop()
	return err
}
