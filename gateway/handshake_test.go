package gateway_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/gateway"
)

// A wire is a connection whose bytes a test writes and reads itself.
type wire struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (s *server) wire(t testing.TB) *wire {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(soon(t), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it may be closed already
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &wire{t, c, bufio.NewReader(c)}
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads an HTTP answer to a method.
func (w *wire) answer(method string) answer {
	w.t.Helper()
	resp, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return answer{resp.StatusCode, resp.Header, ""}
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// opened is a wire that is a WebSocket, after welcome.
func (s *server) opened(t testing.TB) *wire {
	t.Helper()
	w := s.wire(t)
	w.send("GET /v1/ws HTTP/1.1\r\nHost: " + s.addr + "\r\n" + upgrade + "Sec-WebSocket-Protocol: tidemark.v1\r\n\r\n")
	if a := w.answer("GET"); a.status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", a.status)
	}
	if text := w.text(); !strings.Contains(text, "welcome") {
		t.Fatalf("first frame %s", text)
	}
	return w
}

// frame is one of a client: its first byte, and a payload under a mask of zeros.
func clientFrame(first byte, payload string) string {
	if len(payload) > 125 {
		return string([]byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload))}) + "\x00\x00\x00\x00" + payload
	}
	return string([]byte{first, 0x80 | byte(len(payload))}) + "\x00\x00\x00\x00" + payload
}

// next reads a frame of the server.
func (w *wire) next() (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var n uint16
		err = binary.Read(w.in, binary.BigEndian, &n)
		size = uint64(n)
	case 127:
		err = binary.Read(w.in, binary.BigEndian, &size)
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(w.in, payload)
	return head[0], payload, err
}

// text reads the next text.
func (w *wire) text() string {
	w.t.Helper()
	for {
		first, payload, err := w.next()
		if err != nil {
			w.t.Fatal(err)
		}
		if first == 0x81 {
			return string(payload)
		}
	}
}

// closed reads to the close frame, and returns its code and the last text before it; 0
// without one.
func (w *wire) closed() (code int, last string) {
	w.t.Helper()
	for {
		first, payload, err := w.next()
		switch {
		case err != nil:
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				w.t.Fatal("it is not closed")
			}
			return 0, last
		case first == 0x88 && len(payload) >= 2:
			return int(binary.BigEndian.Uint16(payload)), last
		case first == 0x81:
			last = string(payload)
		}
	}
}

func TestHandshakesByHand(t *testing.T) {
	s := serve(t, real(t), nil)
	host := "Host: " + s.addr + "\r\n"
	const protocol = "Sec-WebSocket-Protocol: tidemark.v1\r\n"
	for _, c := range []struct {
		name, request string
		want          int
		protocol      string
	}{
		{"as it should be", "GET /v1/ws HTTP/1.1\r\n" + host + upgrade + protocol, 101, "tidemark.v1"},
		{"HEAD", "HEAD /v1/ws HTTP/1.1\r\n" + host + upgrade + protocol, 400, ""},
		{"POST", "POST /v1/ws HTTP/1.1\r\n" + host + upgrade + protocol, 405, ""},
		{"HTTP/1.0", "GET /v1/ws HTTP/1.0\r\n" + host + upgrade + protocol, 400, ""},
		{"protocols in a list", "GET /v1/ws HTTP/1.1\r\n" + host + upgrade + "Sec-WebSocket-Protocol: other,  tidemark.v1\r\n", 101, "tidemark.v1"},
		{"protocols in two lines", "GET /v1/ws HTTP/1.1\r\n" + host + upgrade + "Sec-WebSocket-Protocol: other\r\n" + protocol, 101, "tidemark.v1"},
		{"two keys", "GET /v1/ws HTTP/1.1\r\n" + host + upgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + protocol, 400, ""},
		{"https where there is no TLS", "GET /v1/ws HTTP/1.1\r\n" + host + upgrade + protocol + "Origin: https://" + s.addr + "\r\n", 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := s.wire(t)
			w.send(c.request + "\r\n")
			method, _, _ := strings.Cut(c.request, " ")
			a := w.answer(method)
			if a.status != c.want || a.header.Get("Sec-Websocket-Protocol") != c.protocol {
				t.Fatalf("status %d, subprotocol %q, want %d and %q: %s", a.status, a.header.Get("Sec-Websocket-Protocol"), c.want, c.protocol, a.body)
			}
			if c.want >= 400 && a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", a.header.Get("Content-Type"))
			}
			if c.want == 101 {
				if text := w.text(); !strings.Contains(text, "welcome") {
					t.Errorf("first frame %s", text)
				}
			}
		})
	}
}

