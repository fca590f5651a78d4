package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A rawClient is the client of folder raw, over all its lives.
type rawClient struct {
	t       *testing.T
	ledger  *ledger
	args    []string
	process *process
	lives   []*process
}

// live starts the client with what it has stored.
func (c *rawClient) live() {
	c.t.Helper()
	c.process = script(c.t, "raw client", c.ledger.take, "raw/main.mjs", c.args...)
	c.lives = append(c.lives, c.process)
}

// await waits for the next event of a kind from the given line on.
func (c *rawClient) await(event, text string, from int) line {
	c.t.Helper()
	found, _ := c.process.await(event+" "+text, from, func(l line) bool {
		return l.text("event") == event && (text == "" || l.text("text") == text)
	})
	return found
}

// checkMilestones checks that, whatever happened, none was missed: the records that
// another reader saw, from where the client first stood, are those that its lives saw
// together; and that the gateway took every cursor of a life for what it was.
func (c *rawClient) checkMilestones(watch *process) {
	c.t.Helper()
	var first line
	for i, life := range c.lives {
		for _, l := range life.all() {
			switch event := l.text("event"); {
			case event == "verdict" && l.text("after") == "":
				first = l
			case event == "verdict" && l.text("reason") != "resumed", event == "lost", event == "error":
				c.t.Errorf("life %d: %v", i, l)
			}
		}
	}
	var want []string
	for _, l := range watch.all() {
		kind := l.text("type")
		if strings.HasPrefix(kind, "job.") && kind != "job.progress" && kind != "job.checkpoint" &&
			number(c.t, l.text("id")) > number(c.t, first.text("cursor")) {
			want = append(want, l.text("id"))
		}
	}
	if got := c.milestones(); len(want) < 4 || !slices.Equal(got, want) {
		c.t.Errorf("milestones %v, want %v", got, want)
	}
}

// number is the n of a cursor.
func number(t *testing.T, cursor string) int64 {
	t.Helper()
	_, n, _ := strings.Cut(cursor, "-")
	value, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		t.Fatalf("cursor %q: %v", cursor, err)
	}
	return value
}

// milestones are the records that are no ticks, as all lives have seen them. A life that
// was killed before it could store its cursor has the next one see some again.
func (c *rawClient) milestones() (ids []string) {
	for _, p := range c.lives {
		for _, l := range p.all() {
			if l.text("event") == "milestone" && !slices.Contains(ids, l.text("id")) {
				ids = append(ids, l.text("id"))
			}
		}
	}
	return ids
}

// A client that is written from docs/protocol.md alone, with nothing of ours, sees a job
// from its file's first byte to its end: killed in the upload and in the analysis, cut
// off for ten seconds, and with the gateway killed under it.
func TestRawClientNeverSeesTheBarFall(t *testing.T) {
	t.Parallel()
	file, rows := writeTable(t, "orders.csv", tableSize())
	size := sizeOf(t, file)
	s := newSite(t)
	w := newWire(t, s.addr)
	w.throttle(16 << 20)
	watch := s.watch()
	s.pauseWorker()

	seen := newLedger(t)
	c := &rawClient{t: t, ledger: seen, args: []string{w.url(), topic, filepath.Join(t.TempDir(), "store.json"), file}}
	c.live()

	// Its end mid-upload, and a new life that goes on from the offset.
	seen.awaitPercent(c.process, 12)
	c.process.kill()
	seen.mark("the client's end mid-upload")
	c.live()
	if again := c.await("upload", "", 0); again.number("offset") == 0 || again.number("offset") >= float64(size) {
		t.Errorf("the upload goes on from %v of %d bytes", again.number("offset"), size)
	}
	seen.awaitPercent(c.process, 25)

	// No network for ten seconds.
	from := c.process.said()
	w.sever()
	seen.mark("the network's loss")
	c.await("badge", "Reconnecting", from)
	sitOut(t.Context(), outage)
	w.restore()
	c.process.say(line{"do": "wake"})
	c.await("badge", "Live", from)
	c.await("uploaded", "", from)
	if sent, _ := w.carried(); sent > size*5/4 {
		t.Errorf("%d bytes were sent for a file of %d", sent, size)
	}

	// The gateway's end in the analysis, which goes on without it.
	s.analyze(watch, 62)
	seen.awaitPercent(c.process, 60)
	from = c.process.said()
	s.gateway.kill()
	seen.mark("the gateway's end")
	c.await("badge", "Reconnecting", from)
	s.analyze(watch, 72)
	s.startGateway()
	c.await("badge", "Live", from)
	s.analyze(watch, 80)
	seen.awaitPercent(c.process, 72)

	// Its end in the analysis.
	c.process.kill()
	seen.mark("the client's end in the analysis")
	c.live()
	c.await("badge", "Live", 0)
	s.resumeWorker()
	ended := c.await("ended", "", 0)
	if ended.text("state") != "succeeded" {
		t.Fatalf("the job ended %v", ended)
	}
	if err := seen.check(); err != nil {
		t.Error(err)
	}
	t.Log(seen.summary())
	checkProfile(t, w.url(), ended.within("result"), rows)

	watch.await("the end", 0, func(l line) bool { return l.text("type") == "job.succeeded" })
	c.checkMilestones(watch)
	c.process.kill()
	s.stop()
}

// checkProfile fetches the profile that a result names and counts its rows.
func checkProfile(t *testing.T, base string, result line, rows int) {
	t.Helper()
	id := result.within("profile").text("id")
	if id == "" {
		t.Fatalf("the result names no profile: %v", result)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/artifacts/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%.500s", id, answer.Status, err, body)
	}
	var profile struct{ Rows int }
	if err := json.Unmarshal(body, &profile); err != nil || profile.Rows != rows {
		t.Errorf("the profile has %d rows, want %d (%v)\n%.500s", profile.Rows, rows, err, body)
	}
}
