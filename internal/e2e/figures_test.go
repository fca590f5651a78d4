package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// Figures say what they are of: bytes of an upload, parts of a job, a time left that is measured
// now. A job that was canceled says why. While nothing comes from the gateway, whose socket is
// open and dead, no time left is shown.
func TestFiguresInABrowser(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	h := newHand(t, s)
	ctx := t.Context()

	parent, child := h.family(10)
	for i := range 3 {
		h.attempt(child(i), 1, runtime.Report{Type: engine.JobSucceeded})
	}
	h.awaitedSince(parent, time.Now().Add(-time.Minute))
	h.attempt(child(3), 1, runtime.Report{Type: engine.JobSucceeded})
	stopped, part := h.family(1)
	asked := h.enqueue("Returns")
	runs := h.enqueue("Invoices")
	shown := runtime.Shown{Progress: engine.Progress{Done: 614_000, Total: 1_000_000, Unit: "rows"}, Stage: engine.Stage{Name: "read", Count: 2}, ETA: 41 * time.Second}
	h.attempt(runs, 1, runtime.Report{Type: engine.JobProgress, Tenths: 614, Shown: &shown})
	for _, job := range []engine.JobID{asked, stopped} {
		if err := h.engine.Cancel(ctx, job); err != nil {
			t.Fatal(err)
		}
	}
	upload, fence := h.receive("customers-2025.csv", 2_000_000)

	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	row := func(job engine.JobID) string { return fmt.Sprintf("[data-job=%q] > ", job) }
	b.do("shows", line{"selector": row(upload) + ".figures > .count", "text": "1.0 of 1.9 MiB uploaded; then analysis"})
	b.await("badge", "live", 0)
	h.report(upload, fence, arrived(1_900_000, 2_000_000))
	b.do("shows", line{"selector": row(upload) + ".figures > .count", "text": "1.8 of 1.9 MiB"})
	b.do("shows", line{"selector": row(upload) + ".figures > .count", "text": "; then analysis"})
	b.do("shows", line{"selector": row(parent) + ".parts > .opener", "text": "4 of 10 parts done"})
	b.do("shows", line{"selector": row(parent) + ".figures > .eta", "text": "left"})
	b.do("shows", line{"selector": row(asked) + ".figures > .end", "text": "on request"})
	b.do("shows", line{"selector": row(runs) + ".figures > .eta", "text": "41 s left"})
	b.do("click", line{"selector": row(stopped) + ".parts > .opener"})
	b.do("shows", line{"selector": row(part(0)) + ".error", "text": "its parent " + string(stopped) + " was canceled"})
	b.look("figures")

	from := b.process.said()
	s.gateway.signal(syscall.SIGSTOP)
	b.process.await("the page to notice that nothing comes", from, func(l line) bool {
		return l.text("event") == "badge" && l.text("text") != "live"
	})
	b.do("shows", line{"selector": fmt.Sprintf("[data-job=%q]:has(> .figures > .eta:empty) .title", runs), "text": "Invoices"})
	b.look("cut-off")
	s.gateway.signal(syscall.SIGCONT)
	from = b.process.said()
	b.await("badge", "live", from)
	b.do("shows", line{"selector": row(runs) + ".figures > .eta", "text": "41 s left"})

	// While the gateway stands still, the page gives a socket up that does not open, and Chromium says so.
	b.checkQuiet("WebSocket connection to ")
	b.close()
	h.close()
	s.stop()
}

// receive makes a job half of whose file has arrived.
func (h hand) receive(name string, size int64) (engine.JobID, runtime.Fence) {
	h.t.Helper()
	rt := runtime.Of(h.engine)
	id, err := rt.NewJobID(topic)
	if err != nil {
		h.t.Fatal(err)
	}
	_, fence, err := rt.Receive(h.t.Context(), id, engine.Spec{Topic: topic, Type: "analysis", Title: name}, 30, 0, runtime.Shown{Stage: engine.Stage{Name: "receive"}})
	if err != nil {
		h.t.Fatal(err)
	}
	return id, h.report(id, fence, arrived(size/2, size))
}

// arrived is the report of a receiver.
func arrived(done, size int64) runtime.Report {
	return runtime.Report{
		Type: engine.JobProgress, Tenths: int(300 * done / size),
		Shown: &runtime.Shown{Progress: engine.Progress{Done: done, Total: size, Unit: "bytes"}, Stage: engine.Stage{Name: "receive"}},
	}
}

// awaitedSince has a job have begun to await its children at a time, at no percent.
func (h hand) awaitedSince(job engine.JobID, at time.Time) {
	h.t.Helper()
	keys, err := h.engine.Redis().Keys(h.t.Context(), "*:j:"+string(job)).Result()
	if err != nil || len(keys) != 1 {
		h.t.Fatalf("the job's keys are %q: %v", keys, err)
	}
	if err := h.engine.Redis().HSet(h.t.Context(), keys[0], "kt", fmt.Sprintf("%d:0", at.UnixMilli())).Err(); err != nil {
		h.t.Fatal(err)
	}
}
