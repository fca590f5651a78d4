package stream

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A topic that nobody follows any more lingers, so that who polls finds it. So many do, and no longer than 30 s.
func TestTopicsLinger(t *testing.T) {
	e, err := engine.Open(t.Context(), engine.Options{URL: redistest.Server(t).URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	h := quietly(t, e, Options{})
	now := time.Now()
	follows := func(name engine.Topic) *subscription {
		sub := &subscription{}
		h.follow(sub, name)
		return sub
	}
	pass := func(d time.Duration) {
		now = now.Add(d)
		for _, l := range h.lingers.due(now) {
			h.lapse(l)
		}
	}
	held := func(when string, topics, followed int) {
		t.Helper()
		if n := gauge(t, h, "tidemark_gateway_topics"); len(h.topics) != topics || n != followed || h.lingering != topics-followed {
			t.Errorf("%s: %d topics, %d followed, %d linger; want %d and %d", when, len(h.topics), n, h.lingering, topics, followed)
		}
	}
	first := follows("user:42")
	one := first.topic
	h.unfollow(first)
	held("left", 1, 0)
	pass(lingerTime / 2)
	again := follows("user:42")
	if again.topic != one {
		t.Error("who polls follows a topic that has begun anew")
	}
	held("followed again", 1, 1)
	pass(lingerTime)
	held("followed for long", 1, 1)
	h.unfollow(again)
	h.unfollow(follows("user:42"))
	pass(time.Hour)
	held("left for long", 0, 0)

	for i := range maxLingering + 10 {
		h.unfollow(follows(engine.Topic(fmt.Sprint("user:", i))))
	}
	held("many", maxLingering, 0)
	stays := follows("user:1")
	held("one of many", maxLingering, 1)
	h.unfollow(stays)
	pass(time.Hour)
	held("many, for long", 0, 0)
}

// gauge is what a gauge of the hub's shows.
func gauge(t *testing.T, h *Hub, name string) int {
	t.Helper()
	families, err := h.opts.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
