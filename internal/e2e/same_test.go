package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// lookalikes writes two tables of one name, size and time, and of other content.
func lookalikes(t *testing.T, sizeBytes int) (one, two string) {
	t.Helper()
	when := time.Now().Add(-time.Hour).Truncate(time.Second)
	path := func(row string) string {
		path := filepath.Join(t.TempDir(), "data.csv")
		if err := os.WriteFile(path, append([]byte("v\n"), bytes.Repeat([]byte(row), sizeBytes/len(row))...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return path("1111111\n"), path("2222222\n")
}

// arrived are the contents of the topic's uploads.
func (s *site) arrived() (all [][]byte) {
	s.t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.data, "blobs", "incoming", topic, "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// Files that look the same are two jobs: chosen together, and one after the other was cut
// off. What was cut off goes on with the file that it is of.
func TestFilesThatLookTheSameInABrowser(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	one, two := lookalikes(t, size)
	s := newUp(t)
	w := newWire(t, s.addr)
	w.throttle(1 << 20)
	seen := newLedger(t)
	b := newBrowser(t, seen.take)
	b.open(w.url())
	b.await("badge", "live", 0)
	b.do("pick", line{"files": []string{one}})
	seen.awaitPercent(b.process, 10)
	from := b.process.said()
	b.do("reload", line{})
	b.await("badge", "live", from)
	w.throttle(0)
	b.do("pick", line{"files": []string{two, one}})
	done := map[string]bool{}
	b.process.await("two jobs that are done", from, func(l line) bool {
		if l.text("event") == "painted" && l.text("state") == "succeeded" {
			done[l.text("job")] = true
		}
		return len(done) == 2
	})
	if said := b.do("text", line{"selector": "#notice"}).text("said"); said != "" {
		t.Errorf("the page says %q", said)
	}
	wanted := map[string]int{}
	for _, path := range []string{one, two} {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wanted[string(file)]++
	}
	for _, got := range s.arrived() {
		wanted[string(got)]--
	}
	for file, missing := range wanted {
		if missing != 0 {
			t.Errorf("of %d bytes that begin with %.10q there are %d jobs too few", len(file), file, missing)
		}
	}
	b.checkQuiet()
	b.close()
	s.stop()
}

// A file that is rewritten while it is sent is given up, and the page says why.
func TestFileThatChangesInABrowser(t *testing.T) {
	t.Parallel()
	one, _ := lookalikes(t, 4<<20)
	s := newUp(t)
	w := newWire(t, s.addr)
	w.throttle(1 << 20)
	seen := newLedger(t)
	b := newBrowser(t, seen.take)
	b.open(w.url())
	b.await("badge", "live", 0)
	b.drop(one)
	seen.awaitPercent(b.process, 10)
	if err := os.Truncate(one, 1<<20); err != nil {
		t.Fatal(err)
	}
	w.sever()
	b.do("shows", line{"selector": "#transfers .transfer[data-status=failed]", "text": "the file cannot be read; if it has changed"})
	w.restore() // only now can the page cancel the job
	b.awaitState("canceled")
	b.close()
	s.stop()
}
