package gateway_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A scribe writes down what goes over the wire, with what differs from run to run
// replaced by names that are given in order of appearance.
type scribe struct {
	b     strings.Builder
	names map[string]string
	count map[string]int
}

var variables = []struct {
	name string
	form *regexp.Regexp
}{
	{"time", regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*Z"`)},
	{"job", regexp.MustCompile(`\d\d[0-9A-HJKMNP-TV-Z]{26}`)},
	{"cursor", regexp.MustCompile(`\d{13}-\d+`)},
	{"rev", regexp.MustCompile(`"rev":\d+`)},
	{"connection", regexp.MustCompile(`"connection":"[A-Z0-9]{16}"`)},
	{"delay", regexp.MustCompile(`"reconnect_after_ms":\d+`)},
}

func (s *scribe) write(who, text string) {
	for _, v := range variables {
		text = v.form.ReplaceAllStringFunc(text, func(found string) string {
			if v.name == "time" {
				return `"<time>"`
			}
			key := v.name + " " + found
			if s.names[key] == "" {
				s.count[v.name]++
				s.names[key] = fmt.Sprintf("<%s %d>", v.name, s.count[v.name])
			}
			member, _, ok := strings.Cut(found, ":")
			if ok {
				return member + `:` + s.names[key]
			}
			return s.names[key]
		})
	}
	s.b.WriteString(who + " " + text + "\n")
}

func (s *scribe) compare(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(s.b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.b.String(); got != string(want) {
		t.Errorf("the wire is not as %s has it (go test -update writes it anew, if that is meant). Got:\n%s\nwant:\n%s", path, got, want)
	}
}

// TestWire holds every frame that docs/protocol.md shows against a golden file.
func TestWire(t *testing.T) {
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{
			"t0p5ecret": {Subject: "alice", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}},
			"warm":      {Subject: "root", Admin: true},
		}
	})
	p := start(t, e, topic)
	settled(t, newClient(t, s.dial(t, dialer(0), bearer("warm"))), start(t, e, "user:41"))
	first := p.tick(1)
	w := &scribe{names: map[string]string{}, count: map[string]int{}}
	c := &client{t: t, conn: s.dial(t, dialer(0), nil), subs: map[string]*held{}}
	say := func(text string) {
		w.write(">", text)
		c.send(text)
	}
	hear := func(until string) {
		for {
			f := c.read()
			w.write("<", f.text)
			if f.Type == until {
				return
			}
		}
	}
	say(`{"type":"auth","token":"t0p5ecret"}`)
	hear("welcome")
	say(`{"type":"subscribe","sid":"a","topic":"user:42"}`)
	hear("live")
	p.stage("write")
	hear("records")
	say(`{"type":"subscribe","sid":"b \"2\"","topic":"user:42","after":"` + string(first) + `"}`)
	hear("live")
	say(`{"type":"subscribe","sid":"c","topic":"user:42","after":"1-1","filter":{"job":"` + string(p.job) + `"}}`)
	hear("live")
	say(`{"type":"subscribe","sid":"d","topic":"user:43"}`)
	hear("error")
	say(`{"type":"unsubscribe","sid":"a"}`)
	say(`{"type":"unsubscribe","sid":"c"}`)
	say(`{"type":"ping"}`)
	hear("pong")
	p.succeed()
	hear("records") // one at a time: records that come together share a frame
	if err := e.Notify(soon(t), topic, "", []byte(`{"title":"Ready"}`)); err != nil {
		t.Fatal(err)
	}
	hear("records")
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context()) }()
	hear("goodbye")
	w.write("<", fmt.Sprintf("close %d", c.closed()))
	hangUp(c.conn)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	w.compare(t, "wire.txt")
}

// settled waits, with a job of user:41, until records reach a subscription as they are committed: a tail that
// has just started makes its readers verify, which may give one from the stream, and
// another live frame.
func settled(t testing.TB, c *client, p *pen) {
	t.Helper()
	for i := 0; ; i++ {
		sid := fmt.Sprintf("settling %d", i)
		h := c.subscribe(sid, "user:41", "", "")
		c.untilLive(sid)
		h.replayed = -1
		c.untilCursor(sid, p.tick(1))
		if h.replayed == -1 { // no second live frame
			c.send(`{"type":"ping"}`)
			for c.read().Type != "pong" {
			}
			if h.replayed == -1 {
				return
			}
		}
	}
}

// TestRecordBytesAreTheStreams: what the stream holds is what goes out.
func TestRecordBytesAreTheStreams(t *testing.T) {
	e := real(t)
	c := serve(t, e, nil).client(t)
	p := start(t, e, topic)
	c.subscribe("replayed", topic, engine.Beginning, "")
	c.untilLive("replayed")
	c.send(`{"type":"unsubscribe","sid":"replayed"}`)
	at := c.subs["replayed"].cursor
	c.subscribe("live", topic, at, "")
	c.untilLive("live")
	p.succeed()
	f := c.read()
	want := recorded(t, e, topic, at)
	if len(f.Records) != 1 || string(f.Records[0]) != string(want[0].JSON) {
		t.Errorf("got %s, the stream has %s", f.text, want[0].JSON)
	}
}
