package ws

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Lingering, after a close frame: how long, and how much is read.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// conn is a socket under Melody. Closing a TCP connection that holds unread data
// resets it, and the reset overtakes the close frame: the client would see 1006
// instead of the reason. So Close only says that nothing more is sent, the reader goes
// on for a while, and finish closes.
type conn struct {
	net.Conn
	ending atomic.Bool
	over   chan struct{} // closed with ending

	// arrived hears of everything that is read; false ends the reading.
	arrived func(p []byte) bool

	slack    time.Duration // by which a write's deadline may be late
	deadline time.Time     // of writes; guarded as they are, by the WebSocket's turn to write
}

// Read implements net.Conn. Once arrived has refused something nothing more is read until
// the connection has ended: the close frame goes out, and what the client sends stays with
// its kernel.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.arrived(p[:n]) {
		<-c.over
		return 0, io.EOF
	}
	return n, err
}

// end reports whether this call is the one that ends the connection.
func (c *conn) end() bool {
	if c.ending.Swap(true) {
		return false
	}
	close(c.over)
	return true
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if !c.end() {
		return nil
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return c.Conn.Close()
	}
	return c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
}

// SetReadDeadline implements net.Conn. A client's pong does not prolong lingering.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.ending.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn. Melody sets one before every frame, and each
// would move a timer of the runtime, which is a tenth of a small frame's cost. So it sets one a little
// later than Melody asks for, which also holds for the frames that follow soon.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if early := c.deadline.Sub(t); early >= 0 && early <= c.slack {
		return nil
	}
	c.deadline = t
	if !t.IsZero() {
		c.deadline = t.Add(c.slack)
	}
	return c.Conn.SetWriteDeadline(c.deadline)
}

// finish ends the connection when its reader has returned.
func (c *conn) finish() {
	_ = c.Close()
	// Reads until the client has closed too or the deadline; errors end it as well.
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
	c.Conn.Close()
}

// abort ends the connection at once, whatever is unsent.
func (c *conn) abort() {
	c.end()
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the kernel drops what is unsent
	}
	c.Conn.Close()
}

// hijacked is a response whose connection was taken from the HTTP server already, so
// that a socket is served by a goroutine of its own and the server's goroutine, its
// stack and its buffers (some 20 KiB a socket) are free.
type hijacked struct {
	conn *conn
	in   *bufio.Reader
}

func (h *hijacked) Header() http.Header         { return http.Header{} }
func (h *hijacked) Write(b []byte) (int, error) { return len(b), nil }
func (h *hijacked) WriteHeader(int)             {}

func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(h.in, bufio.NewWriterSize(h.conn, 512)), nil
}
