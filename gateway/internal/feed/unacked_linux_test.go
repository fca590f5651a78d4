package feed

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAClientThatAcknowledgesNothingIsBounded(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	narrow(WithConn(t.Context(), c), 4<<10, 30*time.Second)
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	most, size := 0, 0
	err = raw.Control(func(fd uintptr) {
		most, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		size, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	})
	if err != nil || most != 30_000 || size > 16<<10 {
		t.Errorf("the kernel waits %d ms, want 30000, and holds %d bytes; %v", most, size, err)
	}
}
