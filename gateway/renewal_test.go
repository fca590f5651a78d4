package gateway_test

import (
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// A connection that renews with fewer grants keeps the subscriptions that these cover. The
// others end as if they had never been allowed, and nothing of them comes any more.
func TestRenewalWithFewerGrants(t *testing.T) {
	const other = engine.Topic("team:7")
	e := real(t)
	grant := func(topics ...engine.Topic) *auth.Principal {
		p := &auth.Principal{Subject: "alice"}
		for _, topic := range topics {
			p.Grants = append(p.Grants, auth.Grant{Topics: string(topic), Rights: auth.Read})
		}
		return p
	}
	s := serve(t, e, func(o *gateway.Options) { o.Auth = tokens{"wide": grant(topic, other), "narrow": grant(other)} })
	lost, kept := start(t, e, topic), start(t, e, other)
	c := newClient(t, s.dial(t, dialer(0), bearer("wide")))
	c.subscribe("lost", topic, "", "")
	c.subscribe("kept", other, "", "")
	c.untilLive("lost")
	c.untilLive("kept")
	c.send(`{"type":"auth","token":"narrow"}`)
	for c.read().Type != "welcome" {
	}
	lost.tick(3)
	end := kept.tick(3)
	var heard []frame
	for c.subs["kept"].cursor != end {
		if f := c.read(); f.Sid != "kept" {
			heard = append(heard, f)
			if len(heard) > 1 || f.Type != "error" || f.Sid != "lost" || f.Code != "forbidden" {
				t.Fatalf("heard %s, want that lost is forbidden, and no more", f.text)
			}
		}
	}
	c.send(`{"type":"subscribe","sid":"again","topic":"user:42"}`)
	c.send(`{"type":"subscribe","sid":"unknown","topic":"user:nobody"}`)
	answer := func() frame { // kept becomes live again between any two
		for {
			if f := c.read(); f.Sid != "kept" {
				return f
			}
		}
	}
	again, unknown := answer(), answer()
	if len(heard) != 1 {
		t.Fatal("heard nothing, want that lost is forbidden")
	}
	for _, f := range []frame{again, unknown} {
		if f.Type != "error" || f.Code != heard[0].Code || f.Message != heard[0].Message {
			t.Errorf("got %s, want what the subscription ended with: %s", f.text, heard[0].text)
		}
	}
	// Its sid is free, and rights that come back make it readable again.
	c.send(`{"type":"auth","token":"wide"}`)
	for c.read().Type != "welcome" {
	}
	c.subscribe("lost", topic, "", "")
	c.untilCursor("lost", lost.tick(1))
}
