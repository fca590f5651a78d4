package gateway_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
)

func TestStopSaysGoodbyeToAll(t *testing.T) {
	e := real(t)
	g, err := gateway.New(gateway.Options{Engine: e, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- g.Run(ctx, l) }()
	s := &server{g, l.Addr().String()}
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = s.client(t)
		clients[i].subscribe("a", topic, "", "")
		clients[i].untilLive("a")
	}
	cancel()
	delays := map[int]bool{}
	for _, c := range clients {
		f := c.read()
		if f.Type != "goodbye" || f.Reason != "draining" || f.Reconnect <= 0 {
			t.Fatalf("got %s, want goodbye", f.text)
		}
		delays[f.Reconnect] = true
		if code := c.closed(); code != 1012 {
			t.Errorf("closed with %d, want 1012", code)
		}
		hangUp(c.conn)
	}
	if len(delays) < 10 {
		t.Errorf("%d different delays for 20 clients", len(delays))
	}
	if err := <-ran; err != nil {
		t.Errorf("run: %v", err)
	}
	if err := g.Start(nil); !errors.Is(err, gateway.ErrStopped) {
		t.Errorf("start after stop: %v", err)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestStopAbortsWhoDoesNotGo(t *testing.T) {
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) { o.DrainTimeout = 50 * time.Millisecond })
	c := newClient(t, s.dial(t, dialer(4<<10), nil))
	h := c.subscribe("a", topic, "", "")
	c.untilLive("a")
	p := start(t, e, topic)
	for range 40 {
		p.tick(64)
	}
	if err := s.Stop(soon(t)); !errors.Is(err, gateway.ErrAborted) {
		t.Errorf("stop: %v, want ErrAborted (%d records held)", err, len(h.records))
	}
}

func TestStartAndStopConcurrently(t *testing.T) {
	e := real(t)
	for range 20 {
		g, err := gateway.New(gateway.Options{Engine: e, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := g.Start(l); err != nil && !errors.Is(err, gateway.ErrStopped) {
				t.Errorf("start: %v", err)
			}
		})
		for range 2 {
			all.Go(func() {
				conn, resp, err := dialer(0).DialContext(soon(t), "ws://"+l.Addr().String()+"/v1/ws", nil)
				if resp != nil {
					resp.Body.Close()
				}
				if err == nil {
					_, _, _ = conn.ReadMessage() // welcome, goodbye or the end
					hangUp(conn)
				}
			})
			all.Go(func() {
				if err := g.Stop(t.Context()); err != nil {
					t.Errorf("stop: %v", err)
				}
				l.Close() // where it was never started
			})
		}
		all.Wait()
	}
}

func TestProbes(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	get := func(path string) int {
		r, err := http.NewRequestWithContext(soon(t), http.MethodGet, s.url(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "10.0.0.7" // a probe knows the address alone
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if got := get("/healthz"); got != http.StatusOK {
		t.Errorf("healthz %d", got)
	}
	if got := get("/readyz"); got != http.StatusOK {
		t.Errorf("readyz %d", got)
	}
	if got := get("/metrics"); got != http.StatusForbidden {
		t.Errorf("metrics under a foreign name: %d", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for ctx := soon(t); get("/readyz") != http.StatusServiceUnavailable; {
		if ctx.Err() != nil {
			t.Fatal("readyz stays 200 without Redis")
		}
	}
	if got := get("/healthz"); got != http.StatusOK {
		t.Errorf("healthz without Redis: %d", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := gateway.New(gateway.Options{}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("without engine: %v", err)
	}
	if err := (gateway.Options{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	for name, o := range map[string]gateway.Options{
		"WindowFrames": {WindowFrames: 1}, "WindowBytes": {WindowBytes: 1}, "PingInterval": {PingInterval: time.Nanosecond},
		"ConnectionsPerPrincipal": {ConnectionsPerPrincipal: -1}, "CatchUps": {CatchUps: 5000},
	} {
		err := o.Validate()
		if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSilentClientIsEnded(t *testing.T) {
	// What a client that answers has for it is a whole second, whatever else the machine does.
	s := serve(t, real(t), func(o *gateway.Options) { o.PingInterval, o.PongTimeout = 100*time.Millisecond, time.Second })
	deaf := s.client(t)
	deaf.conn.SetPingHandler(func(string) error { return nil })
	ended := make(chan error, 1)
	go func() {
		_, err := deaf.next(10 * time.Second)
		ended <- err
	}()
	alive, pings := s.client(t), 0
	alive.conn.SetPingHandler(func(data string) error {
		if pings++; pings == 15 { // for longer than the deaf one has
			alive.send(`{"type":"ping"}`)
		}
		return alive.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
	})
	f := alive.read()
	if err := <-ended; err == nil {
		t.Error("a client that answers no ping got a frame")
	}
	if f.Type != "pong" {
		t.Errorf("got %s, want pong", f.text)
	}
}
