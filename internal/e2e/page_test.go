package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkQuiet checks that the browser had nothing to complain of.
func (b *browser) checkQuiet() {
	b.t.Helper()
	for _, l := range b.process.all() {
		if event := l.text("event"); event == "console" || event == "violation" || event == "error" {
			b.t.Errorf("%s: %s %s", event, l.text("text"), l.text("where"))
		}
	}
}

// A page that nobody has used yet says so; a file that is no table ends as a job that
// failed, with the reason; a good one shows its profile; and the browser has nothing to
// complain of in any of it.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	s := newUp(t)
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	b.process.await("the empty page", 0, func(l line) bool { return l.text("event") == "empty" && l["is"] == true })

	binary := filepath.Join(t.TempDir(), "picture.csv")
	if err := os.WriteFile(binary, []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xff\xfe"+strings.Repeat("\x00\x01\xfe", 50_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	from := b.process.said()
	b.drop(binary)
	failed := b.awaitState("failed")
	if reason := failed.text("reason"); !strings.Contains(reason, "it looks like image/png") {
		t.Errorf("the page gives %q as the reason", reason)
	}
	b.process.await("the page to be no longer empty", from, func(l line) bool { return l.text("event") == "empty" && l["is"] == false })

	table, rows := writeTable(t, "orders.csv", 1<<20)
	b.drop(table)
	b.awaitState("succeeded")
	b.await("profile", "Rows", 0)
	t.Logf("%d rows: %s", rows, b.do("text", line{"selector": ".profile .facts"}).text("said"))
	b.look("ended")
	b.checkAgreement()
	b.checkQuiet()
	b.close()
	s.stop()
}

// asynq's own web UI works behind the gateway, under its own content security policy.
func TestQueuesInABrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	// A queue is there from its first task on; this job has no file, and fails.
	enqueue := start(t, "enqueue", nil, s.program, "enqueue", "--data", s.data, "analysis", "--payload", `{"blob":"none.csv"}`)
	<-enqueue.ended
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/admin/asynq/")
	b.do("shows", line{"selector": "table", "text": "tidemark"})
	b.checkQuiet()
	b.close()
	s.stop()
}
