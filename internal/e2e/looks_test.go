package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// look takes the page as it is in its four looks, wide and narrow, light and dark. In each axe
// must find nothing, and nothing may hang over the page's edge.
func (b *browser) look(name string) {
	b.t.Helper()
	for _, width := range []int{1280, 375} {
		for _, scheme := range []string{"light", "dark"} {
			look := fmt.Sprintf("%s-%d-%s", name, width, scheme)
			answer := b.do("size", line{"width": width, "height": 800, "scheme": scheme})
			if wide := answer.number("wide"); wide > float64(width) {
				b.t.Errorf("%s: the page is %v wide", look, wide)
			}
			found, _ := b.do("axe", line{})["violations"].([]any)
			for _, violation := range found {
				b.t.Errorf("%s: %v", look, violation)
			}
			b.do("picture", line{"path": filepath.Join(b.pictures(), look+".png")})
		}
	}
	b.do("size", line{"width": 1200, "height": 800, "scheme": "light"})
}

// pictures is the folder of TIDEMARK_SCREENSHOTS, or the test's own for artifacts.
func (b *browser) pictures() string {
	if dir := os.Getenv("TIDEMARK_SCREENSHOTS"); dir != "" {
		return dir
	}
	return b.t.ArtifactDir()
}

// The page in everything that it may have: nothing yet, files whose profile is open and others,
// jobs in each state, a question, and a request that is refused. Of files that are dropped
// together one profile opens by itself, and a button closes all.
func TestPageInAllItsLooks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	b.do("shows", line{"selector": "#drop", "text": "CSV, Excel, NDJSON or Parquet, up to 5 GiB. If"})
	b.process.await("the empty page", 0, func(l line) bool { return l.text("event") == "empty" && l["is"] == true })
	b.look("empty")

	var files []string
	for _, name := range []string{"orders.csv", "customers.csv", "a-name-that-is-longer-than-most-of-them-and-goes-on-for-a-while-2025.csv"} {
		file, _ := writeTable(t, name, 64<<10+len(name))
		files = append(files, file)
	}
	b.do("drop", line{"files": files})
	for i := range files {
		b.do("shows", line{"selector": fmt.Sprintf("#ended > .job:nth-child(%d) .state", i+1), "text": "Done"})
	}
	b.do("shows", line{"selector": ".profile .facts", "text": "Rows"})
	if n := b.do("count", line{"selector": "#ended .result:not([hidden])"}).number("n"); n != 1 {
		t.Errorf("%v profiles have opened by themselves, want 1", n)
	}
	b.do("click", line{"selector": "#ended .result:not([hidden]) .column:nth-child(2) .opener"})
	b.do("shows", line{"selector": ".detail:not([hidden])", "text": "Deviation"})
	b.look("profile")
	closed := "#ended > .job:has(> .result[hidden]) > .head > button"
	b.do("click", line{"selector": closed + " >> nth=0"})
	b.do("click", line{"selector": "#ended-close"})
	b.do("focused", line{"selector": "#ended-section"})
	if n := b.do("count", line{"selector": "#ended .result:not([hidden]), #ended-close:not([hidden])"}).number("n"); n != 0 {
		t.Errorf("%v results are open after all were closed", n)
	}

	b.checkLinks()

	s.worker.stop() // or it would take the jobs that follow, whose worker is the test
	s.worker = nil
	h := newHand(t, s)
	h.states()
	b.do("shows", line{"selector": "#ended", "text": "there is no such table"})
	b.do("shows", line{"selector": "#live", "text": "Rests until"})
	b.do("click", line{"selector": "#live .job:has(.title:text-is('Orders 2025')) > .parts > .opener"})
	b.do("click", line{"selector": "#live .job:has(.title:text-is('Invoices')) > .head [data-verb=cancel]"})
	b.look("states")
	// Of those that move Orders 2025 was made last; the others are what Under way counts.
	if said := b.do("title", line{}).text("said"); said != "24 % Orders 2025 and 5 more · Tidemark" {
		t.Errorf("the tab's title is %q", said)
	}
	// Thirty rows that are done have room on a screen of 1,080 lines, less the browser's own.
	if high := b.do("box", line{"selector": "#ended > .job:has(.title:text-is('Report 5'))"}).number("height"); high > 32 {
		t.Errorf("a row that is done is %v px high", high)
	}
	b.checkQuiet()
	b.close()
	h.close()
	s.stop()
}

