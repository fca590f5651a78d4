package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

const subprotocol = "tidemark.v1"

// Close codes that say more than that the connection has ended.
const (
	closeUnauthenticated = 4401
	closeForbidden       = 4403
	closeProtocol        = 4400
)

// A socket is an open connection whose welcome has been read. One goroutine reads from it.
type socket struct {
	conn    *websocket.Conn
	silence time.Duration // the longest that the gateway is silent
	unwatch func() bool

	writing sync.Mutex
	probe   *time.Timer // asks a gateway that is silent; nil until it is welcome
}

// maxSilence is how long a gateway may be silent that has been asked whether it is there. A
// connection of which one half is gone is noticed within 15 s.
const maxSilence = 13 * time.Second

// A lostError says that the connection has ended and may be opened again.
type lostError struct {
	err error
	// wait is what the gateway asked for; negative: nothing.
	wait time.Duration
}

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// dial opens a connection. Its error is a *lostError where another try may do, and
// otherwise wraps ErrRefused, ErrProtocol or wire.ErrInvalid.
func (c *Client) dial(ctx context.Context) (*socket, error) {
	opening, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errTook)
	defer cancel()
	address := *c.base
	address.Scheme = map[string]string{"http": "ws", "https": "wss"}[address.Scheme]
	address.Path += "/v1/ws"
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, Subprotocols: []string{subprotocol}}
	conn, answer, err := dialer.DialContext(opening, address.String(), c.header())
	if answer != nil {
		defer answer.Body.Close() // holds what was read of a refusal, and is no connection
	}
	if err != nil {
		return nil, c.undialed(ctx, opening, answer, err)
	}
	s := &socket{conn: conn, silence: c.opts.RequestTimeout}
	// A read cannot be interrupted but by the end of its connection.
	s.unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() }) // the read tells
	if conn.Subprotocol() != subprotocol {
		s.close()
		return nil, fmt.Errorf("%w: %s does not speak %s", ErrProtocol, c.Address(), subprotocol)
	}
	conn.SetReadLimit(maxFrameBytes)
	conn.SetPingHandler(func(data string) error {
		s.hold()
		// A failed pong shows in the next read.
		_ = conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		return nil
	})
	if err := s.welcome(); err != nil {
		s.close()
		return nil, c.ended(ctx, err)
	}
	return s, nil
}

// undialed says why there is no connection. answer is what the gateway said instead of
// upgrading, nil for none.
func (c *Client) undialed(ctx, opening context.Context, answer *http.Response, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if answer == nil || !errors.Is(err, websocket.ErrBadHandshake) {
		return &lostError{c.unreachable(opening, err), -1}
	}
	problem := problemOf(answer)
	if !errors.Is(problem, wire.ErrUnreachable) {
		return problem
	}
	wait := time.Duration(-1)
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		wait = time.Duration(seconds) * time.Second
	}
	return &lostError{fmt.Errorf("%w at %s: %w", ErrUnreachable, c.Address(), problem), wait}
}

func (s *socket) welcome() error {
	f, err := s.read()
	if err != nil {
		return err
	}
	if f.Type != "welcome" {
		return fmt.Errorf("%w: it begins with %q instead of a welcome", ErrProtocol, f.Type)
	}
	if f.PingSeconds > 0 && f.PingSeconds < 3600 {
		// From ping to ping, and as long as an answer may take to come through.
		s.silence += time.Duration(f.PingSeconds * float64(time.Second))
	}
	s.silence = min(s.silence, maxSilence)
	// The rest is for the answer.
	s.probe = time.AfterFunc(s.patience(), func() {
		_ = s.write(wire.Message{Type: "ping"}) // a failure shows in the next read
	})
	return nil
}

// patience is how long the gateway is silent before it is asked whether it is there.
func (s *socket) patience() time.Duration { return s.silence * 3 / 5 }

// hold gives the gateway time until its next sign of life.
func (s *socket) hold() {
	_ = s.conn.SetReadDeadline(time.Now().Add(s.silence)) // fails on a closed connection, as the read does
	if s.probe != nil {
		s.probe.Reset(s.patience())
	}
}

// read waits for the next frame. A goodbye is an error, since nothing follows it.
func (s *socket) read() (wire.Frame, error) {
	s.hold()
	_, text, err := s.conn.ReadMessage()
	if err != nil {
		return wire.Frame{}, err
	}
	var f wire.Frame
	if err := json.Unmarshal(text, &f); err != nil {
		return wire.Frame{}, fmt.Errorf("%w: a frame: %w", ErrProtocol, err)
	}
	if f.Type == "goodbye" {
		return wire.Frame{}, &lostError{fmt.Errorf("it says goodbye: %s", f.Reason), time.Duration(max(f.ReconnectAfterMS, 0)) * time.Millisecond}
	}
	return f, nil
}

func (s *socket) write(message any) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.silence)) // as in hold
	return s.conn.WriteJSON(message)
}

func (s *socket) close() {
	s.unwatch()
	if s.probe != nil {
		s.probe.Stop()
	}
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(100*time.Millisecond))
	_ = s.conn.Close() // nothing is lost with it
}

// ended says what the end of a connection means: the context's cause, an error that
// another connection would not change, or a *lostError.
func (c *Client) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var lost *lostError
	if errors.As(err, &lost) {
		return &lostError{fmt.Errorf("%w at %s: %w", ErrUnreachable, c.Address(), lost.err), lost.wait}
	}
	if errors.Is(err, ErrProtocol) {
		return err
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return fmt.Errorf("%w: a frame of more than %d bytes", ErrProtocol, maxFrameBytes)
	}
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		switch closed.Code {
		case closeUnauthenticated:
			// There is no other token to come back with.
			return fmt.Errorf("%w: its WebSocket wants valid credentials (%d)", ErrRefused, closed.Code)
		case closeForbidden:
			return fmt.Errorf("%w: this user may not connect (%d)", ErrRefused, closed.Code)
		case closeProtocol, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData, websocket.CloseMessageTooBig:
			return fmt.Errorf("%w: it does not take what was sent (%d %s)", ErrProtocol, closed.Code, closed.Text)
		}
	}
	return &lostError{fmt.Errorf("%w at %s: %w", ErrUnreachable, c.Address(), err), -1}
}

// maxFrameBytes is what the protocol allows a frame, and room for a gateway of
// tomorrow.
const maxFrameBytes = 256<<10 + 64<<10
