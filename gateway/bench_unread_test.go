package gateway_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// BenchmarkUnreadSnapshots prints what the gateway holds for each of 1,000 sockets that
// subscribe to a topic with 10,000 live jobs, each under a sid of its own, and never read:
// frames, by its own count, and resident memory. TIDEMARK_BENCH_SOCKETS is another number
// of sockets.
func BenchmarkUnreadSnapshots(b *testing.B) {
	const jobs = 10_000
	sockets := 1000
	if n, err := strconv.Atoi(os.Getenv("TIDEMARK_BENCH_SOCKETS")); err == nil {
		sockets = n
	}
	redis := serving{redistest.Server(b).URL(), "bench", sockets + 1}
	clients := begin(b, "clients")
	ask[none](clients, "enqueue", seeding{redis, 1, jobs})
	f := figures{}
	for b.Loop() {
		s := begin(b, "gateway")
		addr := ask[string](s, "serve", redis)
		before := ask[memory](s, "memory", none{})
		ask[none](clients, "leave unread", party{Addr: addr, Count: sockets})
		held := ask[int](s, "held", none{})
		after := ask[memory](s, "memory", none{})
		ask[none](clients, "hang up", none{})
		s.end()
		f.add("KiB-held/socket", float64(held)/float64(sockets)/1024)
		f.add("KiB/socket", float64(after.Collected-before.Collected)/float64(sockets)/1024)
	}
	clients.end()
	f.report(b)
}

// enqueue makes jobs, Records of them, of one topic.
func (c *clientsRole) enqueue(s seeding) (none, error) {
	e, err := engine.Open(context.Background(), engine.Options{URL: s.URL, Namespace: s.Namespace, Logger: quiet()})
	if err != nil {
		return none{}, err
	}
	var all crew
	all.limit(64)
	for range s.Records {
		all.run(func() error {
			_, err := e.Enqueue(context.Background(), engine.Spec{Topic: engine.Topic(topicName(0)), Type: "export", Title: "Orders 2025"})
			return err
		})
	}
	if err := all.wait(); err != nil {
		return none{}, err
	}
	return none{}, e.Close()
}

// leaveUnread subscribes to the topic on sockets that read nothing but their welcome.
func (c *clientsRole) leaveUnread(p party) (none, error) {
	for i := range p.Count {
		s, err := dialSocket(p.Addr)
		if err != nil {
			return none{}, err
		}
		c.sockets = append(c.sockets, s)
		if err := s.conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			return none{}, err
		}
		if err := s.send(fmt.Appendf(nil, `{"type":"subscribe","sid":"%d","topic":%q}`, i, topicName(0))); err != nil {
			return none{}, err
		}
	}
	return none{}, nil
}

// held waits until what the sessions hold changes no more, and tells how many bytes it is.
func (g *gatewayRole) held(none) (int, error) {
	for before := -1; ; <-time.After(3 * time.Second) {
		_, bytes := g.gateway.Held()
		if bytes == before {
			return bytes, nil
		}
		before = bytes
	}
}
