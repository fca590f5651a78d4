package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
)

// A raw client costs little beside the gateway in the same process: it has no
// goroutine and no buffer while it is idle.
type raw struct {
	t    testing.TB
	conn net.Conn
}

func (s *server) raw(t testing.TB) *raw {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidemark.v1\r\nUser-Agent: %s\r\nCookie: session=%s\r\n\r\n",
		s.addr, strings.Repeat("u", 110), strings.Repeat("c", 200))
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{t, conn}
	r.expect("welcome")
	return r
}

// send writes a text frame with a mask of zeros.
func (r *raw) send(text string) {
	frame := []byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}
	if len(text) > 125 {
		frame = []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	}
	if _, err := r.conn.Write(append(frame, text...)); err != nil {
		r.t.Fatal(err)
	}
}

// expect reads until a frame of a type has come. What has come after it in the same
// read is lost, so it is for the last one that is due.
func (r *raw) expect(kind string) {
	r.t.Helper()
	want := []byte(`{"type":"` + kind + `"`)
	if err := r.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	var got []byte
	b := make([]byte, 4<<10)
	for !bytes.Contains(got, want) {
		n, err := r.conn.Read(b)
		if err != nil {
			r.t.Fatalf("waiting for %s: %v after %q", kind, err, got)
		}
		got = append(got, b[:n]...)
	}
}

// resident is the process's resident memory.
func resident(t testing.TB) int {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// BenchmarkIdleConnections prints what an idle connection with one subscription
// costs, its client in the same process included.
func BenchmarkIdleConnections(b *testing.B) {
	const n = 5000
	for b.Loop() {
		s := serve(b, real(b), func(o *gateway.Options) { o.ConnectionsPerPrincipal = n })
		clients := make([]*raw, 0, n)
		connect := func(count int) {
			for range count {
				r := s.raw(b)
				r.send(`{"type":"subscribe","sid":"1","topic":"user:` + strconv.Itoa(len(clients)) + `"}`)
				r.expect("live")
				clients = append(clients, r)
			}
		}
		connect(100)
		before := resident(b)
		connect(n - 100)
		b.ReportMetric(float64(resident(b)-before)/(n-100), "B/conn")
		for _, r := range clients {
			r.conn.Close()
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFanOut prints what a delivery costs with 1,000 sockets on 10 topics, the
// reading clients and the writing engine in the same process included.
func BenchmarkFanOut(b *testing.B) {
	const sockets, topics = 1000, 10
	e := real(b)
	s := serve(b, e, nil)
	var got, want atomic.Int64
	all := make(chan struct{}, 1)
	pens := make([]*pen, topics)
	for i := range pens {
		pens[i] = start(b, e, engine.Topic(fmt.Sprintf("team:%d", i)))
	}
	for i := range sockets {
		r := s.raw(b)
		r.send(fmt.Sprintf(`{"type":"subscribe","sid":"1","topic":"team:%d"}`, i%topics))
		r.expect("live")
		if err := r.conn.SetReadDeadline(time.Time{}); err != nil {
			b.Fatal(err)
		}
		go func() {
			in := bufio.NewReaderSize(r.conn, 4<<10)
			for {
				n, err := records(in)
				if err != nil {
					return
				}
				if got.Add(int64(n)) == want.Load() {
					all <- struct{}{}
				}
			}
		}()
		b.Cleanup(func() { r.conn.Close() })
	}
	before, begun := cpu(), time.Now()
	rounds := 0
	for b.Loop() {
		rounds++
		want.Add(sockets)
		for _, p := range pens {
			p.tick(1)
		}
		<-all
	}
	deliveries := float64(rounds * sockets)
	b.ReportMetric(float64(cpu()-before)/1e3/deliveries, "µs-cpu/delivery")
	b.ReportMetric(deliveries/time.Since(begun).Seconds(), "deliveries/s")
}

// records reads a frame and counts the records in it.
func records(in *bufio.Reader) (int, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var long [2]byte
		if _, err := io.ReadFull(in, long[:]); err != nil {
			return 0, err
		}
		size = uint64(binary.BigEndian.Uint16(long[:]))
	case 127:
		var long [8]byte
		if _, err := io.ReadFull(in, long[:]); err != nil {
			return 0, err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return 0, err
	}
	return bytes.Count(text, []byte(`","type":"job.`)), nil
}
