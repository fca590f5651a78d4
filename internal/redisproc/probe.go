package redisproc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// errLoading: the server is up and reads its append-only file.
var errLoading = errors.New("redis server is loading its data")

// probe asks the server at addr whether it is ready, and for its process ID (0
// when it wants a password first).
func probe(ctx context.Context, network, addr string) (pid int, err error) {
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	// Inline commands, one after the other: both answers are of this moment.
	if _, err := io.WriteString(conn, "PING\r\nINFO server\r\n"); err != nil {
		return 0, err
	}
	r := bufio.NewReader(conn)
	pong, err := r.ReadString('\n')
	switch {
	case err != nil:
		return 0, err
	case strings.HasPrefix(pong, "-LOADING"):
		return 0, errLoading
	case strings.HasPrefix(pong, "-NOAUTH"):
		return 0, nil
	case !strings.HasPrefix(pong, "+PONG"):
		return 0, fmt.Errorf("PING was answered by %q", strings.TrimSpace(pong))
	}
	info, err := bulk(r)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "process_id:"); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, errors.New("INFO server has no process_id")
}

// dial gives a connection that ends by itself: a server that is stopped
// (SIGSTOP) accepts, and then never answers.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	const patience = time.Second
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func bulk(r *bufio.Reader) (string, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "$")))
	if err != nil || n < 0 || n > 1<<20 {
		return "", fmt.Errorf("INFO was answered by %q", strings.TrimSpace(head))
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return "", err
	}
	return string(body), nil
}

// ErrSilent is wrapped by errors that say that a server runs but does not
// answer.
var ErrSilent = errors.New("redis server does not answer")

// ErrGone is what [Await] returns when the server ended while it waited.
var ErrGone = errors.New("redis server has ended")

// Await waits until the server at addr (network "tcp" or "unix") answers, and
// returns its process ID. alive is asked between tries whether the server still
// runs; when it says no, Await returns [ErrGone]. A server that stays silent for
// patience gives [ErrSilent]; one that is loading its data is not silent, and
// only ctx ends that wait.
//
// Redis has no portable way to announce that it is ready, so Await asks again
// after 2 ms, then in growing steps up to 50 ms.
func Await(ctx context.Context, network, addr string, patience time.Duration, alive func() bool) (int, error) {
	heard := time.Now()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		pid, err := probe(ctx, network, addr)
		switch {
		case err == nil:
			return pid, nil
		case errors.Is(err, errLoading):
			heard = time.Now()
		case time.Since(heard) > patience:
			return 0, fmt.Errorf("%w at %s for %s: %w", ErrSilent, addr, patience, err)
		}
		if !alive() {
			return 0, ErrGone
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for the redis server at %s: %w", addr, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// Shutdown asks the server at addr to write what it holds and end. It returns
// once the server has closed the connection; the process is gone a moment
// later. A server that refuses says why in the error.
func Shutdown(ctx context.Context, network, addr string) error {
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return fmt.Errorf("shutting down the redis server at %s: %w", addr, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// A last fsync may take long; from here on, ctx alone bounds the wait.
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("shutting down the redis server at %s: %w", addr, err)
	}
	_, err = io.WriteString(conn, "SHUTDOWN\r\n")
	if err == nil {
		var reply string
		reply, err = bufio.NewReader(conn).ReadString('\n')
		if reply != "" {
			return fmt.Errorf("the redis server at %s refuses to shut down: %s", addr, strings.TrimSpace(reply))
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("shutting down the redis server at %s: %w", addr, context.Cause(ctx))
	}
	if err != nil && !errors.Is(err, io.EOF) && !isReset(err) {
		return fmt.Errorf("shutting down the redis server at %s: %w", addr, err)
	}
	return nil
}
