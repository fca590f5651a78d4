package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A hand writes as the attempts of jobs, in place of a worker: how far a job with children
// comes is the test's to say.
type hand struct {
	t      *testing.T
	engine *engine.Engine
}

// newHand opens the Redis of a site's data folder.
func newHand(t *testing.T, s *site) hand {
	t.Helper()
	up, _ := s.gateway.await("its addresses", 0, func(l line) bool { return l.text("type") == "up" })
	e, err := engine.Open(t.Context(), engine.Options{URL: up.text("redis_url")})
	if err != nil {
		t.Fatal(err)
	}
	return hand{t, e}
}

func (h hand) close() {
	h.t.Helper()
	if err := h.engine.Close(); err != nil {
		h.t.Error(err)
	}
}

func (h hand) enqueue(title string) engine.JobID {
	h.t.Helper()
	made, err := h.engine.Enqueue(h.t.Context(), engine.Spec{Topic: topic, Type: "export", Title: title, Queue: "nobody"})
	if err != nil {
		h.t.Fatal(err)
	}
	return made.ID
}

// attempt begins an attempt of a job, and reports.
func (h hand) attempt(job engine.JobID, number int, reports ...runtime.Report) runtime.Fence {
	h.t.Helper()
	return h.report(job, runtime.Fence{Attempt: number, Token: runtime.NewToken()}, append([]runtime.Report{{Type: engine.JobStarted}}, reports...)...)
}

// report goes on reporting, and returns the fence of the last report.
func (h hand) report(job engine.JobID, fence runtime.Fence, reports ...runtime.Report) runtime.Fence {
	h.t.Helper()
	for i := range reports {
		fence.Seq++
		reports[i].Job, reports[i].Fence = job, fence
	}
	acks, err := runtime.Of(h.engine).Commit(h.t.Context(), reports...)
	for i := range acks {
		if err == nil {
			err = acks[i].Err
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return fence
}

// family makes a job that waits for n children.
func (h hand) family(n int) (parent engine.JobID, child func(int) engine.JobID) {
	h.t.Helper()
	children := make([]engine.Child, n)
	for i := range children {
		children[i] = engine.Child{Name: fmt.Sprint(i), Optional: true, Spec: engine.Spec{Type: "part", Title: fmt.Sprintf("Part %d", i), Queue: "nobody"}}
	}
	children, plan, err := runtime.PlanFanOut("parts", topic, engine.DefaultQueue, children)
	if err != nil {
		h.t.Fatal(err)
	}
	parent = h.enqueue("Orders 2025")
	fence := h.attempt(parent, 1, runtime.Report{Type: engine.JobProgress, FanOut: &plan})
	if err := runtime.Of(h.engine).Spawn(h.t.Context(), parent, fence, 0, "parts", children); err != nil {
		h.t.Fatal(err)
	}
	h.report(parent, fence, runtime.Report{Type: engine.JobAwaiting})
	return parent, func(i int) engine.JobID { return runtime.ChildID(parent, "parts", fmt.Sprint(i)) }
}

// A job with more children than the page has rows for them: they are counted below it,
// unfold and stay so, and stand nowhere else.
func TestChildrenInABrowser(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	h := newHand(t, s)
	parent, child := h.family(130)
	h.attempt(child(0), 1, runtime.Report{Type: engine.JobSucceeded})

	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	own := fmt.Sprintf("[data-job=%q] > ", parent)
	opener, rows := own+".parts > .opener", own+".parts > div > .jobs > .job"
	b.do("shows", line{"selector": opener, "text": "1 of 130 parts done"})
	b.checkAlone("#live")
	b.do("click", line{"selector": opener})
	b.do("shows", line{"selector": own + ".parts > div > .note", "text": "and 80 more"})
	if n := b.do("count", line{"selector": rows}).number("n"); n != 50 {
		t.Errorf("unfolded, it has %v rows of children, want 50", n)
	}

	// What fails comes first, and what the parent has of its children changes with it.
	h.attempt(child(129), 1, runtime.Report{Type: engine.JobFailed, Tenths: 300, Error: &engine.JobError{Code: "error", Message: "no such table"}})
	b.do("shows", line{"selector": opener, "text": "2 of 130 parts done, 1 failed"})
	b.do("shows", line{"selector": rows + ":first-child", "text": "no such table"})
	from := b.process.said()
	b.do("reload", line{})
	b.await("badge", "live", from)
	b.do("shows", line{"selector": rows + ":first-child", "text": "no such table"})

	// The page says that a worker was lost, and where another one continues.
	lost := fmt.Sprintf("[data-job=%q] > ", child(2))
	h.attempt(child(2), 1, runtime.Report{Type: engine.JobCheckpoint, Tenths: 589, Checkpoint: []byte("row 589")})
	beats, err := runtime.Of(h.engine).Silent(t.Context(), slices.Repeat([]uint64{1 << 53}, runtime.Of(h.engine).Shards()))
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range beats {
		if beat, runs := shard.Silent[child(2)]; runs {
			_, err = runtime.Of(h.engine).Stall(t.Context(), child(2), beat)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	b.do("shows", line{"selector": lost + ".note", "text": "No worker serves queue nobody"}) // or another would take over
	h.attempt(child(2), 2, runtime.Report{Type: engine.JobProgress, Tenths: 610})
	b.do("shows", line{"selector": lost + ".figures", "text": "attempt 2, goes on from 58.9 %"})
	b.do("shows", line{"selector": lost + ".note", "text": "Its worker was lost, another goes on"})

	// By the keyboard: the focus goes on to what can be pressed next.
	first := fmt.Sprintf("[data-job=%q] > .head ", child(1))
	b.do("key", line{"selector": first + "[data-verb=pause]", "key": "Enter"})
	b.do("focused", line{"selector": first + "[data-verb=resume]"})
	b.do("key", line{"selector": first + "[data-verb=resume]", "key": "Enter"})
	b.do("focused", line{"selector": first + "[data-verb=pause]"})
	b.look("children")

	// Or to what counts it, when a child has no row any more.
	b.do("key", line{"selector": first + "[data-verb=cancel]", "key": "Enter"})
	b.do("shows", line{"selector": opener, "text": "3 of 130 parts done, 2 failed"})
	b.do("focused", line{"selector": opener})

	// More children are canceled after it than a snapshot has jobs: who comes then sees them
	// below it all the same.
	b.do("click", line{"selector": own + ".head [data-verb=cancel]"})
	b.do("click", line{"selector": own + ".head .danger"})
	b.do("shows", line{"selector": "#ended > .job > .head .state", "text": "Canceled"})
	b.do("click", line{"selector": opener})
	b.do("shows", line{"selector": opener + "[aria-expanded=false]", "text": "parts"})
	b.checkAlone("#ended")
	b.open("http://localhost" + s.addr[strings.LastIndexByte(s.addr, ':'):] + "/") // another site, and so nothing kept
	b.do("shows", line{"selector": opener, "text": "3 of 130 parts done, 2 failed"})
	b.checkAlone("#ended")
	b.checkAgreement()
	b.checkQuiet()
	b.close()
	h.close()
	s.stop()
}

// checkAlone checks that the page has one row, in one of its lists, and counts one job.
func (b *browser) checkAlone(list string) {
	b.t.Helper()
	n, of := b.do("count", line{"selector": ".job"}).number("n"), b.do("count", line{"selector": list + " > .job"}).number("n")
	if said := b.do("text", line{"selector": list + "-count"}).text("said"); n != 1 || of != 1 || said != "1" {
		b.t.Errorf("the page has %v rows, %v of them in %s, and counts %s; want 1", n, of, list, said)
	}
}
