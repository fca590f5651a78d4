package redistest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// Proxy is a TCP proxy on loopback whose connections can be cut, stalled,
// delayed and refused. An effect has happened when its method returns. Methods may be called
// concurrently.
type Proxy struct {
	t      testing.TB
	addr   string
	target string

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change of what follows
	rewrite  [2]string     // what replies say, and what arrives
	listener net.Listener  // nil while refusing
	links    map[*link]bool
	accepted int
	held     [2]bool // by direction
	delay    time.Duration
	closed   bool

	work sync.WaitGroup // the accept loops and all links
}

// Directions of a link, and indices of Proxy.held.
const (
	toServer = iota
	toClient
)

// chunkBytes is the most that a link carries at once.
const chunkBytes = 32 << 10

// link is one client's connection and the one to the target.
type link struct {
	target  string
	ends    [2]net.Conn // by the direction that writes to it
	writing [2]bool     // under Proxy.mu: bytes are on their way
}

// NewProxy starts a proxy in front of target, a "host:port". It is ended with
// the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	leaktest.Check(t)
	p := &Proxy{t: t, target: target, changed: make(chan struct{}), links: map[*link]bool{}}
	if err := p.listenAnywhere(); err != nil {
		t.Fatalf("starting a proxy to %s: %v", target, err)
	}
	t.Cleanup(p.close)
	return p
}

// listenAnywhere picks a port that no outgoing connection can take while the
// proxy refuses.
func (p *Proxy) listenAnywhere() error {
	var last error
	for range 8 {
		port, err := redisproc.FreePort(p.t.Context())
		if err != nil {
			return err
		}
		p.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if last = p.listen(); last == nil {
			return nil
		}
	}
	return last
}

func (p *Proxy) listen() error {
	l, err := net.Listen("tcp", p.addr) //nolint:noctx // close ends it
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = l
	p.work.Go(func() { p.accept(l) })
	return nil
}

// Addr is the "127.0.0.1:port" to dial instead of the target.
func (p *Proxy) Addr() string { return p.addr }

// URL is the proxy's redis:// URL, database 0.
func (p *Proxy) URL() string { return "redis://" + p.addr + "/0" }

// changeLocked wakes everybody who waits for a condition under mu.
func (p *Proxy) changeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// waitLocked waits, with mu held, until the condition holds, and says whether it
// does: ctx or the proxy's end may come first.
func (p *Proxy) waitLocked(ctx context.Context, holds func() bool) bool {
	for !holds() {
		if p.closed {
			return false
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if ctx.Err() != nil {
			return holds()
		}
	}
	return true
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // closed by Refuse or the test's end
		}
		p.work.Go(func() { p.serve(client) })
	}
}

// serve carries one connection until either side ends it.
func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target) //nolint:noctx // of loopback
	if err != nil {
		reset(client) // the target is down, and the client shall see that
		return
	}
	l := &link{target: target, ends: [2]net.Conn{toServer: server, toClient: client}}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		reset(client)
		reset(server)
		return
	}
	p.links[l] = true
	p.accepted++
	p.changeLocked()
	p.mu.Unlock()

	var both sync.WaitGroup
	for dir := range l.ends {
		both.Go(func() {
			p.carry(l, dir)
			// One side's end is the other's: Redis has no half-closed clients.
			_ = client.Close()
			_ = server.Close()
			p.mu.Lock()
			if p.links[l] {
				delete(p.links, l)
				p.changeLocked() // also wakes the other direction, if it is held
			}
			p.mu.Unlock()
		})
	}
	both.Wait()
}

