package redistest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rawConn is a plain connection through the proxy, carried to the target.
func rawConn(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	before := p.Accepted()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if !p.AwaitAccepted(testContext(t), before+1) {
		t.Fatal("the proxy has not accepted")
	}
	return conn
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	t.Cleanup(cancel)
	return ctx
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// expectNothing waits a little for a byte that must not come.
func expectNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want none", n, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
}

func TestProxyCarries(t *testing.T) {
	r := Server(t)
	p := NewProxy(t, r.Addr())
	c := Dial(t, p.Addr())
	big := strings.Repeat("x", 3<<20)
	set(t, c, "k", big)
	wantValue(t, c, "k", big)
	if p.Open() != 1 || p.Accepted() != 1 {
		t.Errorf("%d open of %d", p.Open(), p.Accepted())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if !p.AwaitOpen(testContext(t), 0) {
		t.Errorf("%d connections are open after the client's end", p.Open())
	}
}

func TestProxyCutsAbruptly(t *testing.T) {
	p := NewProxy(t, Server(t).Addr())
	conns := []net.Conn{rawConn(t, p), rawConn(t, p), rawConn(t, p)}
	if n := p.CutAll(); n != 3 || p.Open() != 0 {
		t.Errorf("cut %d, %d stay open", n, p.Open())
	}
	for _, conn := range conns {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a cut connection gave %v, want a reset", err)
		}
	}
	if n := p.CutAll(); n != 0 {
		t.Errorf("cut %d connections twice", n)
	}
	conn := rawConn(t, p)
	send(t, conn, "PING\r\n")
	expect(t, conn, "+PONG\r\n")
}

func TestProxyStallsBothWaysAndLosesNothing(t *testing.T) {
	r := Server(t)
	p := NewProxy(t, r.Addr())
	conn, direct := rawConn(t, p), r.Client(t)
	send(t, conn, "SUBSCRIBE c\r\n")
	expect(t, conn, "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
	other := rawConn(t, p)
	for range 3 {
		p.Stall()
		send(t, other, "INCR n\r\n")
		if n, err := direct.Publish(t.Context(), "c", "m").Result(); err != nil || n != 1 {
			t.Fatalf("published to %d, %v", n, err)
		}
		expectNothing(t, conn)
		p.Unstall()
		expect(t, conn, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n")
	}
	expect(t, other, ":1\r\n:2\r\n:3\r\n")
}

// A stall in the middle of a write whose reader does not read must not wait for
// the reader, and must not lose a byte.
func TestProxyStallsAWriteThatIsStuck(t *testing.T) {
	r := Server(t)
	p := NewProxy(t, r.Addr())
	value := strings.Repeat("0123456789abcdef", 4<<20/16)
	set(t, r.Client(t), "k", value)
	conn := rawConn(t, p)
	send(t, conn, "GET k\r\n")
	expect(t, conn, "$4194304\r\n")
	for range 5 {
		p.Stall()
		p.Unstall()
	}
	expect(t, conn, value+"\r\n")
}

func TestProxyLosesRepliesOfCommandsThatWereExecuted(t *testing.T) {
	r := Server(t)
	p := NewProxy(t, r.Addr())
	direct, conn := r.Client(t), rawConn(t, p)
	p.StallReplies()
	send(t, conn, "INCR n\r\n")
	until(t, "the command to be executed", func(ctx context.Context) error { return direct.Get(ctx, "n").Err() })
	expectNothing(t, conn)
	if n := p.CutAll(); n != 1 {
		t.Errorf("cut %d connections", n)
	}
	p.Unstall()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the reply's connection gave %v, want a reset", err)
	}
	wantValue(t, direct, "n", "1")
}

func TestProxyRefuses(t *testing.T) {
	p := NewProxy(t, Server(t).Addr())
	open := rawConn(t, p)
	for range 3 {
		p.Refuse()
		if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dialling gave %v, want a refusal", err)
		}
		send(t, open, "PING\r\n") // who is in stays in
		expect(t, open, "+PONG\r\n")
		p.Accept()
		conn := rawConn(t, p)
		send(t, conn, "PING\r\n")
		expect(t, conn, "+PONG\r\n")
	}
}

func TestProxyPassesOnThatItsTargetIsDown(t *testing.T) {
	r := Server(t)
	p := NewProxy(t, r.Addr())
	conn := rawConn(t, p)
	r.Kill()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server's end is not passed on (%v)", err)
	}
	// The reset may be faster than the dial.
	fresh, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer fresh.Close()
		_, err = fresh.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection to a target that is down: %v, want a reset", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if p.AwaitAccepted(ctx, 2) {
		t.Error("a connection that went nowhere counts as accepted")
	}
}

func TestProxyDelaysAndLosesNothing(t *testing.T) {
	p := NewProxy(t, Server(t).Addr())
	conn := rawConn(t, p)
	p.Delay(20 * time.Millisecond)
	began := time.Now()
	text := strings.Repeat("x", 2*chunkBytes)
	size := strconv.Itoa(len(text))
	send(t, conn, "*2\r\n$4\r\nECHO\r\n$"+size+"\r\n"+text+"\r\n")
	expect(t, conn, "$"+size+"\r\n"+text+"\r\n")
	// At least three chunks one after the other, and the last one back.
	if took := time.Since(began); took < 80*time.Millisecond {
		t.Errorf("it took %s there and back", took)
	}
	p.Delay(0)
	send(t, conn, "PING\r\n")
	expect(t, conn, "+PONG\r\n")
	p.Delay(time.Hour)
	send(t, conn, "PING\r\n")
	expectNothing(t, conn)
	if p.CutAll() != 1 { // and no caller waits for the hour
		t.Error("the link was gone")
	}
}
