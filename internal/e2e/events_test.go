package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// stream has tabs listen to the topic's events at an address of the gateway.
func (b *browser) stream(site string, tabs ...string) {
	b.t.Helper()
	b.do("streams", line{"site": site, "path": "/v1/events?topic=" + topic, "tabs": tabs})
}

// streamed waits until a tab has been given a frame since the event from.
func (b *browser) streamed(tab string, from int, what string, as func(line) bool) {
	b.t.Helper()
	b.process.await("tab "+tab+": "+what, from, func(l line) bool { return l.text("event") == "streamed" && l.text("tab") == tab && as(l) })
}

// shown waits until a tab has been given a record of a job at a percent.
func (b *browser) shown(tab string, percent float64) {
	b.t.Helper()
	b.streamed(tab, 0, "the job's percent", func(l line) bool {
		records, _ := l["records"].([]any)
		for _, r := range records {
			if job := line(r.(map[string]any)).within("job"); job.number("percent") == percent {
				return true
			}
		}
		return false
	})
}

// checkStream checks that each of a tab's frames follows the one before, over all its connections, and
// that it needed one snapshot. It returns how many connections there were.
func (b *browser) checkStream(tab string) (connections int) {
	b.t.Helper()
	cursor, snapshots := "", 0
	for _, l := range b.process.all() {
		if l.text("event") != "streamed" || l.text("tab") != tab {
			continue
		}
		switch l.text("frame") {
		case "welcome":
			connections++
		case "snapshot":
			if l["final"] == true {
				cursor = l.text("cursor")
				snapshots++
			}
		case "records":
			if l.text("after") != cursor {
				b.t.Errorf("tab %s: a frame follows %s, and the tab is at %s", tab, l.text("after"), cursor)
			}
			cursor = l.text("cursor")
		}
		if l.text("id") != cursor {
			b.t.Errorf("tab %s: the last ID is %q, the cursor %q", tab, l.text("id"), cursor)
		}
	}
	if snapshots != 1 {
		b.t.Errorf("tab %s was given %d snapshots, want 1", tab, snapshots)
	}
	return connections
}

// A browser's EventSource alone follows a topic over cuts and the gateway's death. A fifth stream of one
// browser is sent away, so that over HTTP/1.1 its tabs have connections left for what else they ask.
func TestEventSource(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	w := newWire(t, s.addr)
	h := newHand(t, s)
	job := h.enqueue("Orders")
	ran := h.attempt(job, 1, runtime.Report{Type: engine.JobProgress, Tenths: 100})
	b := newBrowser(t, nil)
	b.open(w.url())
	both := []string{"1", "2"}
	all := func(percent float64) {
		t.Helper()
		ran = h.report(job, ran, runtime.Report{Type: engine.JobProgress, Tenths: int(percent * 10)})
		for _, tab := range both {
			b.shown(tab, percent)
		}
	}
	b.stream(w.url(), both...)
	for _, tab := range both {
		b.streamed(tab, 0, "live", func(l line) bool { return l.text("frame") == "live" })
	}
	all(20)
	for percent := 30.0; percent < 60; percent += 10 {
		from := b.process.said()
		w.sever()
		for _, tab := range both { // it has tried in vain
			b.process.await("tab "+tab+" to be cut", from, func(l line) bool { return l.text("event") == "cut" && l.text("tab") == tab })
		}
		ran = h.report(job, ran, runtime.Report{Type: engine.JobProgress, Tenths: int(percent*10) - 50}, runtime.Report{Type: engine.JobStage, Shown: &runtime.Shown{Stage: engine.Stage{Name: "write"}}})
		w.restore()
		all(percent)
	}
	s.gateway.kill()
	s.startGateway()
	all(70)

	b.stream(w.url(), "3", "4", "5")
	b.streamed("5", 0, "goodbye", func(l line) bool {
		return l.text("frame") == "goodbye" && l.text("reason") == "too_many_streams" && l.number("reconnect_after_ms") == 60_000
	})
	if answer := b.do("ask", line{"path": "/v1/jobs?topic=" + topic}); answer.number("status") != http.StatusOK {
		t.Errorf("beside five streams a request is answered %v", answer)
	}
	both = append(both, "3", "4")
	all(80)
	for _, tab := range both[:2] {
		if n := b.checkStream(tab); n < 5 {
			t.Errorf("tab %s has had %d connections, want one for each cut", tab, n)
		}
	}
	b.close()
	h.close()
	s.stop()
}

// An nginx that buffers answers passes events on as they come, and one that ends what is idle costs no
// more than a connection.
func TestEventSourceBehindNginx(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	h := newHand(t, s)
	job := h.enqueue("Orders")
	ran := h.attempt(job, 1)
	site := regexp.MustCompile(`(?m)^ *proxy_buffering .*\n`).ReplaceAllString(nginxByTheDocs(t), "")
	_, buffering := startNginx(t, site, s.addr)
	_, hasty := startNginx(t, strings.Replace(site, "proxy_read_timeout 75s;", "proxy_read_timeout 1s;", 1), s.addr)
	b := newBrowser(t, nil)
	b.open("http://" + buffering + "/")
	b.stream("http://"+buffering, "buffered")
	b.stream("http://"+hasty, "hasty")
	b.streamed("buffered", 0, "live", func(l line) bool { return l.text("frame") == "live" })
	ran = h.report(job, ran, runtime.Report{Type: engine.JobProgress, Tenths: 200})
	b.shown("buffered", 20)
	from := 0
	for range 3 {
		_, from = b.process.await("nginx to end what is idle", from, func(l line) bool { return l.text("event") == "cut" && l.text("tab") == "hasty" })
	}
	h.report(job, ran, runtime.Report{Type: engine.JobProgress, Tenths: 300})
	b.shown("hasty", 30)
	b.shown("buffered", 30)
	if n := b.checkStream("buffered"); n != 1 {
		t.Errorf("behind an nginx that buffers it took %d connections", n)
	}
	if n := b.checkStream("hasty"); n < 3 {
		t.Errorf("behind an nginx that ends what is idle it took %d connections", n)
	}
	b.close()
	h.close()
	s.stop()
}