// Everything that a client sends counts, what gorilla/websocket answers by itself too.
func TestFloodsOfAnyFrames(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) { o.MessagesPerSecond, o.MessageBurst = 1, 50 })
	for name, flood := range map[string]string{
		"messages":        strings.Repeat(clientFrame(0x81, `{"type":"ping"}`), 200),
		"pings":           strings.Repeat(clientFrame(0x89, "x"), 200),
		"pongs":           strings.Repeat(clientFrame(0x8a, ""), 200),
		"empty fragments": clientFrame(0x01, "") + strings.Repeat(clientFrame(0x00, ""), 200),
		"fragments":       clientFrame(0x01, "{") + strings.Repeat(clientFrame(0x00, " "), 200),
	} {
		t.Run(name, func(t *testing.T) {
			w := s.opened(t)
			go func() { _, _ = io.WriteString(w, flood) }() // it may be cut off
			if code, last := w.closed(); code != 4429 || !strings.Contains(last, `"goodbye","reason":"rate"`) {
				t.Errorf("closed with %d after %s, want 4429 after goodbye", code, last)
			}
		})
	}
}

// As much as is allowed, in any pieces, is not too much.
func TestFramesWithinTheRate(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) { o.MessagesPerSecond, o.MessageBurst = 1, 50 })
	w := s.opened(t)
	large := `{"type":"ping","pad":"` + strings.Repeat("x", 300) + `"}`
	all := strings.Repeat(clientFrame(0x89, "x"), 20) + clientFrame(0x01, large[:150]) + clientFrame(0x89, "") + clientFrame(0x80, large[150:]) + strings.Repeat(clientFrame(0x8a, ""), 20)
	for i := range all { // every header is cut everywhere
		w.send(all[i : i+1])
	}
	if text := w.text(); text != `{"type":"pong"}` {
		t.Errorf("got %s, want pong", text)
	}
}

func TestFramesThatAreNone(t *testing.T) {
	s := serve(t, real(t), nil)
	long := func(n uint64) string {
		return string(binary.BigEndian.AppendUint64([]byte{0x81, 0x80 | 127}, n)) + "\x00\x00\x00\x00"
	}
	for name, c := range map[string]struct {
		sent string
		want int
	}{
		"a length over the bound":             {long(1 << 20), 1009},
		"a length of 63 bits":                 {long(1<<63 - 1), 1009},
		"a length with its top bit":           {long(1 << 63), 1009},
		"a length of all bits":                {long(1<<64 - 1), 1009},
		"fragments that are long together":    {clientFrame(0x01, strings.Repeat("x", 10_000)) + clientFrame(0x80, strings.Repeat("x", 10_000)), 1009},
		"unsubscribe without a sid":           {clientFrame(0x81, `{"type":"unsubscribe"}`), 4400},
		"unsubscribe with a long sid":         {clientFrame(0x81, fmt.Sprintf(`{"type":"unsubscribe","sid":%q}`, strings.Repeat("x", 65))), 4400},
		"subscribe without a sid":             {clientFrame(0x81, `{"type":"subscribe","topic":"user:42"}`), 4400},
		"bytes":                               {clientFrame(0x82, "x"), 1003},
		"a frame without a mask":              {"\x81\x02{}", 1002},
		"a reserved bit":                      {clientFrame(0xc1, "{}"), 1002},
		"a reserved opcode":                   {clientFrame(0x83, ""), 1002},
		"a control frame in fragments":        {clientFrame(0x09, ""), 1002},
		"a continuation of nothing":           {clientFrame(0x80, ""), 1002},
		"another message within a fragmented": {clientFrame(0x01, "{") + clientFrame(0x81, "{}"), 1002},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.opened(t)
			w.send(c.sent)
			if code, _ := w.closed(); code != c.want {
				t.Errorf("closed with %d, want %d", code, c.want)
			}
		})
	}
}

// A flood of a client that reads nothing is not read on, and its session ends.
func TestFloodOfAClientThatReadsNothing(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) {
		o.MessagesPerSecond, o.MessageBurst, o.StallTimeout = 1, 50, 200*time.Millisecond
	})
	c := &client{t: t, conn: s.dial(t, dialer(0), nil)}
	ended := make(chan error, 1)
	go func() {
		for {
			if err := c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)); err != nil {
				ended <- err
				return
			}
		}
	}()
	if err := <-ended; err == nil {
		t.Error("it goes on")
	}
}
