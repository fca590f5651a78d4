package redisproc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// busOffset is how far above its port a Cluster node's bus listens.
const busOffset = 10_000

// Ports are picked below the range that Linux (32768 up) and macOS (49152 up)
// give to outgoing connections, the bus's port included. Else some client's
// connection could hold the port of a server that is down, which then cannot
// restart, and a client that dials a port on which no server listens may be
// connected to itself.
const (
	firstPort = 12_000
	lastPort  = 21_999
)

// FreePort returns a port on 127.0.0.1 on which nothing listened a moment ago,
// nor 10,000 above it, where a Cluster node has its bus. Another process may
// take it before the caller does, so the caller must be ready to pick again.
func FreePort(ctx context.Context) (int, error) {
	var last error
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if last = free(ctx, port); last == nil {
			last = free(ctx, port+busOffset)
		}
		if last == nil {
			return port, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("picking a free port: %w", context.Cause(ctx))
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 between %d and %d after 200 tries: %w", firstPort, lastPort, last)
}

func free(ctx context.Context, port int) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// portTaken reports whether a server ended because another process had its port.
func portTaken(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit) && strings.Contains(exit.Log, "Address already in use")
}
