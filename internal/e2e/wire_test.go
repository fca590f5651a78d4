package e2e

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// A wire is a TCP proxy in front of the gateway, at an address that stays. Methods may
// be called concurrently.
type wire struct {
	t            *testing.T
	addr, target string
	work         sync.WaitGroup
	over         chan struct{} // closed at the test's end

	bell
	listener net.Listener // under bell, as what follows; nil while it refuses
	links    map[*link]bool
	rate     int     // bytes a second that a connection may send; 0 is unbounded
	sent     int64   // bytes from clients, all connections together
	cutAt    []int64 // values of sent, rising, at which all connections are cut
	cuts     int     // how many times that was
}

// A link is a client's connection and the one behind it.
type link struct {
	client, gateway net.Conn
	mute            bool // under bell: it swallows what either side sends
}

// newWire starts a proxy in front of target. It ends with the test.
func newWire(t *testing.T, target string) *wire {
	t.Helper()
	port, err := redisproc.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, target: target, links: map[*link]bool{}, over: make(chan struct{})}
	w.addr = (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
	w.restore()
	t.Cleanup(func() {
		close(w.over)
		w.sever()
		w.work.Wait()
	})
	return w
}

func (w *wire) url() string { return "http://" + w.addr }

// restore takes connections again after sever.
func (w *wire) restore() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		w.t.Fatalf("wire: %v", err)
	}
	w.change(func() { w.listener = l })
	w.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.work.Go(func() { w.carry(c) })
		}
	})
}

// sever resets all connections, on both sides, and refuses new ones until restore.
func (w *wire) sever() {
	w.change(func() {
		if w.listener != nil {
			_ = w.listener.Close()
			w.listener = nil
		}
		w.cutLocked()
	})
}

func (w *wire) cutLocked() {
	for l := range w.links {
		for _, c := range []net.Conn{l.client, l.gateway} {
			_ = c.(*net.TCPConn).SetLinger(0) // a reset, not an orderly end
		}
		_ = l.client.Close()
		_ = l.gateway.Close()
		delete(w.links, l)
	}
}

// swallow leaves all connections open and drops what either side sends on them. New ones are not
// concerned.
func (w *wire) swallow() {
	w.change(func() {
		for l := range w.links {
			l.mute = true
		}
	})
}

func (w *wire) swallows(l *link) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.mute
}

// throttle bounds what each connection may send.
func (w *wire) throttle(bytesPerSecond int) {
	w.change(func() { w.rate = bytesPerSecond })
}

// cutAfter has all connections cut whenever clients have sent so many bytes more.
func (w *wire) cutAfter(points []int64) {
	w.change(func() {
		w.cuts, w.cutAt = 0, nil
		for _, p := range points {
			w.cutAt = append(w.cutAt, w.sent+p)
		}
	})
}

// carried is how many bytes clients have sent, and how many of the cuts there were.
func (w *wire) carried() (sent int64, cuts int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent, w.cuts
}

func (w *wire) carry(client net.Conn) {
	gateway, err := net.Dial("tcp", w.target)
	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0)
		_ = client.Close()
		return
	}
	l := &link{client: client, gateway: gateway}
	w.change(func() {
		w.links[l] = true
		if w.listener == nil { // severed meanwhile
			w.cutLocked()
		}
	})
	var both sync.WaitGroup
	both.Go(func() { w.copy(l, client, gateway, true) })
	both.Go(func() { w.copy(l, gateway, client, false) })
	both.Wait()
	w.change(func() { delete(w.links, l) })
}

// copy carries one direction until either side ends.
func (w *wire) copy(l *link, from, to net.Conn, counted bool) {
	defer func() {
		_ = l.client.Close()
		_ = l.gateway.Close()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if counted && !w.admit(l, n) {
				return
			}
			if !w.swallows(l) {
				if _, werr := to.Write(buf[:n]); werr != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// admit counts bytes that are about to be sent on, at the rate; false when they are
// where the wire is cut.
func (w *wire) admit(l *link, n int) bool {
	alive, rate := true, 0
	w.change(func() {
		w.sent += int64(n)
		if len(w.cutAt) > 0 && w.sent >= w.cutAt[0] {
			for len(w.cutAt) > 0 && w.sent >= w.cutAt[0] {
				w.cutAt = w.cutAt[1:]
			}
			w.cuts++
			w.cutLocked()
		}
		alive, rate = w.links[l], w.rate
	})
	if alive && rate > 0 && n > 1<<10 { // what is short is no upload
		select {
		case <-time.After(time.Duration(n) * time.Second / time.Duration(rate)):
		case <-w.over:
		}
	}
	return alive
}
