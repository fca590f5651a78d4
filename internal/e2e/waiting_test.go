package e2e

import (
	"net/http"
	"testing"
	"time"
)

// A person sees what each waiting job waits for, and sees it change although no record comes: when
// its queue is paused in asynq's UI, and when it goes on.
func TestWaitingInABrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pause := func(verb string) {
		t.Helper()
		if status, text := s.asynq(t, http.MethodPost, "tidemark:"+verb, nil); status/100 != 2 {
			t.Fatalf("%s: the asynq web UI answers %d: %s", verb, status, text)
		}
	}
	s.enqueue("analysis", "tidemark", 0, map[string]string{"blob": "none.csv"}) // asynq pauses no queue that has had no task
	pause("pause")
	mistyped := s.enqueue("export", "exprots", 0, nil)
	unknown := s.enqueue("report", "analysis", 0, nil)
	later := s.enqueue("export", "exprots", time.Hour, nil)
	paused := s.enqueue("analysis", "tidemark", 0, map[string]string{"blob": "none.csv"})

	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	note := func(job, text string) {
		t.Helper()
		b.do("shows", line{"selector": `[data-job="` + job + `"] > .note`, "text": text})
	}
	note(mistyped, "No worker serves queue exprots")
	b.do("shows", line{"selector": `[data-job="` + mistyped + `"] .stage`, "text": "waiting in queue exprots"})
	note(unknown, "No worker of queue analysis knows type report")
	note(later, "Starts in ")
	note(paused, "Queue tidemark is paused")
	b.look("waiting")

	pause("resume")
	b.awaitJob(paused, "failed", "", 0)
	b.checkQuiet()
	b.close()
	s.stop()
}
