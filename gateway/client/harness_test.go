package client_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

const topic = engine.Topic("user:42")

// patience bounds every wait; nothing takes nearly as long.
const patience = 20 * time.Second

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, url string) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{URL: url, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close engine: %v", err)
		}
	})
	return e
}

// serve runs a gateway on a free port until the test ends, and returns its address.
func serve(t testing.TB, o gateway.Options) string {
	t.Helper()
	o.Logger = quiet()
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.Stop(ctx); err != nil {
			t.Errorf("stop gateway: %v", err)
		}
	})
	return l.Addr().String()
}

// dial makes a client that comes back fast.
func dial(t testing.TB, addr string, change ...func(*client.Options)) *client.Client {
	t.Helper()
	o := client.Options{URL: "http://" + addr, BackoffMin: 5 * time.Millisecond, BackoffMax: 50 * time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// A conversation is a WebSocket of a gateway that misbehaves as a test wants it.
type conversation struct {
	t    testing.TB
	conn *websocket.Conn
}

func (c *conversation) say(format string, args ...any) {
	// What the client has closed shows in what the test waits for.
	_ = c.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...))
}

// hear waits for the client's next message; a zero one when it has gone.
func (c *conversation) hear() (m struct {
	Type, SID, Topic, After, Job string
	Limit                        int
},
) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if err := c.conn.ReadJSON(&m); err != nil {
		m.Type = ""
	}
	return m
}

func (c *conversation) end(code int) {
	_ = c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "as scripted"), time.Now().Add(time.Second))
	c.hear() // its answer, so that the frame is not overtaken by a reset
}

// scripted serves conversations, numbered from 1; other requests go to rest.
func scripted(t testing.TB, rest http.HandlerFunc, talk func(n int, c *conversation)) string {
	t.Helper()
	n := make(chan int, 1)
	n <- 0
	up := websocket.Upgrader{Subprotocols: []string{"tidemark.v1"}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }() // the client may have gone
		i := <-n + 1
		n <- i
		talk(i, &conversation{t, conn})
	})
	if rest != nil {
		mux.HandleFunc("/", rest)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

const welcome = `{"type":"welcome","connection":"x","principal":"y","ping_seconds":25,"new_in_future":{}}`
