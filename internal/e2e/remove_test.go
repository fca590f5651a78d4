package e2e

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// files lists the files of a data folder's blobs that name a job.
func (s *site) files(job string) (found []string) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.data, "blobs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, job) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// A person removes ended jobs. They go from this page, from another one, and from one that was away;
// their files go; and the keyboard goes on at the next row.
func TestRemovingInABrowser(t *testing.T) {
	t.Parallel()
	s := newUp(t)
	b, other := newBrowser(t, nil), newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	table, _ := writeTable(t, "orders.csv", 1<<20)
	b.drop(table)
	done := b.awaitState("succeeded").text("job")
	b.drop(writeCut(t))
	failed := b.awaitState("failed").text("job")
	row := func(job string) string { return `[data-job="` + job + `"]` }
	other.open("http://" + s.addr + "/")
	other.awaitJob(failed, "failed", "", 0)
	other.awaitJob(done, "succeeded", "", 0)

	b.press(failed, "remove")
	b.do("shows", line{"selector": row(failed) + " .question", "text": "Remove this job and its files?"})
	b.look("remove")
	b.do("key", line{"selector": row(failed) + " .question .quiet", "key": "Enter"})
	b.do("focused", line{"selector": row(failed) + " [data-verb=remove]"})
	if n := b.do("count", line{"selector": row(failed)}).number("n"); n != 1 || len(s.files(failed)) == 0 {
		t.Fatalf("kept, the job has %v rows and the files %v", n, s.files(failed))
	}
	b.press(failed, "remove")
	b.do("key", line{"selector": row(failed) + " .question .danger", "key": "Enter"})
	b.do("gone", line{"selector": row(failed)})
	b.do("focused", line{"selector": row(done)})
	other.do("gone", line{"selector": row(failed)})

	// The other page is away, and holds the job in its store.
	other.open("http://" + s.addr + "/healthz")
	b.press(done, "remove")
	b.do("click", line{"selector": row(done) + " .question .danger"})
	b.do("gone", line{"selector": row(done)})
	b.do("shows", line{"selector": "#empty", "text": ""})
	from := other.process.said()
	other.open("http://" + s.addr + "/")
	other.await("badge", "live", from)
	other.do("gone", line{"selector": row(done)})

	for _, job := range []string{done, failed} {
		if files := s.files(job); len(files) > 0 {
			t.Errorf("%v are left of job %s", files, job)
		}
	}
	b.checkQuiet()
	b.close()
	other.close()
	s.stop()
}
