package feed

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// bound ends a connection whose client has acknowledged nothing for so long: TCP_USER_TIMEOUT of
// RFC 5482, as tcp(7) has it. A client that is gone without a word acknowledges no comments, which the kernel
// would take and repeat for a quarter of an hour.
func bound(c *net.TCPConn, most time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	// An error leaves the kernel's own bound.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(most.Milliseconds()))
	})
}