// The README's pictures, docs/images: a file whose upload is done and whose analysis is under way,
// above others that are done. TIDEMARK_SCREENSHOTS=../../docs/images, as an absolute path, makes them
// anew.
func TestPageOfTheReadme(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	watch := s.watch()
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	var files []string
	for _, name := range []string{"customers.csv", "stock.csv", "invoices-2025.csv"} {
		file, _ := writeTable(t, name, 400<<10)
		files = append(files, file)
	}
	b.do("drop", line{"files": files})
	b.do("shows", line{"selector": "#ended > .job:nth-child(3) .state", "text": "Done"})
	s.pauseWorker()
	file, _ := writeTable(t, "orders.csv", tableBytes)
	b.drop(file)
	b.awaitState("queued")
	for _, percent := range []float64{53, 57, 63} {
		s.analyze(watch, percent)
		b.process.await("the bar", 0, func(l line) bool { return l.text("event") == "painted" && l.number("percent") >= percent })
	}
	b.do("shows", line{"selector": "#live > .job", "text": "read, step 2 of 3"})
	for _, scheme := range []string{"light", "dark"} {
		b.do("size", line{"width": 1080, "height": 640, "scheme": scheme})
		b.do("picture", line{"path": filepath.Join(b.pictures(), "page-"+scheme+".png"), "window": true})
	}
	s.resumeWorker()
	b.awaitState("succeeded")
	b.checkQuiet()
	b.close()
	s.stop()
}

// checkLinks checks where the page's links and its picker lead.
func (b *browser) checkLinks() {
	b.t.Helper()
	for selector, want := range map[string]string{
		"#ended > .job:nth-child(1) .id": `"title":"`,
		".links a":                       `"columns": [`,
		`.links a[href$="/upload"]`:      "id,",
	} {
		if got := b.do("follow", line{"selector": selector}); got.number("status") != http.StatusOK || !strings.Contains(got.text("body"), want) {
			b.t.Errorf("%s leads to %v %.200q, want %s", selector, got.number("status"), got.text("body"), want)
		}
	}
	if accept := b.do("attribute", line{"selector": "#picker", "name": "accept"}).text("said"); !strings.Contains(accept, ".csv,") {
		b.t.Errorf("the picker accepts %q", accept)
	}
}

// An address whose topic can be none says so, and where to go.
func TestPageOfNoTopic(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/?topic=Orders+2025")
	b.do("shows", line{"selector": "#no-topic", "text": "“Orders 2025” cannot be a topic."})
	b.look("no-topic")
	b.do("click", line{"selector": "#own-topic"})
	b.await("badge", "live", 0)
	b.do("shows", line{"selector": "#topic", "text": topic})
	b.checkQuiet()
	b.close()
	s.stop()
}

// states makes a job in each state, and some that are done.
func (h hand) states() {
	h.t.Helper()
	ctx := h.t.Context()
	for i := range 12 {
		h.attempt(h.enqueue(fmt.Sprintf("Report %d", i+1)), 1, runtime.Report{Type: engine.JobSucceeded, Result: []byte(`{"rows":1000}`)})
	}
	h.attempt(h.enqueue("Stock"), 1, runtime.Report{Type: engine.JobFailed, Tenths: 300, Error: &engine.JobError{Code: "error", Message: "stock.csv, row 1,204: there is no such table. " + strings.Repeat("The tables that there are have other names. ", 6)}})
	if err := h.engine.Cancel(ctx, h.enqueue("Returns")); err != nil {
		h.t.Fatal(err)
	}
	shown := runtime.Shown{
		Progress: engine.Progress{Done: 614_000, Total: 1_000_000, Unit: "rows"}, Stage: engine.Stage{Name: "read", Index: 1, Count: 3},
		Message: "reading invoices", ETA: 41 * time.Second,
	}
	h.attempt(h.enqueue("Invoices"), 1, runtime.Report{Type: engine.JobProgress, Tenths: 614, Shown: &shown})
	h.attempt(h.enqueue("Search index"), 1, runtime.Report{Type: engine.JobProgress, Shown: &runtime.Shown{Indeterminate: true, Message: "counting documents"}})
	h.attempt(h.enqueue("Mail"), 1, runtime.Report{Type: engine.JobRetrying, Tenths: 120, Error: &engine.JobError{Code: "error", Message: "the mail server does not answer"}, RetryAt: time.Now().Add(time.Hour), Retries: 1})
	_, child := h.family(10)
	h.attempt(child(0), 1, runtime.Report{Type: engine.JobSucceeded})
	h.attempt(child(1), 1, runtime.Report{Type: engine.JobFailed, Tenths: 100, Error: &engine.JobError{Code: "error", Message: "part 1 is empty"}})
	h.attempt(child(2), 1, runtime.Report{Type: engine.JobProgress, Tenths: 400})
	h.enqueue("Waits")
	if err := h.engine.Pause(ctx, h.enqueue("Rests")); err != nil {
		h.t.Fatal(err)
	}
}
