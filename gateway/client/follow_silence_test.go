package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

func TestSilentGatewayIsLeft(t *testing.T) {
	f := follow(t, dial(t, scripted(t, nil, talkOf(func(c *conversation) {
		c.say("%s", strings.Replace(welcome, `"ping_seconds":25`, `"ping_seconds":0.05`, 1))
		c.hear() // subscribes, and is not answered
		for asked := 0; ; asked++ {
			switch c.hear().Type {
			case "ping": // nor is this
				continue
			case "":
			default:
				t.Error("it says more than that it waits")
			}
			if asked == 0 {
				t.Error("it leaves without asking")
			}
			return
		}
	})), func(o *client.Options) { o.RequestTimeout = 200 * time.Millisecond }), engine.FollowQuery{Topic: topic, After: "5-5"})
	if u := f.one(engine.UpdateInterrupted); !errors.Is(u.Err, client.ErrUnreachable) {
		t.Errorf("the client reports %v", u.Err)
	}
	f.one(engine.UpdateLive)
}

// A gateway that is silent, and answers when it is asked, is kept.
func TestAskedConnectionIsKept(t *testing.T) {
	f := follow(t, dial(t, scripted(t, nil, func(n int, c *conversation) {
		if n > 1 {
			t.Error("it came back to a connection that was alive")
			return
		}
		c.say("%s", strings.Replace(welcome, `"ping_seconds":25`, `"ping_seconds":0.05`, 1))
		sub := c.hear()
		for range 5 { // more than the silence that it would bear
			if m := c.hear(); m.Type != "ping" {
				t.Errorf("it says %q, want a ping", m.Type)
			}
			c.say(`{"type":"pong"}`)
		}
		c.say(`{"type":"subscribed","sid":%q,"mode":"replay","reason":"resumed","cursor":"5-5"}`, sub.SID)
		c.say(`{"type":"live","sid":%q,"cursor":"5-5","replayed":0}`, sub.SID)
		c.hear()
	}), func(o *client.Options) { o.RequestTimeout = time.Second }), engine.FollowQuery{Topic: topic, After: "5-5"})
	f.one(engine.UpdateLive)
}

// Pings alone keep a quiet connection open.
func TestPingedConnectionIsKept(t *testing.T) {
	ponged := make(chan struct{})
	f := follow(t, dial(t, scripted(t, nil, func(n int, c *conversation) {
		if n > 1 {
			t.Error("it came back to a connection that was alive")
			return
		}
		c.say("%s", strings.Replace(welcome, `"ping_seconds":25`, `"ping_seconds":0.05`, 1))
		sub := c.hear()
		pongs := 0
		c.conn.SetPongHandler(func(string) error {
			// More than the silence that it would bear.
			if pongs++; pongs == 24 {
				close(ponged)
				c.say(`{"type":"subscribed","sid":%q,"mode":"replay","reason":"resumed","cursor":"5-5"}`, sub.SID)
				c.say(`{"type":"live","sid":%q,"cursor":"5-5","replayed":0}`, sub.SID)
			}
			return nil
		})
		go func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_ = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
				case <-ponged:
					return
				}
			}
		}()
		c.hear()
	}), func(o *client.Options) { o.RequestTimeout = time.Second }), engine.FollowQuery{Topic: topic, After: "5-5"})
	f.one(engine.UpdateLive)
}
