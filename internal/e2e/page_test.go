package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkQuiet checks that the browser had nothing to complain of, but of what begins like one of but.
func (b *browser) checkQuiet(but ...string) {
	b.t.Helper()
	for _, l := range b.process.all() {
		told := slices.ContainsFunc(but, func(s string) bool { return strings.HasPrefix(l.text("text"), s) })
		if event := l.text("event"); !told && (event == "console" || event == "violation" || event == "error") {
			b.t.Errorf("%s: %s %s", event, l.text("text"), l.text("where"))
		}
	}
}

// A page without jobs says so; it refuses a file that is no table, and one that is cut off ends as a
// job that failed, with the reason; a good one shows its profile; and the browser has nothing to
// complain of in any of it.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	s := newUp(t)
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	b.process.await("the empty page", 0, func(l line) bool { return l.text("event") == "empty" && l["is"] == true })

	// What the page can see it refuses before it sends anything, and offers nothing that does not help.
	from := b.process.said()
	binary := filepath.Join(t.TempDir(), "picture.csv")
	if err := os.WriteFile(binary, []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xff\xfe"+strings.Repeat("\x00\x01\xfe", 50_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.drop(binary)
	refused := "#transfers .transfer[data-status=failed]"
	b.do("shows", line{"selector": refused, "text": "Not sent: This is an image."})
	if n := b.do("count", line{"selector": refused + " button"}).number("n"); n != 1 {
		t.Errorf("the refused file has %v buttons, want one that dismisses it", n)
	}
	b.do("key", line{"selector": refused + " button", "key": "Enter"})
	b.do("gone", line{"selector": refused})

	// What only a worker sees ends as a job that has failed, with a sentence, and no second try.
	b.drop(writeCut(t))
	failed := b.awaitState("failed")
	if reason := failed.text("reason"); !strings.HasPrefix(reason, "Record 2 at byte offset 4 has a quoted field") {
		t.Errorf("the page gives %q as the reason", reason)
	}
	if n := b.do("count", line{"selector": `[data-job="` + failed.text("job") + `"] [data-verb=retry]:not([hidden])`}).number("n"); n != 0 {
		t.Errorf("the page offers %v times to try it again, which cannot help", n)
	}
	b.process.await("the page to be no longer empty", from, func(l line) bool { return l.text("event") == "empty" && l["is"] == false })

	table, rows := writeTable(t, "orders.csv", 1<<20)
	b.drop(table)
	b.awaitState("succeeded")
	b.await("profile", "Rows", 0)
	t.Logf("%d rows: %s", rows, b.do("text", line{"selector": ".profile .facts"}).text("said"))
	b.look("ended")

	// How a file was read that is not as it should be is said above its columns.
	harvest := filepath.Join(t.TempDir(), "harvest.csv")
	if err := os.WriteFile(harvest, []byte("Harvest of the orchard\nwritten 2024-10-02\nrow;place;fruits;price\n1;K\xf6ln;310;1,5\n2;Ulm;NA;2,25\n3;Graz;45;0,5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.drop(harvest)
	for _, said := range []string{"read as Windows-1252", "below 2 lines", "fruits: 1 value is counted as missing: NA.", "they have a decimal comma"} {
		b.do("shows", line{"selector": ".profile .warnings", "text": said})
	}
	b.look("warnings")
	b.checkAgreement()
	b.checkQuiet()
	b.close()
	s.stop()
}

// writeCut writes a table that ends within quotes.
func writeCut(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cut.csv")
	if err := os.WriteFile(path, []byte("a,b\n1,\"2\n3,4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
