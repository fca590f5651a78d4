package e2e

import (
	"testing"
)

// press clicks a button of a job's row.
func (b *browser) press(job, verb string) {
	b.t.Helper()
	b.do("click", line{"selector": `[data-job="` + job + `"] > .head [data-verb=` + verb + `]`})
}

// awaitJob waits until the page shows a job in a state, from a line on; "" is any but one
// that is known.
func (b *browser) awaitJob(job, state, known string, from int) line {
	b.t.Helper()
	found, _ := b.process.await(job+" that is "+state, from, func(l line) bool {
		return l.text("event") == "painted" && l.text("state") == state && l.text("job") != known && (job == "" || l.text("job") == job)
	})
	return found
}

// Somebody lets a job rest that waits for its worker, looks again, lets it go on, and
// tries another one again that was canceled.
func TestControlsInABrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.pauseWorker()
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	table, _ := writeTable(t, "orders.csv", 1<<20)
	b.drop(table)
	rests := b.awaitState("queued").text("job")
	b.press(rests, "pause")
	b.awaitJob(rests, "paused", "", 0)
	from := b.process.said()
	b.do("reload", line{})
	b.awaitJob(rests, "paused", "", from)

	// Another one is canceled while it waits. The worker, which is back, leaves the first alone and
	// has time for the other, which is tried again, with its file.
	b.await("badge", "live", from)
	more, _ := writeTable(t, "more.csv", 1<<20)
	from = b.process.said()
	b.drop(more)
	canceled := b.awaitJob("", "queued", "", from).text("job")
	b.press(canceled, "cancel")
	b.awaitJob(canceled, "canceled", "", from)
	s.resumeWorker()
	b.press(canceled, "retry")
	b.awaitJob("", "succeeded", canceled, from)
	b.do("shows", line{"selector": `[data-job="` + canceled + `"] > .note`, "text": "Tried again"})
	b.look("controls")

	for _, l := range b.process.all()[from:] {
		if state := l.text("state"); l.text("job") == rests && state != "paused" {
			t.Errorf("before it is resumed it is shown as %s", state)
		}
	}
	from = b.process.said()
	b.press(rests, "resume")
	b.awaitJob(rests, "succeeded", "", from)

	// One that runs: its worker hears of it, keeps what it has read, and goes on from there.
	watch := s.watch()
	large, _ := writeTable(t, "large.csv", tableBytes)
	heard := watch.said()
	b.drop(large)
	running, _ := watch.await("a checkpoint of the analysis", heard, func(l line) bool {
		return l.text("type") == "job.checkpoint" && l.within("job").text("state") == "running"
	})
	s.pauseWorker() // the browser is not in a hurry
	job := running.within("job").text("id")
	b.awaitJob(job, "running", "", 0)
	b.press(job, "pause")
	b.do("shows", line{"selector": `[data-job="` + job + `"]`, "text": "pausing"})
	s.resumeWorker()
	b.awaitJob(job, "paused", "", 0)
	from = b.process.said()
	b.press(job, "resume")
	b.awaitJob(job, "succeeded", "", from)
	resumed, _ := watch.await("the attempt that goes on", heard, func(l line) bool {
		return l.text("type") == "job.resumed" && l.within("job").text("id") == job && l.within("job").number("attempt") == 2
	})
	if from := resumed.within("job").number("resumed_from"); from < running.within("job").number("percent") {
		t.Errorf("it goes on from %v %%, and was at %v", from, running.within("job").number("percent"))
	}
	b.checkAgreement()
	b.checkQuiet()
	b.close()
	s.stop()
}
