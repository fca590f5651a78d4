package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// writeSmallest writes the files of "The smallest right client" into a folder, as
// docs/protocol.md has them, for a gateway at addr.
func writeSmallest(t *testing.T, addr string) (folder string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## The smallest right client\n")
	folder = t.TempDir()
	for _, file := range []struct{ language, name string }{{"js", "follow.js"}, {"js", "follow.mjs"}, {"html", "index.html"}} {
		_, text, begins := strings.Cut(chapter, "```"+file.language+"\n")
		text, _, ends := strings.Cut(text, "\n```\n")
		if !begins || !ends {
			t.Fatalf("docs/protocol.md has no %s", file.name)
		}
		text = strings.ReplaceAll(text, "ws://127.0.0.1:8080/", "ws://"+addr+"/")
		if err := os.WriteFile(filepath.Join(folder, file.name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// testSmallest has a client follow jobs over a loss of the network and the gateway's end, and
// checks what it has shown. open starts the client, which prints what it shows and says.
func testSmallest(t *testing.T, open func(w *wire, folder, page string) *process) {
	s := prepareSite(t)
	w := newWire(t, s.addr)
	folder := writeSmallest(t, w.addr)
	pages := httptest.NewServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(pages.Close)
	// The gateway's own pings are so far apart that only the client's find a connection that is half gone.
	s.args = []string{"--set", "auth.origins=" + pages.URL, "--set", "gateway.ping_interval=10m"}
	s.startGateway()
	h := newHand(t, s)
	orders, stock := h.enqueue("Orders"), h.enqueue("Stock")
	ran := h.attempt(orders, 1, runtime.Report{Type: engine.JobProgress, Tenths: 101})

	p := open(w, folder, pages.URL+"/")
	shows := func(text string) {
		t.Helper()
		p.await(text, 0, func(l line) bool { return l.text("event") == "shown" && l.text("text") == text })
	}
	says := func(text string, from int) {
		t.Helper()
		p.await(text, from, func(l line) bool { return l.text("event") == "said" && l.text("text") == text })
	}
	shows("Orders: running, 10.1 %")
	shows("Stock: queued, 0 %")
	ran = h.report(orders, ran, runtime.Report{Type: engine.JobProgress, Tenths: 203})
	shows("Orders: running, 20.3 %")

	// Half of the connection goes, without a word, while a job runs.
	from := p.said()
	w.swallow()
	says("reconnecting", from)
	says("resumed", from)
	ran = h.report(orders, ran, runtime.Report{Type: engine.JobProgress, Tenths: 250})
	shows("Orders: running, 25 %")

	// The network goes. One job ends meanwhile, one begins, and one lives and dies.
	from = p.said()
	w.sever()
	says("reconnecting", from)
	h.report(orders, ran, runtime.Report{Type: engine.JobProgress, Tenths: 409}, runtime.Report{Type: engine.JobSucceeded})
	ran = h.attempt(stock, 1, runtime.Report{Type: engine.JobProgress, Tenths: 300})
	h.attempt(h.enqueue("Invoices"), 1, runtime.Report{Type: engine.JobFailed, Tenths: 125, Error: &engine.JobError{Code: "error", Message: "no such table"}})
	w.restore()
	says("resumed", from)
	shows("Orders: succeeded, 100 %")
	shows("Stock: running, 30 %")
	shows("Invoices: failed, 12.5 %")

	// The gateway goes, and a job continues without it.
	from = p.said()
	s.gateway.kill()
	says("reconnecting", from)
	ran = h.report(stock, ran, runtime.Report{Type: engine.JobProgress, Tenths: 500})
	s.startGateway()
	says("resumed", from)
	shows("Stock: running, 50 %")
	h.report(stock, ran, runtime.Report{Type: engine.JobProgress, Tenths: 777})
	shows("Stock: running, 77.7 %")
	h.report(stock, ran, runtime.Report{Type: engine.JobProgress, Tenths: 777}, runtime.Report{Type: engine.JobSucceeded})
	shows("Stock: succeeded, 100 %")

	checkSmallest(t, p)
	h.close()
}

// checkSmallest checks that a client came back by its cursor each time, and that no bar fell.
func checkSmallest(t *testing.T, p *process) {
	t.Helper()
	form := regexp.MustCompile(`^(\w+): \w+, ([\d.]+) %$`)
	bars := map[string]float64{}
	var verdicts []string
	for _, l := range p.all() {
		switch text := l.text("text"); l.text("event") {
		case "said":
			if text != "reconnecting" && text != "live" && text != "" {
				verdicts = append(verdicts, text)
			}
		case "shown":
			parts := form.FindStringSubmatch(text)
			if parts == nil {
				t.Errorf("it shows %q", text)
				continue
			}
			percent, err := strconv.ParseFloat(parts[2], 64)
			if err != nil || percent < bars[parts[1]] {
				t.Errorf("%s falls from %v to %s", parts[1], bars[parts[1]], parts[2])
			}
			bars[parts[1]] = percent
		case "gone":
			t.Errorf("a job has gone: %v", l)
		}
	}
	if !slices.Equal(verdicts, []string{"fresh", "resumed", "resumed", "resumed"}) {
		t.Errorf("its subscriptions were %q, want a fresh one and three that resumed", verdicts)
	}
}

// The smallest client of docs/protocol.md is right in Node.
func TestSmallestClientInNode(t *testing.T) {
	t.Parallel()
	testSmallest(t, func(w *wire, folder, _ string) *process {
		return script(t, "the smallest client", nil, "node/smallest.mjs", folder, "ws://"+w.addr+"/v1/ws", topic)
	})
}

// It is right in Chromium too, in a page that another server sends and auth.origins names.
// Without that name the gateway refuses it.
func TestSmallestClientOnAnotherOrigin(t *testing.T) {
	t.Parallel()
	testSmallest(t, func(_ *wire, _, page string) *process {
		b := newBrowser(t, nil, "node/smallest.js")
		b.open(strings.Replace(page, "127.0.0.1", "localhost", 1)) // another origin, to a browser
		b.await("console", "403", 0)
		b.open(page)
		return b.process
	})
}
