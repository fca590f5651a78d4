package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// A socket is a client that costs little beside what is measured: it masks with zeros
// and looks at no more of a frame than it is asked to.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
}

// payloads are buffers for frames that are looked at and forgotten.
var payloads = sync.Pool{New: func() any { return new([]byte) }}

// dialSocket connects and returns after welcome.
func dialSocket(addr string) (*socket, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &socket{conn, bufio.NewReaderSize(conn, 2<<10)}
	if err := s.shake(addr); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// shake sends as many headers as a browser does.
func (s *socket) shake(addr string) error {
	_, err := fmt.Fprintf(s.conn, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidemark.v1\r\nUser-Agent: %s\r\nCookie: session=%s\r\n\r\n",
		addr, strings.Repeat("u", 110), strings.Repeat("c", 200))
	if err != nil {
		return err
	}
	status, err := s.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(status, " 101 ") {
		return fmt.Errorf("handshake answered %q", status)
	}
	for line := status; line != "\r\n"; {
		if line, err = s.in.ReadString('\n'); err != nil {
			return err
		}
	}
	return s.until("welcome", nil)
}

// send writes a text frame.
func (s *socket) send(text []byte) error {
	frame := append(make([]byte, 0, len(text)+14), 0x81)
	switch n := len(text); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	_, err := s.conn.Write(append(append(frame, 0, 0, 0, 0), text...))
	return err
}

// subscribe follows a topic; after is "" or a cursor.
func (s *socket) subscribe(topic, after string) error {
	return s.send([]byte(`{"type":"subscribe","sid":"1","topic":"` + topic + `","after":"` + after + `"}`))
}

// next hands the next frame's text to do, which must not keep it.
func (s *socket) next(do func(text []byte) error) error {
	var head [10]byte
	if _, err := io.ReadFull(s.in, head[:2]); err != nil {
		return err
	}
	size := uint64(head[1] & 0x7f)
	switch size {
	case 126:
		if _, err := io.ReadFull(s.in, head[:2]); err != nil {
			return err
		}
		size = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(s.in, head[:8]); err != nil {
			return err
		}
		size = binary.BigEndian.Uint64(head[:8])
	}
	b := payloads.Get().(*[]byte)
	defer payloads.Put(b)
	if uint64(cap(*b)) < size {
		*b = make([]byte, size)
	}
	text := (*b)[:size]
	if _, err := io.ReadFull(s.in, text); err != nil {
		return err
	}
	if head[0]&0x0f == 8 {
		return errors.New("the server closed the connection")
	}
	return do(text)
}

// until reads frames up to one of a type, and hands all to do, if there is one.
func (s *socket) until(kind string, do func(text []byte)) error {
	prefix, came := []byte(`{"type":"`+kind+`"`), false
	for !came {
		err := s.next(func(text []byte) error {
			if do != nil {
				do(text)
			}
			came = bytes.HasPrefix(text, prefix)
			if bytes.HasPrefix(text, []byte(`{"type":"error"`)) || bytes.HasPrefix(text, []byte(`{"type":"goodbye"`)) {
				return fmt.Errorf("the server says %s", text)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", kind, err)
		}
	}
	return nil
}

// recordMark is in each record once.
var recordMark = []byte(`"type":"job.`)