// carry copies one direction of a link.
func (p *Proxy) carry(l *link, dir int) {
	from, to := l.ends[1-dir], l.ends[dir]
	buf := make([]byte, chunkBytes)
	for {
		n, err := from.Read(buf)
		p.lag(l)
		for rest := p.rewritten(buf[:n], dir); len(rest) > 0; {
			if !p.mayWrite(l, dir) {
				return
			}
			sent, werr := to.Write(rest)
			rest = rest[sent:]
			p.wrote(l, dir)
			var timeout net.Error
			if werr != nil && (!errors.As(werr, &timeout) || !timeout.Timeout()) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// lag waits for as long as a chunk is to be delayed, or until the link is cut.
func (p *Proxy) lag(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delay == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.delay)
	defer cancel()
	p.waitLocked(ctx, func() bool { return !p.links[l] })
}

// mayWrite waits while the direction is held; false when the link was cut.
func (p *Proxy) mayWrite(l *link, dir int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waitLocked(context.Background(), func() bool { return !p.held[dir] || !p.links[l] })
	if p.closed || !p.links[l] {
		return false
	}
	_ = l.ends[dir].SetWriteDeadline(time.Time{}) // a stall may have set one
	l.writing[dir] = true
	return true
}

func (p *Proxy) wrote(l *link, dir int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.writing[dir] = false
	p.changeLocked()
}

// CutAll resets all connections, on both sides, and returns how many there were.
// Bytes on their way are lost. New connections are accepted.
func (p *Proxy) CutAll() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.links)
	for l := range p.links {
		delete(p.links, l)
		// Both first: the end of one has a carrier close the other.
		for _, conn := range l.ends {
			abrupt(conn)
		}
		for _, conn := range l.ends {
			_ = conn.Close()
		}
	}
	p.changeLocked()
	return n
}

// abrupt makes the connection's Close send an RST instead of an orderly end.
func abrupt(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

func reset(conn net.Conn) {
	abrupt(conn)
	_ = conn.Close()
}

// Stall holds all bytes back, in both directions: connections stay open and
// nothing arrives. New connections are accepted, and stalled too.
func (p *Proxy) Stall() { p.hold(toServer, toClient) }

// StallReplies holds back only what the server sends: commands are executed, and
// their replies do not arrive. Followed by CutAll, the replies are lost.
func (p *Proxy) StallReplies() { p.hold(toClient) }

func (p *Proxy) hold(dirs ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, dir := range dirs {
		p.held[dir] = true
		for l := range p.links {
			// A write that waits for its reader returns what it has sent.
			_ = l.ends[dir].SetWriteDeadline(time.Unix(1, 0))
		}
	}
	p.waitLocked(context.Background(), func() bool {
		for l := range p.links {
			for _, dir := range dirs {
				if l.writing[dir] {
					return false
				}
			}
		}
		return true
	})
}

// Unstall lets the bytes go on; none is lost.
func (p *Proxy) Unstall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = [2]bool{}
	p.changeLocked()
}

// Delay makes what is read from now on arrive d later, in either direction, and no
// connection faster than 32 KiB in d: a network that is far and narrow. 0 ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Refuse closes the listener: who dials is refused by the kernel. Connections
// that are open stay so.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// Accept ends Refuse, at the same address.
func (p *Proxy) Accept() {
	p.t.Helper()
	p.mu.Lock()
	listening := p.listener != nil
	p.mu.Unlock()
	if listening {
		return
	}
	if err := p.listen(); err != nil {
		p.t.Errorf("the proxy cannot listen at %s again: %v", p.addr, err)
	}
}

// Open returns how many connections are open.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Accepted returns how many connections there have been, the open ones included.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// AwaitAccepted waits until there have been n connections, and reports whether
// that was before ctx ended. To wait for a client's return after a cut, wait for
// one more than [Proxy.Accepted] gave before it.
func (p *Proxy) AwaitAccepted(ctx context.Context, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waitLocked(ctx, func() bool { return p.accepted >= n })
}

// AwaitOpen waits until exactly n connections are open, and reports whether that
// was before ctx ended.
func (p *Proxy) AwaitOpen(ctx context.Context, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waitLocked(ctx, func() bool { return len(p.links) == n })
}

// close ends everything and waits for the goroutines.
func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Refuse()
	p.CutAll()
	p.work.Wait()
}
