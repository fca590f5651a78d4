package ground

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Connections are the open connections of an engine's clients. Behind a proxy, or a name that
// moves, they stay with a demoted server, while new ones reach the new primary. The client itself
// closes only a connection that returned an error that begins with READONLY. But proxies say "ERR
// READONLY …", Redis 6.2 has the word in the middle of a script's error, and a connection for reads
// never gets the error. So the first such error, wherever the word is in it, closes all connections
// that were open when the command was sent. New ones may still reach the old server, so Connections
// closes all again every connectionsRest, until no such error has come for that long.
type Connections struct {
	made atomic.Uint64 // how many were ever opened

	mu    sync.Mutex
	open  map[*connection]struct{}
	again *time.Timer // closes all again; nil while there are no errors
	heard bool        // an error came since again was set
}

// connectionsRest is the time between two closings while there is no new primary.
const connectionsRest = 2 * time.Second

// connection is one of them. number is its place in the order of opening.
type connection struct {
	net.Conn
	all    *Connections
	number uint64
}

// socket is a connection whose socket the client may check before it uses it. A TLS connection has
// none.
type socket struct{ *connection }

func newConnections() *Connections {
	return &Connections{open: map[*connection]struct{}{}}
}

// of registers the connections that a client opens.
func (c *Connections) of(client redis.UniversalClient) redis.UniversalClient {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(c) })
		return client
	}
	client.AddHook(c)
	return client
}

// Made returns how many connections were ever opened.
func (c *Connections) Made() uint64 { return c.made.Load() }

func (c *Connections) add(conn net.Conn) net.Conn {
	own := &connection{conn, c, c.made.Add(1)}
	c.mu.Lock()
	c.open[own] = struct{}{}
	c.mu.Unlock()
	if _, ok := conn.(syscall.Conn); ok {
		return socket{own}
	}
	return own
}

// demoted notes that a command, sent when n connections had been opened, failed on a replica.
func (c *Connections) demoted(n uint64) {
	c.mu.Lock()
	first := c.again == nil
	if first {
		c.again = time.AfterFunc(connectionsRest, c.rested)
	}
	c.heard = !first
	c.mu.Unlock()
	if first {
		c.end(n)
	}
}

func (c *Connections) rested() {
	c.mu.Lock()
	c.again = nil
	if c.heard {
		c.again = time.AfterFunc(connectionsRest, c.rested)
	}
	c.heard = false
	c.mu.Unlock()
	c.end(c.made.Load())
}

// end closes those of the first n connections that are open.
func (c *Connections) end(n uint64) {
	var ended []net.Conn
	c.mu.Lock()
	for conn := range c.open {
		if conn.number <= n {
			ended = append(ended, conn.Conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range ended {
		_ = conn.Close() // the client notices, and closes its side
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	err := c.Conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil // end has closed it
	}
	return err
}

// SyscallConn implements syscall.Conn.
func (s socket) SyscallConn() (syscall.RawConn, error) { return s.Conn.(syscall.Conn).SyscallConn() }

// DialHook implements redis.Hook.
func (c *Connections) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return c.add(conn), nil
	}
}

// ProcessHook implements redis.Hook.
func (c *Connections) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		n := c.made.Load()
		err := next(ctx, cmd)
		if isReplica(err) {
			c.demoted(n)
		}
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (c *Connections) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		n := c.made.Load()
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if isReplica(cmd.Err()) {
				c.demoted(n)
				break
			}
		}
		return err
	}
}

// isReplica reports whether an answer of Redis says that it is a replica.
func isReplica(err error) bool {
	var answered redis.Error
	if err == nil || errors.Is(err, redis.Nil) || !errors.As(err, &answered) {
		return false
	}
	text := answered.Error()
	return strings.Contains(text, "READONLY") || strings.Contains(text, "MASTERDOWN") || strings.Contains(text, "master -> replica")
}
