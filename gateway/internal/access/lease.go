package access

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// A lease is an answer to a request that ends with the credentials of who asks.
type lease struct {
	http.ResponseWriter
	cancel context.CancelFunc // of the request's context

	mu   sync.Mutex
	over bool // it was ended, or is answered
	last bool // it is not ended
}

// end ends the answer: what is being written fails.
func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.last {
		return
	}
	l.over = true
	l.cancel()
	// An error says that the connection has no deadlines: it ends with what is read.
	_ = http.NewResponseController(l.ResponseWriter).SetWriteDeadline(time.Now())
}

func (l *lease) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.cancel()
}

// errEnded is what one gets who would give an ended answer more time.
var errEnded = errors.New("the answer has ended with its credentials")

// SetReadDeadline is http.ResponseController's.
func (l *lease) SetReadDeadline(t time.Time) error {
	return l.set(func(c *http.ResponseController) error { return c.SetReadDeadline(t) })
}

// SetWriteDeadline is http.ResponseController's. Once the answer has ended there is no later one.
func (l *lease) SetWriteDeadline(t time.Time) error {
	return l.set(func(c *http.ResponseController) error { return c.SetWriteDeadline(t) })
}

func (l *lease) set(deadline func(*http.ResponseController) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return errEnded
	}
	return deadline(http.NewResponseController(l.ResponseWriter))
}

// Unwrap lets http.ResponseController reach the connection.
func (l *lease) Unwrap() http.ResponseWriter { return l.ResponseWriter }

type leaseKey struct{}

// End ends the answer to a request that Serve handed on, as its credentials' end does.
func End(r *http.Request) {
	if l, ok := r.Context().Value(leaseKey{}).(*lease); ok {
		l.end()
	}
}

// Outlast has a request be answered although it ends its own credentials.
func Outlast(r *http.Request) {
	if l, ok := r.Context().Value(leaseKey{}).(*lease); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.last = true
	}
}

type endedKey struct{}

// Ended gives the handler of an upload why the credentials have ended under it, as Enter's end; nil, which never does,
// where the request is no upload.
func Ended(ctx context.Context) <-chan error {
	ended, _ := ctx.Value(endedKey{}).(chan error)
	return ended
}
