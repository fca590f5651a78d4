package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrAborted says that Stop ended connections whose clients did not take goodbye in
// time. They resume by their cursors elsewhere.
var ErrAborted = errors.New("connections were aborted")

// Stop drains the gateway: it takes no one new, answers the requests that it has, says
// goodbye to every WebSocket with a time of its own at which to come back, and ends
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
	sessions := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		sessions = append(sessions, s)
	}
	g.mu.Unlock()
	switch was {
	case draining:
		<-g.stopped
		return nil
	case idle:
		close(g.stopped)
		return nil
	}
	defer close(g.stopped)

	ctx, cancel := context.WithTimeout(ctx, g.opts.DrainTimeout)
	defer cancel()
	for _, s := range sessions {
		s.goodbye()
	}
	gone := make(chan struct{})
	g.serving.Go(func() {
		g.ended.Wait()
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
		err = errors.Join(err, g.abort())
		<-gone
	}
	g.serving.Wait()
	g.hub.stop()
	// Nothing is left in it: this only has it refuse what may still come.
	_ = g.melody.Close()
	return err
}

// goodbye ends a session that may come back.
func (s *session) goodbye() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.shut(closeRestart, "the gateway is stopping", goodbyeFrame("draining", s.g.reconnectAfter().Round(time.Millisecond)))
	}
}

func (g *Gateway) abort() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for s := range g.sessions {
		s.mu.Lock()
		if s.conn != nil {
			s.conn.abort()
			n++
		}
		s.mu.Unlock()
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d did not take goodbye in time", ErrAborted, n)
}
