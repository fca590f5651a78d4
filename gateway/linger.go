package gateway

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// mostRest is how much of a body is read after the answer.
	mostRest = 64 << 20
	// keptRest is how much net/http reads of a body before the answer, to keep the
	// connection for the next request.
	keptRest = 256 << 10
	// stoppingTime is for how long a body is read while the gateway stops.
	stoppingTime = time.Second
)

// lingered has an answer arrive that comes before the request's body has, as most refusals
// do. To close a connection that holds unread data resets it, and the reset overtakes the
// answer: a client that is still sending hears of a lost connection, and not of the reason.
// So the rest of the body is read once the answer is out, until it ends, for at most
// RequestTimeout and mostRest, and less while the gateway stops.
//
// net/http alone closes at once when the client asked for that, as proxies do, and after
// half a second, without reading, when the rest is long. A short rest of a known length is
// left to it.
func (g *Gateway) lingered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 || r.ProtoMajor != 1 {
			next.ServeHTTP(w, r)
			return
		}
		l := &lingering{ResponseWriter: w, body: body{ReadCloser: r.Body, rest: r.ContentLength, kept: !r.Close}}
		r = r.WithContext(r.Context()) // a copy: the server goes by the body that it gave
		r.Body = &l.body
		next.ServeHTTP(l, r)
		l.begin()
		if l.closing {
			l.finish(g)
		}
	})
}

// A body knows what is left of it.
type body struct {
	io.ReadCloser
	rest int64 // bytes; negative: not known
	end  bool  // it was read to its end
	kept bool  // the connection may serve another request
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.rest > 0 {
		b.rest -= int64(n)
	}
	switch {
	case err == io.EOF:
		b.end = true
	case err != nil:
		b.kept = false
	}
	return n, err
}

// Close implements io.Closer. The server closes the body once the rest is read.
func (b *body) Close() error { return nil }

// lingering is the answer to a request with a body.
type lingering struct {
	http.ResponseWriter
	body    body
	begun   bool // the answer has
	closing bool // it says that the connection closes, and the rest is to be read

	mu   sync.Mutex
	over bool // the handler has returned
}

// begin decides, with the answer's header, what becomes of the connection.
func (l *lingering) begin() {
	if l.begun {
		return
	}
	l.begun = true
	l.closing = !l.body.end && l.body.rest != 0 && (!l.body.kept || l.body.rest < 0 || l.body.rest > keptRest)
	if l.closing {
		l.Header().Set("Connection", "close")
	}
}

func (l *lingering) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		l.begin()
	}
	l.ResponseWriter.WriteHeader(status)
}

func (l *lingering) Write(b []byte) (int, error) {
	l.begin()
	return l.ResponseWriter.Write(b)
}

// SetReadDeadline is http.ResponseController's. What a handler has left behind does not end
// lingering.
func (l *lingering) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil
	}
	return http.NewResponseController(l.ResponseWriter).SetReadDeadline(t)
}

// Unwrap lets http.ResponseController reach the connection.
func (l *lingering) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// finish sends the answer, and reads the rest of the body.
func (l *lingering) finish(g *Gateway) {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	c := http.NewResponseController(l.ResponseWriter)
	if c.Flush() != nil || c.SetReadDeadline(time.Now().Add(g.opts.RequestTimeout)) != nil {
		return // the client has gone, or nothing would bound the time
	}
	read := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-g.stopping:
			_ = c.SetReadDeadline(time.Now().Add(min(stoppingTime, g.opts.DrainTimeout/2)))
		case <-read:
		}
	})
	_, _ = io.CopyN(io.Discard, &l.body, mostRest) // its end, or the client's
	close(read)
	watching.Wait()
}
