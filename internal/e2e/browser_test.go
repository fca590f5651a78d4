package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A browser is a page in the system's Chromium, driven by node/browser.mjs.
type browser struct {
	t       *testing.T
	process *process
}

// newBrowser starts Chromium with a profile of its own. take sees all that the page
// shows; init are scripts that run in each document before the page's.
func newBrowser(t *testing.T, take func(line), init ...string) *browser {
	t.Helper()
	args := []string{findChromium(t), t.TempDir()}
	for _, path := range init {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	b := &browser{t, script(t, "browser", take, "node/browser.mjs", args...)}
	t.Cleanup(func() { // before the script is killed, which would leave Chromium to itself
		_ = b.process.input.Close()
		b.process.bell.await(context.Background(), func() bool { return b.process.over })
	})
	return b
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no chromium, chromium-browser or google-chrome on the PATH: run internal/setup/setup.sh")
	return ""
}

// do has a command done, and returns its answer.
func (b *browser) do(name string, command line) line {
	b.t.Helper()
	from := b.process.said()
	command["do"] = name
	b.process.say(command)
	answer, _ := b.process.await(name, from, func(l line) bool { return l.text("event") == "done" && l.text("text") == name })
	return answer
}

func (b *browser) open(url string) {
	b.t.Helper()
	if answer := b.do("open", line{"url": url}); answer.number("status") != http.StatusOK {
		b.t.Fatalf("%s is answered with %v", url, answer.number("status"))
	}
}

func (b *browser) drop(file string) {
	b.t.Helper()
	b.do("drop", line{"files": []string{file}})
}

// await waits for what the page shows, from a line on.
func (b *browser) await(event, text string, from int) line {
	b.t.Helper()
	found, _ := b.process.await(event+" "+text, from, func(l line) bool {
		return l.text("event") == event && strings.Contains(l.text("text"), text)
	})
	return found
}

// awaitState waits until the page shows a job in a state.
func (b *browser) awaitState(state string) line {
	b.t.Helper()
	found, _ := b.process.await("a job that is "+state, 0, func(l line) bool {
		return l.text("event") == "painted" && l.text("state") == state
	})
	return found
}

// close ends the browser in order, as the last thing before the gateway's end.
func (b *browser) close() {
	b.t.Helper()
	b.do("close", line{})
}

// checkAgreement checks that what the page paints of a percent is the same everywhere:
// in words, in the bar's length, and to a screen reader.
func (b *browser) checkAgreement() {
	b.t.Helper()
	for _, l := range b.process.all() {
		if l.text("event") != "painted" {
			continue
		}
		percent := l.number("percent")
		said, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(l.text("text"), "%")), 64)
		var bar float64
		if err == nil {
			_, err = fmt.Sscanf(l.text("bar"), "scaleX(%g)", &bar)
		}
		if err != nil || said != percent || l.number("spoken") != percent || bar*100-percent > 0.05 || percent-bar*100 > 0.05 {
			b.t.Fatalf("one percent, painted in several ways (%v): %v", err, l)
		}
	}
}

// Somebody drops a file, reloads, loses the network for ten seconds, has the gateway
// killed, reloads again, and sees one bar that only grows.
func TestBrowserNeverSeesTheBarFall(t *testing.T) {
	t.Parallel()
	file, rows := writeTable(t, "orders.csv", tableSize())
	size := sizeOf(t, file)
	s := newSite(t)
	w := newWire(t, s.addr)
	w.throttle(16 << 20)
	watch := s.watch()
	s.pauseWorker()

	seen := newLedger(t)
	b := newBrowser(t, seen.take)
	b.open(w.url())
	b.await("badge", "live", 0)
	b.drop(file)

	// A reload mid-upload. The file has to be dropped again, and goes on.
	seen.awaitPercent(b.process, 12)
	from := b.process.said()
	seen.mark("the reload mid-upload")
	b.do("reload", line{})
	b.await("badge", "live", from)
	b.drop(file)
	seen.awaitPercent(b.process, 25)

	// No network for ten seconds.
	from = b.process.said()
	seen.mark("the network's loss")
	w.sever()
	b.do("offline", line{"is": true})
	b.await("badge", "reconnecting", from)
	sitOut(t.Context(), outage)
	from = b.process.said()
	w.restore()
	b.do("offline", line{"is": false})
	b.await("badge", "live", from)

	// The gateway's end in the analysis, which goes on without it.
	watch.await("the whole file", 0, func(l line) bool { return l.text("type") == "job.queued" })
	if sent, _ := w.carried(); sent > size*5/4 {
		t.Errorf("%d bytes were sent for a file of %d", sent, size)
	}
	s.analyze(watch, 62)
	seen.awaitPercent(b.process, 60)
	from = b.process.said()
	seen.mark("the gateway's end")
	s.gateway.kill()
	b.await("badge", "reconnecting", from)
	s.analyze(watch, 72)
	from = b.process.said()
	s.startGateway()
	b.await("badge", "live", from)
	s.analyze(watch, 80)
	seen.awaitPercent(b.process, 72)

	// A reload in the analysis.
	from = b.process.said()
	seen.mark("the reload in the analysis")
	b.do("reload", line{})
	b.await("badge", "live", from)
	s.resumeWorker()
	b.awaitState("succeeded")
	if err := seen.check(); err != nil {
		t.Error(err)
	}
	t.Log(seen.summary())
	b.checkAgreement()

	// The profile, as the page shows it.
	b.do("click", line{"selector": "[data-job] button[aria-controls^=result]"})
	b.do("shows", line{"selector": ".profile .facts", "text": "Rows"})
	figures := b.do("text", line{"selector": ".profile .facts"}).text("said")
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, strings.SplitN(strings.TrimSpace(strings.TrimPrefix(figures, "Rows")), "\n", 2)[0])
	if digits != strconv.Itoa(rows) {
		t.Errorf("the profile is shown as %q, want %d rows", figures, rows)
	}
	for _, l := range b.process.all() {
		if l.text("event") == "violation" {
			t.Error(l.text("text"))
		}
	}
	b.close()
	s.stop()
}

// The same observer and the same checker find a fall, where there is one: a client that
// forgets what it showed, and a server that falls back.
func TestBrowserShowsAPlantedFall(t *testing.T) {
	t.Parallel()
	file, _ := writeTable(t, "orders.csv", 12<<20)
	s := newSite(t)
	w := newWire(t, s.addr)
	w.throttle(4 << 20)
	seen := newLedger(t)
	b := newBrowser(t, seen.take, "node/plant.js")
	b.open(w.url())
	b.await("badge", "live", 0)
	b.drop(file)
	seen.awaitPercent(b.process, 20)
	from := b.process.said()
	seen.mark("the reload")
	b.do("reload", line{})
	// The old page may still paint before it goes.
	_, fresh := b.process.await("the new page", from, func(l line) bool {
		return l.text("event") == "badge" && l.text("text") == "connecting"
	})
	b.await("painted", "", fresh)
	err := seen.check()
	if err == nil || !strings.Contains(err.Error(), "falls from") {
		t.Errorf("the paints are found right (%v) although a fall is planted: %s", err, seen.summary())
	}
	t.Log(err)
	b.close()
}
