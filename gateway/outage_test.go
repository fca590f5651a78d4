package gateway_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Redis goes away for the gateway alone, while others go on writing.
func TestRedisAwayAndBack(t *testing.T) {
	r := redistest.Server(t)
	proxy := redistest.NewProxy(t, r.Addr())
	direct := open(t, r.URL(), nil)
	p := start(t, direct, topic)
	namespace := lastNamespace()
	through := open(t, proxy.URL(), func(o *engine.Options) { o.Namespace = namespace })
	s := serve(t, through, nil)
	c := s.client(t)
	h := c.subscribe("a", topic, "", "")
	c.untilLive("a")
	from := h.cursor

	proxy.Refuse()
	proxy.CutAll()
	late := c.subscribe("b", topic, engine.Beginning, "")
	for {
		f := c.read()
		if f.Type == "error" && f.Sid == "b" {
			if f.Code != "unavailable" || strings.Contains(f.Message, "dial") {
				t.Errorf("got %s, want unavailable and no inside", f.text)
			}
			break
		}
	}
	p.tick(20)
	p.stage("write")
	proxy.Accept()
	head := p.tick(20)
	c.untilCursor("a", head)
	c.untilLive("b")
	c.untilCursor("b", head)
	if want := idsOf(recorded(t, direct, topic, from)); !slices.Equal(h.ids(), want) {
		t.Errorf("records %v, want %v", h.ids(), want)
	}
	if want := idsOf(recorded(t, direct, topic, engine.Beginning)); !slices.Equal(late.ids(), want) {
		t.Errorf("records of the late one %v, want %v", late.ids(), want)
	}
	head = p.succeed()
	c.untilCursor("a", head)
	c.untilCursor("b", head)
}

// A client that hears of an outage hears of its end, also when nothing happened meanwhile.
func TestOutageWithoutRecordsEndsInLive(t *testing.T) {
	r := redistest.Server(t)
	proxy := redistest.NewProxy(t, r.Addr())
	e := open(t, proxy.URL(), nil)
	s := serve(t, e, nil)
	c := s.client(t)
	c.subscribe("a", topic, "", "")
	c.untilLive("a")
	c.untilCursor("a", start(t, e, topic).tick(1)) // the tail has its connection, which the proxy can cut
	proxy.Refuse()
	proxy.CutAll()
	for f := c.read(); f.Code != "unavailable"; f = c.read() {
	}
	proxy.Accept()
	for f := c.read(); f.Type != "live"; f = c.read() {
		if f.Type == "records" {
			t.Errorf("records came: %s", f.text)
		}
	}
}

// Redis comes back with an older history, as after a failover that lost writes.
func TestHistoryIsRewritten(t *testing.T) {
	r := redistest.Server(t, redistest.WithAOF())
	e := open(t, r.URL(), nil)
	p := start(t, e, topic)
	p.tick(5)
	saved := r.SaveAOF()
	s := serve(t, e, nil)
	c := s.client(t)
	h := c.subscribe("a", topic, "", "")
	c.untilLive("a")
	lost := p.tick(10)
	c.untilCursor("a", lost)
	r.RestartFrom(saved)
	c.until("it hears of the rewritten history", func() bool { return slices.Contains(h.snapshots, "rewritten") && h.live })
	if h.cursor.N() >= lost.N() {
		t.Errorf("it is at %s, which was lost with all up to %s", h.cursor, lost)
	}
}
