package gateway_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// figures are what the rounds of a benchmark measured; their medians are reported.
type figures map[string][]float64

func (f figures) add(unit string, value float64) { f[unit] = append(f[unit], value) }

func (f figures) report(b *testing.B) {
	b.ReportMetric(0, "ns/op") // of no meaning here
	for unit, values := range f {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
}

// servers are what a benchmark measures in turn: the gateway, then Melody as it comes,
// whose figures have a name with "bare-".
var servers = []struct{ role, prefix string }{{"gateway", ""}, {"bare", "bare-"}}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }
func microseconds(d time.Duration) float64 { return float64(d) / 1e3 }

// BenchmarkIdleConnections prints the server's resident memory for each of 5,000
// connections with one subscription: (at 5,000 - at 100) / 4,900. "freed" is without
// what the runtime had not yet given back to the kernel.
func BenchmarkIdleConnections(b *testing.B) {
	const few, many = 100, 5000
	f := figures{}
	for b.Loop() {
		redis := serving{redistest.Server(b).URL(), "bench", many}
		clients := begin(b, "clients")
		ask[none](clients, "seed", seeding{redis, many, 0})
		for _, server := range servers {
			s := begin(b, server.role)
			addr := ask[string](s, "serve", redis)
			ask[none](clients, "connect", party{Addr: addr, Count: few})
			before := ask[memory](s, "memory", none{})
			ask[none](clients, "connect", party{Addr: addr, Count: many})
			after := ask[memory](s, "memory", none{})
			ask[none](clients, "hang up", none{})
			s.end()
			each := func(before, after int) float64 { return float64(after-before) / (many - few) / 1024 }
			f.add(server.prefix+"KiB/conn", each(before.Collected, after.Collected))
			f.add(server.prefix+"KiB/conn-freed", each(before.Freed, after.Freed))
		}
		clients.end()
	}
	f.report(b)
}

// BenchmarkReturn prints how long 5,000 clients that come at once, each with 50 records
// missed, take until all are live, and what a record costs the server, connecting
// included.
func BenchmarkReturn(b *testing.B) {
	const connections, records = 5000, 50
	for _, topics := range []int{20, connections} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			redis := serving{redistest.Server(b).URL(), "bench", connections + 1}
			clients := begin(b, "clients")
			ask[none](clients, "seed", seeding{redis, topics, records})
			f := figures{}
			for b.Loop() {
				for _, server := range servers {
					s := begin(b, server.role)
					addr := ask[string](s, "serve", redis)
					ask[none](s, "start", fmt.Sprintf("return%d", topics))
					got := ask[homecoming](clients, "return", party{addr, connections, server.role == "bare"})
					used := ask[time.Duration](s, "stop", none{})
					ask[none](clients, "hang up", none{})
					s.end()
					if got.Records != connections*records {
						b.Fatalf("%s: %d records came, want %d", server.role, got.Records, connections*records)
					}
					f.add(server.prefix+"s", got.Took.Seconds())
					f.add(server.prefix+"µs-cpu/record", microseconds(used)/float64(got.Records))
				}
			}
			f.report(b)
		})
	}
}

// BenchmarkDeliver prints how long a record takes from the call that commits it to a
// client, and what a delivery costs the server.
func BenchmarkDeliver(b *testing.B) {
	for _, c := range []struct{ sockets, topics, perSecond int }{
		{2000, 20, 20_000},
		{1000, 1000, 2000},
	} {
		b.Run(fmt.Sprintf("sockets=%d/topics=%d", c.sockets, c.topics), func(b *testing.B) {
			redis := serving{redistest.Server(b).URL(), "bench", c.sockets + 1}
			clients := begin(b, "clients")
			ask[none](clients, "seed", seeding{redis, c.topics, 0})
			published := c.perSecond * c.topics / c.sockets
			f := figures{}
			for b.Loop() {
				for _, server := range servers {
					s := begin(b, server.role)
					p := party{ask[string](s, "serve", redis), c.sockets, server.role == "bare"}
					ask[none](clients, "connect", p)
					ask[delays](clients, "deliver", delivery{p, published, published}) // to be warm
					ask[none](s, "start", fmt.Sprintf("deliver%d", c.topics))
					got := ask[delays](clients, "deliver", delivery{p, published, 4 * published})
					used := ask[time.Duration](s, "stop", none{})
					ask[none](clients, "hang up", none{})
					s.end()
					f.add(server.prefix+"p50-ms", milliseconds(got.P50))
					f.add(server.prefix+"p99-ms", milliseconds(got.P99))
					f.add(server.prefix+"µs-cpu/delivery", microseconds(used)/float64(got.Deliveries))
					f.add(server.prefix+"B/delivery", float64(got.Bytes)/float64(got.Deliveries))
				}
			}
			f.report(b)
		})
	}
}
